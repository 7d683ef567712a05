"""Was a run good, and what is somebody shown who wants to say that it was all the same?

Whether the gates held is measured and never changed; an override is a decision beside it, and the *effective* verdict is
derived from both. Whoever decides about an override is shown what the gates measured and the logs of those that failed; the
digest of what was shown stays in the decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from plms_pipeline.errors import Conflict

Effective = Literal["pending", "passed", "failed", "ungated"]


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """How a run stands: whether it ended (`status`), what its gates said (`validation`), and any override."""

    run_id: str
    project_id: int
    run_kind: str
    status: str
    validation: str
    override: bool | None
    override_reason: str | None
    overridden_by: str | None
    overridden_at: datetime | None
    override_teaches: bool | None

    @property
    def effective(self) -> Effective:
        """The verdict that counts: an override goes before the gates."""
        if self.override is not None:
            return "passed" if self.override else "failed"
        return self.validation  # type: ignore[return-value]  # the database admits only these four words


@dataclass(frozen=True, slots=True)
class KpiRow:
    """One gate of one task as it was measured; `value` None: it could not be, `reason` says why."""

    task_id: str | None
    lane_id: int
    kpi: str
    value: float | None
    threshold: Any
    passed: bool
    blocks: bool
    reason: str | None
    artifact_sha256: str | None
    logs_path: str | None


def require_overridable(run: RunVerdict) -> None:
    """Let pass a run whose verdict may be overridden.

    Raises:
        Conflict: it has not ended (`run_not_ended`), its work failed, which no decision mends (`run_failed`), its gates did not
            fail (`nothing_to_override`), or it was overridden before (`already_overridden`).
    """
    if run.status in ("QUEUED", "RUNNING"):
        raise Conflict(
            f"Run {run.run_id} is {run.status}; a verdict is overridden when it stands.", code="run_not_ended"
        )
    if run.override is not None:
        raise Conflict(
            f"Run {run.run_id} was overridden by {run.overridden_by}; decisions are not repeated.",
            code="already_overridden",
        )
    if run.status != "SUCCESS":
        raise Conflict(
            f"Run {run.run_id} ended {run.status}: its work was not done, which no override mends. Start a new run.",
            code="run_failed",
        )
    if run.validation != "failed":
        raise Conflict(
            f"The gates of run {run.run_id} say {run.validation}; only a failed verdict is overridden.",
            code="nothing_to_override",
        )


def kpi_evidence(run: RunVerdict, rows: Sequence[KpiRow]) -> str:
    """The SHA-256 of what the decider is shown: every measured gate of the run. Where logs lie does not enter it."""
    shown = [{name: value for name, value in asdict(row).items() if name != "logs_path"} for row in rows]
    document = {"run_id": run.run_id, "validation": run.validation, "kpis": shown}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def kpi_json(row: KpiRow) -> dict[str, Any]:
    """A gate as it is shown, with the sources' field names."""
    return {
        "task_id": row.task_id, "lane_id": row.lane_id, "kpi_name": row.kpi, "kpi_value": row.value,
        "kpi_threshold": row.threshold, "pass": row.passed, "blocks": row.blocks, "reason": row.reason,
        "logs_path": row.logs_path,
    }  # fmt: skip


def verdict_json(run: RunVerdict) -> dict[str, Any]:
    """A verdict as it is shown, with the columns of the guide."""
    return {
        "run_id": run.run_id, "project_id": run.project_id, "run_kind": run.run_kind, "status": run.status,
        "validation": run.validation, "effective_verdict": run.effective, "validation_pass_override": run.override,
        "override_reason": run.override_reason, "overridden_by": run.overridden_by,
        "overridden_at": None if run.overridden_at is None else run.overridden_at.isoformat(),
        "override_teaches": run.override_teaches,
    }  # fmt: skip


def asked(threshold: object) -> str:
    """A gate as people write it: `>= 0.9`; what is no operator with a threshold is shown as it stands."""
    if not isinstance(threshold, Mapping) or not threshold:
        return str(threshold)
    return " and ".join(f"{operator} {value}" for operator, value in threshold.items())
