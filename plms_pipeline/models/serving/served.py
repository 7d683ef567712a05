"""What is it that serves?

A champion of the registry, together with the model that was read from the bytes that were decided about. Everything that an
answer needs is one immutable value: whoever takes hold of it at the beginning of a request computes and signs the whole answer
with it, whatever is promoted meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.serving.past import Past
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.scoring import Model


@dataclass(frozen=True, slots=True)
class Version:
    """Which model answered: its training, the promotion by which it serves, and the digest of its bytes."""

    candidate_id: str
    promotion_id: str
    model_sha256: str

    def as_document(self) -> dict[str, str]:
        """The version, as JSON has it."""
        return {
            "candidate_id": self.candidate_id,
            "promotion_id": self.promotion_id,
            "model_sha256": self.model_sha256,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """The champion as the registry has it: what may be loaded, and by which digests it is known.

    Attributes:
        sequence: counts the promotions and rollbacks of the family.
        folder: of the training, relative to the data folder.
        data_sha256: content hash of the bars that it was trained on, by which their snapshot is named.
        caps: the limits with which it was approved.
    """

    version: Version
    sequence: int
    folder: str
    manifest_sha256: str
    evaluation_sha256: str
    data_sha256: str
    caps: Mapping[str, float]
    promoted_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The newest bars of each symbol of a snapshot, and what was looked at of them; None where there is none."""

    bars: Bars | None = None
    past: Past | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A champion that was verified and read.

    Attributes:
        entry: as the registry had it.
        model: predicts.
        experiment: how it was trained: horizon and steepness of the positions are its.
        history: the newest bars of each symbol that it was trained on; None when their snapshot was removed.
        past: what was looked at of them before the first request.
        figures: its risk figures out of sample, signed; None where unknown.
    """

    entry: Entry
    model: Model
    experiment: Experiment
    history: Bars | None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    past: Past | None = None

    @property
    def version(self) -> Version:
        """Which model this is."""
        return self.entry.version
