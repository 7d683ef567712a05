"""What may a training take over from the candidate that it starts from?

Always its experiment, of which the new one is a branch. Its weights only where that makes sense: a ridge from a ridge, with the
same features and the same target. And in each fold only weights that had seen nothing of the fold's test, or what the parent
learnt there would come back as skill: the parent's own model of that time, which its run keeps beside the candidate. So every
fold does what was done for the candidate itself, start from the newest weights that there were, and the gates judge what will
be served. A fold for which the parent left nothing so old starts cold, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plms_pipeline.models.training.experiment import Experiment, RidgeSection
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.stored import Model


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights of one moment: the number of the fold that left them (None: the candidate itself), and the newest bar (UTC) that
    taught them, or taught whoever they were started from.
    """

    fold: int | None
    model: Model
    known_to: np.datetime64


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A parent: the candidate, its model and experiment, the newest bar (UTC) that it or its own parents may have seen, and its
    models of earlier moments. A stage of the same run that comes before is a parent, too; its id is then the stage's name.
    """

    candidate_id: str
    model_sha256: str
    model: Model
    experiment: Experiment
    known_to: np.datetime64
    folds: tuple[Checkpoint, ...] = ()

    def why_cold(self, asked: Experiment, features: tuple[str, ...]) -> str | None:
        """Why an experiment on these features cannot start from the weights; None if it can."""
        if not isinstance(asked.model, RidgeSection):
            return "only a ridge can start from weights, and a boosting is asked for"
        if not isinstance(self.model, LinearModel):
            return "only a ridge leaves weights to start from, and the parent is none"
        if self.model.features != features:
            return "the parent knows other features"
        if self.experiment.target != asked.target:
            return "the parent was taught another target"
        return None

    def before(self, tested_from: np.datetime64) -> Checkpoint | None:
        """The newest weights that saw nothing of a test that begins then; None if there are none so old."""
        fitting = [one for one in (self.newest, *self.folds) if one.known_to < tested_from]
        return max(fitting, key=lambda one: one.known_to, default=None)

    @property
    def newest(self) -> Checkpoint:
        """The candidate itself."""
        return Checkpoint(None, self.model, self.known_to)


@dataclass(frozen=True, slots=True)
class Warmth:
    """What came of a start: `why_cold` is None when the candidate started from the weights; folds are counted."""

    candidate_id: str
    model_sha256: str
    why_cold: str | None
    known_to: np.datetime64
    warm_folds: int
    cold_folds: int

    @property
    def weights_sha256(self) -> str | None:
        """Of the model whose weights were used; None where none were."""
        return self.model_sha256 if self.why_cold is None else None

    @property
    def sentence(self) -> str:
        """For people."""
        if self.why_cold is not None:
            return f"cold, not from {self.candidate_id}: {self.why_cold}"
        told, folds = f"from the weights of {self.candidate_id}", self.warm_folds + self.cold_folds
        if not self.cold_folds:
            return f"{told}; each of {folds} folds from those of the time before its test"
        return (
            f"{told}; {self.warm_folds} of {folds} folds from those of the time before their test, {self.cold_folds} start "
            "cold, as it left none that had not seen their test: there the gates judge the experiment, not what is served"
        )

    def as_document(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "from": self.candidate_id,
            "from_sha256": self.model_sha256,
            "weights": self.why_cold is None,
            "why_cold": self.why_cold,
            "known_to": f"{np.datetime_as_string(self.known_to.astype('datetime64[s]'))}Z",
            "warm_folds": self.warm_folds,
            "cold_folds": self.cold_folds,
        }


def known_to(manifest: Mapping[str, Any]) -> np.datetime64:
    """The newest that a candidate, or whoever it took weights from, was told: by bars, and by people about bars."""
    moments = [str(manifest["data"]["last"])]
    spoken = manifest.get("annotations") or {}
    if spoken.get("annotations"):
        # A manifest that does not say when it was said knew nothing of what was said after it.
        moments.append(str(spoken.get("newest") or manifest["created_at"]).removesuffix("+00:00"))
    warm = manifest.get("warm_start") or {}
    if warm.get("weights"):
        moments.append(str(warm["known_to"]))
    return max(_moment(one) for one in moments)


def folds_known_to(manifest: Mapping[str, Any]) -> dict[int, np.datetime64]:
    """By the number of a fold the newest bar that its model may have seen; without those of a run that does not say."""
    return {int(one["number"]): _moment(str(one["known_to"])) for one in manifest["folds"] if one.get("known_to")}


def _moment(text: str) -> np.datetime64:
    # A manifest says seconds: what was known may be of any moment within.
    return np.datetime64(text.removesuffix("Z"), "us") + np.timedelta64(999_999, "us")
