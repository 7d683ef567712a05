"""What evidence is owed, where will it lie, and until when?

An obligation is (subject, evidence kind, observation point). Its id is made from these three, so that whoever says it twice
says it once. Where to look is decided here, at acceptance, from one configuration, and stored with the obligation: an
observer cannot look under another prefix than the producer meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.settings import Settings

SNAPSHOT: Final = "provider_snapshot"
KPI_RECEIPTS: Final = "kpi_receipts"
HEAT: Final = "heat"
GOLDEN: Final = "golden"
EVIDENCE_KINDS: Final = (SNAPSHOT, KPI_RECEIPTS, HEAT, GOLDEN)
# Labels of metrics, so a closed list. At the early point evidence is looked for once; what is not there is `missing`.
AT_DECISION: Final = "at_decision"
AFTER_SUBMISSION: Final = "after_submission"
AFTER_COMPLETION: Final = "after_completion"
GOLDEN_POINT: Final = "golden"
OBS_POINTS: Final = (AT_DECISION, AFTER_SUBMISSION, AFTER_COMPLETION, GOLDEN_POINT)

REGISTRY_PLACES: Final = ("provider_snapshots", "kpi_receipts", "evidence_records")
MAX_SUBJECT: Final = 255


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """Where evidence lies and how long it is waited for: the one configuration of producers, writers and observers.

    `backend` holds what foreign components write; `prefix` is None only where nothing lies in Redis.
    """

    backend: str
    prefix: str | None
    stream: str
    wait_ms: int
    poll_ms: int
    max_inflight: int
    max_errors: int
    ttl_s: int
    debug_chars: int
    owes_heat: bool

    @property
    def digest(self) -> str:
        """What producer and observer must agree upon, as 16 hexadecimal digits."""
        agreed = {"backend": self.backend, "prefix": self.prefix, "stream": self.stream}
        return hashlib.sha256(canonical_json(agreed).encode()).hexdigest()[:16]

    @property
    def publishes(self) -> bool:
        """Whether observations are told on a stream."""
        return self.backend == "redis"

    def place_of(self, evidence_kind: str, subject_id: str) -> str:
        """Where evidence of a foreign component about a subject is written, and therefore looked for."""
        if self.backend == "redis":
            return f"redis:{self.prefix}{evidence_kind}:{subject_id}"
        return f"registry:evidence_records:{evidence_kind}/{subject_id}"


def evidence_config(settings: Settings) -> EvidenceConfig:
    """The configuration that the settings mean.

    Raises:
        BadInput: evidence lies in Redis, and REDIS_URL or the prefix is not set (`evidence_misconfigured`).
    """
    if settings.evidence_backend == "redis":
        for variable, value in (
            ("REDIS_URL", settings.redis_url),
            ("P28_HEAT_LOOKUP_PREFIX", settings.heat_lookup_prefix),
        ):
            if value is None:
                raise BadInput(
                    f"PLMS_EVIDENCE_BACKEND=redis needs {variable}; there is no default, because writer and observer must "
                    "mean the same place.",
                    code="evidence_misconfigured",
                )
    return EvidenceConfig(
        backend=settings.evidence_backend,
        prefix=settings.heat_lookup_prefix if settings.evidence_backend == "redis" else None,
        stream=settings.heat_obs_stream,
        wait_ms=settings.late_obs_max_wait_ms,
        poll_ms=settings.late_obs_poll_ms,
        max_inflight=settings.late_obs_max_inflight,
        max_errors=settings.late_obs_max_errors,
        ttl_s=settings.heat_ttl_s,
        debug_chars=settings.max_debug_chars,
        owes_heat=settings.heat_obs_enabled,
    )


@dataclass(frozen=True, slots=True)
class Need:
    """Evidence that somebody owes from now on."""

    subject_type: str
    subject_id: str
    evidence_kind: str
    obs_point: str
    lookup_ref: str

    def __post_init__(self) -> None:
        if self.evidence_kind not in EVIDENCE_KINDS or self.obs_point not in OBS_POINTS:
            raise BadInput(
                f"{self.evidence_kind!r} at {self.obs_point!r} is no evidence that is known; kinds are "
                f"{', '.join(EVIDENCE_KINDS)}, points {', '.join(OBS_POINTS)}.",
                code="unknown_evidence",
            )
        if not 0 < len(self.subject_id) <= MAX_SUBJECT or len(self.lookup_ref) > 512:
            raise BadInput(
                f"The subject of an obligation has 1 to {MAX_SUBJECT} characters.", code="bad_evidence_subject"
            )

    @property
    def obligation_id(self) -> str:
        """The same for the same subject, kind and point, whoever says it."""
        return hashlib.sha256(
            canonical_json([self.subject_id, self.evidence_kind, self.obs_point]).encode()
        ).hexdigest()[:40]

    def row(self, config: EvidenceConfig, *, now: datetime) -> dict[str, Any]:
        """The row of the obligation, accepted now; its deadline counts from here. An early one is due at once."""
        wait_ms = 0 if self.obs_point == AT_DECISION else config.wait_ms
        return {
            "obligation_id": self.obligation_id, "subject_type": self.subject_type, "subject_id": self.subject_id,
            "evidence_kind": self.evidence_kind, "obs_point": self.obs_point, "lookup_ref": self.lookup_ref,
            "config_digest": config.digest, "accepted_at": now, "deadline_at": now + timedelta(milliseconds=wait_ms),
            "state": "pending", "publication": "none",
        }  # fmt: skip


def snapshot_need(run_id: str) -> Need:
    """After a run was submitted: which providers serve it?"""
    return Need("run", run_id, SNAPSHOT, AFTER_SUBMISSION, f"registry:provider_snapshots:{run_id}/submission")


def kpi_need(run_id: str, task_id: str) -> Need:
    """After a task completed whose lane asks for KPIs: what was measured?"""
    subject = f"{run_id}/{task_id}"
    if len(subject) > MAX_SUBJECT:
        subject = f"{run_id}/sha256:{hashlib.sha256(task_id.encode()).hexdigest()}"
    return Need("task", subject, KPI_RECEIPTS, AFTER_COMPLETION, f"registry:kpi_receipts:{run_id}/{task_id}")


def heat_need(config: EvidenceConfig, run_id: str) -> Need:
    """After a run ended: how hot did it run?"""
    return Need("run", run_id, HEAT, AFTER_COMPLETION, config.place_of(HEAT, run_id))


def foreign_need(
    config: EvidenceConfig, subject_id: str, *, evidence_kind: str = HEAT, obs_point: str = AFTER_COMPLETION,
    subject_type: str = "plan",
) -> Need:  # fmt: skip
    """Evidence that another component owes about a subject that it names."""
    return Need(subject_type, subject_id, evidence_kind, obs_point, config.place_of(evidence_kind, subject_id))


@dataclass(frozen=True, slots=True)
class Pending:
    """An obligation that waits for its observation."""

    obligation_id: str
    subject_id: str
    evidence_kind: str
    obs_point: str
    lookup_ref: str
    config_digest: str
    accepted_at: datetime
    deadline_at: datetime

    @property
    def wait_ms(self) -> int:
        """How long its evidence may take; 0 for an early one."""
        return round((self.deadline_at - self.accepted_at) / timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True)
class Record:
    """Evidence as a component writes it. `ts_epoch` is text: seconds since 1970, with or without fraction."""

    evidence_kind: str
    subject_id: str
    ts_epoch: str
    correlation_id: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def as_hash(self) -> dict[str, str]:
        """The hash in Redis."""
        named = {"correlation_id": self.correlation_id} if self.correlation_id else {}
        return {**{key: str(value) for key, value in self.fields.items()}, **named, "ts_epoch": self.ts_epoch}
