"""What do we know of a candidate, a champion, a halt, a switch? Values for terminal, HTTP, Dagster and serving alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

MARKET: Final = "market"
ESTIMATES: Final = "estimates"

# What a candidate can be; the first two still wait for somebody or something.
WAITING: Final = "waiting"
APPROVED: Final = "approved"
PROMOTED: Final = "promoted"
REJECTED: Final = "rejected"
RETRAIN_REQUESTED: Final = "retrain_requested"
HALTED: Final = "halted"
EXPIRED: Final = "expired"
REPLACED: Final = "replaced"


@dataclass(frozen=True, slots=True)
class Bytes:
    """The SHA-256 of everything that a decision is about.

    Attributes:
        model: of the model's file.
        evaluation: of `operations_summary.json`.
        data: of the content of the bars (or rows) that it was trained on.
        manifest: of the run's manifest, which holds those of all its other files.
        experiment: of the experiment with every default.
    """

    model: str
    evaluation: str
    data: str
    manifest: str
    experiment: str


@dataclass(frozen=True, slots=True)
class NewCandidate:
    """A training whose folder is whole, as it begins to wait.

    Attributes:
        candidate_id: the run id of the training.
        folder: relative to the data folder.
        alerts: stable codes of broken limits.
        action: what the decision tree recommends.
        blockers: stable codes of what keeps it from being approved, as judged at its training.
        started_from: the candidate whose experiment, and whose weights where they fit, it started from.
    """

    candidate_id: str
    family: str
    folder: str
    bytes: Bytes
    trials: int
    gates_passed: bool
    alerts: tuple[str, ...]
    action: str
    blockers: tuple[str, ...]
    started_from: str | None
    requested_by: str
    requested_by_verified: bool
    reason: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate(NewCandidate):
    """A candidate as it stands in the books."""

    state: str
    decision_id: str | None
    decided_at: datetime | None
    decided_by: str | None
    caps: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class Champion:
    """One promotion or rollback, and where its model lies (`folder`, relative to the data folder)."""

    promotion_id: str
    family: str
    sequence: int
    kind: str
    candidate_id: str
    folder: str
    model_sha256: str
    evaluation_sha256: str
    data_sha256: str
    caps: Mapping[str, Any] | None
    decision_id: str
    promoted_at: datetime
    promoted_by: str

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class Halt:
    """Promotions of a family are stopped; open while `lifted_at` is None."""

    halt_id: str
    family: str
    decision_id: str
    reason: str
    halted_by: str
    halted_at: datetime
    lifted_at: datetime | None
    lifted_by: str | None
    lift_decision_id: str | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether the guardrails of a family are on, and who said so; nobody did when `at` is None."""

    family: str
    enabled: bool = True
    reason: str | None = None
    by: str | None = None
    at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _plain(asdict(self))


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.items()}
