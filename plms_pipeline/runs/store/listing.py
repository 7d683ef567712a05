"""Which runs are there, and how does one of them stand?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    JobCard,
    Project,
    ProjectRun,
    ProviderSnapshot,
    RunLineage,
    RunTask,
    StateTransition,
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list; `tasks` counts them by status."""

    run_id: str
    project_id: int
    run_kind: str
    status: str
    validation: str
    write_sandbox: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    passport_sha256: str | None
    tasks: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of a run with its newest card."""

    task_id: str
    lane_id: int
    provider: str
    status: str
    validation: str
    attempt: int | None
    card_state: str | None
    pas_task_id: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class RunDetails:
    """Everything that is shown of one run. `reason` is why it ended as it did, where somebody said so."""

    run: RunRow
    tasks: list[TaskRow]
    parent_run_id: str | None
    provider_mismatch: str | None
    reason: str | None


def runs(
    session: Session,
    *,
    project_id: int | None = None,
    status: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[RunRow]:
    """Runs that were started here (not imported ones), the newest first; `before`: only those with a lower row id."""
    wanted: list[ColumnElement[bool]] = [ProjectRun.source == "plms"]
    if before is not None:
        wanted.append(ProjectRun.id < before)
    if project_id is not None:
        wanted.append(ProjectRun.project_id == project_id)
    if status is not None:
        wanted.append(ProjectRun.status == status)
    return _rows(session, *wanted, limit=limit)


def row_id_of(session: Session, run_id: str) -> int | None:
    """The place of a run in the order in which runs were started, or None."""
    return session.scalar(select(ProjectRun.id).where(ProjectRun.run_id == run_id))


def details(session: Session, run_id: str) -> RunDetails | None:
    """One run; None when there is none of that id."""
    found = _rows(session, ProjectRun.run_id == run_id, limit=1)
    if not found:
        return None
    newest = (
        select(func.max(JobCard.attempt))
        .where(JobCard.run_id == RunTask.run_id, JobCard.task_id == RunTask.task_id)
        .correlate(RunTask)
        .scalar_subquery()
    )
    rows = session.execute(
        select(
            RunTask.task_id, RunTask.lane_id, RunTask.provider, RunTask.status, RunTask.validation, JobCard.attempt,
            JobCard.state, JobCard.pas_task_id, JobCard.last_error,
        )
        .outerjoin(
            JobCard,
            (JobCard.run_id == RunTask.run_id) & (JobCard.task_id == RunTask.task_id) & (JobCard.attempt == newest),
        )
        .where(RunTask.run_id == run_id)
        .order_by(RunTask.id)
    )  # fmt: skip
    parent = session.scalar(select(RunLineage.parent_run_id).where(RunLineage.run_id == run_id))
    mismatch = session.scalar(
        select(ProviderSnapshot.mismatch).where(ProviderSnapshot.run_id == run_id, ~ProviderSnapshot.matches).limit(1)
    )
    reason = session.scalar(
        select(StateTransition.reason)
        .where(StateTransition.subject_type == "run", StateTransition.subject_id == run_id, StateTransition.is_terminal)
        .limit(1)
    )
    return RunDetails(found[0], [TaskRow(*row) for row in rows], parent, mismatch, reason)


def status_of(session: Session, run_id: str) -> tuple[str, str] | None:
    """(status, validation) of a run, or None."""
    row = session.execute(
        select(ProjectRun.status, ProjectRun.validation).where(ProjectRun.run_id == run_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def project_estimate(session: Session, project_id: int) -> tuple[int | None, int | None, Decimal | None] | None:
    """(tokens, minutes, USD) that a project is estimated to take."""
    row = session.execute(
        select(Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd).where(
            Project.id == project_id
        )
    ).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def _rows(session: Session, *wanted: ColumnElement[bool], limit: int) -> list[RunRow]:
    found = session.execute(
        select(
            ProjectRun.run_id, ProjectRun.project_id, ProjectRun.run_kind, ProjectRun.status, ProjectRun.validation,
            ProjectRun.write_sandbox, ProjectRun.created_at, ProjectRun.started_at, ProjectRun.completed_at,
            ProjectRun.passport_sha256,
        )
        .where(*wanted).order_by(ProjectRun.id.desc()).limit(limit)
    ).all()  # fmt: skip
    counts: dict[str, dict[str, Any]] = {row[0]: {} for row in found}
    for run_id, status, number in session.execute(
        select(RunTask.run_id, RunTask.status, func.count())
        .where(RunTask.run_id.in_(list(counts)))
        .group_by(RunTask.run_id, RunTask.status)
    ):
        counts[run_id][status] = number
    return [_row(row, counts[row[0]]) for row in found]


def _row(row: Any, tasks: dict[str, int]) -> RunRow:
    (
        run_id, project_id, run_kind, status, validation, write_sandbox, created_at, started_at, completed_at, passport_sha256,
    ) = row  # fmt: skip
    return RunRow(
        run_id, project_id, run_kind, status, validation, write_sandbox, created_at, started_at, completed_at,
        passport_sha256, tasks,
    )  # fmt: skip
