"""What work of a project is open, how did its runs end, and what was decided about its gates?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Hold, ProjectApproval, ProjectRun


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has not ended: QUEUED or RUNNING."""

    run_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One row of `project_approvals`."""

    gate: str
    status: str
    approver: str
    reason: str | None
    approved_at: datetime | None
    run_id: str | None


def open_runs(session: Session, project_id: int) -> list[OpenRun]:
    """The runs of a project that have not ended, oldest first."""
    rows = session.execute(
        select(ProjectRun.run_id, ProjectRun.status)
        .where(ProjectRun.project_id == project_id, ProjectRun.status.in_(("QUEUED", "RUNNING")))
        .order_by(ProjectRun.id)
    )
    return [OpenRun(run_id, status) for run_id, status in rows]


def held_runs(session: Session, run_ids: Collection[str]) -> set[str]:
    """Those of the runs that are held for themselves, whatever their project is."""
    rows = session.scalars(
        select(Hold.subject_id).where(
            Hold.subject_type == "run", Hold.subject_id.in_(list(run_ids)), Hold.lifted_at.is_(None)
        )
    )
    return set(rows)


def add_approval(
    session: Session, project_id: int, *, gate: str, status: str, approver: str, reason: str, at: datetime,
    run_id: str | None = None,
) -> None:  # fmt: skip
    """Note that a gate of a project or run was approved or rejected."""
    session.add(
        ProjectApproval(
            project_id=project_id, run_id=run_id, approver=approver[:255], gate=gate, status=status, reason=reason,
            approved_at=at,
        )
    )  # fmt: skip
    session.flush()


def approvals(session: Session, project_id: int) -> list[Approval]:
    """Every gate that was approved or rejected, newest first."""
    rows = session.scalars(
        select(ProjectApproval).where(ProjectApproval.project_id == project_id).order_by(ProjectApproval.id.desc())
    )
    return [Approval(row.gate, row.status, row.approver, row.reason, row.approved_at, row.run_id) for row in rows]
