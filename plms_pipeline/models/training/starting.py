"""What may a training take over from the candidate that it starts from?

Always its experiment, of which the new one is a branch. Its weights only where that makes sense: a ridge from a ridge, with the
same features and the same target. And never in a fold whose test the parent may have seen: what the parent learnt there would
come back as skill. Such a fold starts cold, and only the candidate itself, which is judged by nothing that is known yet, starts
warm.
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
class Start:
    """A parent: the candidate, its model and experiment, and the newest bar (UTC) that it or its own parents may have seen."""

    candidate_id: str
    model_sha256: str
    model: Model
    experiment: Experiment
    known_to: np.datetime64

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

    def warms(self, tested_from: np.datetime64) -> bool:
        """Whether it saw nothing of a test that begins then."""
        return bool(self.known_to < tested_from)


@dataclass(frozen=True, slots=True)
class Warmth:
    """What came of a start: `why_cold` is None when the candidate started from the weights; folds are counted."""

    candidate_id: str
    why_cold: str | None
    known_to: np.datetime64
    warm_folds: int
    cold_folds: int

    @property
    def sentence(self) -> str:
        """For people."""
        if self.why_cold is not None:
            return f"the experiment of {self.candidate_id}, from cold weights: {self.why_cold}"
        return (
            f"the experiment and weights of {self.candidate_id}; {self.cold_folds} of "
            f"{self.warm_folds + self.cold_folds} folds start cold, because it may have seen their test"
        )

    def as_document(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "weights": self.why_cold is None,
            "why_cold": self.why_cold,
            "known_to": f"{np.datetime_as_string(self.known_to.astype('datetime64[s]'))}Z",
            "warm_folds": self.warm_folds,
            "cold_folds": self.cold_folds,
        }


def known_to(manifest: Mapping[str, Any]) -> np.datetime64:
    """The newest bar that a candidate, or whoever it took weights from, may have seen."""
    moments = [str(manifest["data"]["last"])]
    warm = manifest.get("warm_start") or {}
    if warm.get("weights"):
        moments.append(str(warm["known_to"]))
    return max(np.datetime64(one.removesuffix("Z"), "us") for one in moments)
