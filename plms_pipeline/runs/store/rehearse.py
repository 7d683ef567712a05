"""Which rehearsals of a project are there, and how did the tasks of a canary end?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import exists, insert, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import KpiReceipt, Project, ProjectRun, Rehearsal, RunTask, TaskReceipt
from plms_pipeline.registry.tables.vocabulary import TERMINAL_STATES


@dataclass(frozen=True, slots=True)
class RehearsalRow:
    """One rehearsal as it is kept."""

    rehearsal_id: str
    project_id: int
    run_id: str | None
    mode: str
    requested_pct: float
    seed: int
    state: str
    answer: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One receipt of a canary's task."""

    task_id: str
    attempt: int
    status: str
    tokens: int | None
    duration_ms: int | None
    cost_usd: Decimal | None
    echo_cos: float | None


_COLUMNS = (
    Rehearsal.rehearsal_id, Rehearsal.project_id, Rehearsal.run_id, Rehearsal.mode, Rehearsal.requested_pct, Rehearsal.seed,
    Rehearsal.state, Rehearsal.answer_json, Rehearsal.created_at, Rehearsal.ended_at,
)  # fmt: skip


def project_exists(session: Session, project_id: int) -> bool:
    """Whether there is such a project."""
    return bool(session.scalar(select(exists().where(Project.id == project_id))))


def put(
    session: Session, *, rehearsal_id: str, project_id: int, run_id: str | None, mode: str, pct: float, seed: int,
    answer: dict[str, Any] | None, actor: str, now: datetime,
) -> None:  # fmt: skip
    """Keep a rehearsal: `running` without an answer, `done` with one."""
    session.execute(
        insert(Rehearsal).values(
            rehearsal_id=rehearsal_id, project_id=project_id, run_id=run_id, mode=mode, requested_pct=pct, seed=seed,
            state="running" if answer is None else "done", answer_json=answer, actor=actor[:255], created_at=now,
            ended_at=None if answer is None else now,
        )
    )  # fmt: skip


def newest(session: Session, project_id: int, mode: str | None = None) -> RehearsalRow | None:
    """The newest rehearsal of a project, of one mode or of any."""
    query = select(*_COLUMNS).where(Rehearsal.project_id == project_id)
    if mode is not None:
        query = query.where(Rehearsal.mode == mode)
    row = session.execute(query.order_by(Rehearsal.created_at.desc(), Rehearsal.rehearsal_id).limit(1)).one_or_none()
    return None if row is None else RehearsalRow(*row)


def of_run(session: Session, run_id: str) -> RehearsalRow | None:
    """The rehearsal that a run is the canary of."""
    row = session.execute(select(*_COLUMNS).where(Rehearsal.run_id == run_id)).one_or_none()
    return None if row is None else RehearsalRow(*row)


def ended_but_open(session: Session, *, limit: int) -> list[str]:
    """Rehearsals whose run has ended while they have no answer yet, oldest first."""
    rows = session.scalars(
        select(Rehearsal.rehearsal_id)
        .join(ProjectRun, ProjectRun.run_id == Rehearsal.run_id)
        .where(Rehearsal.state == "running", ProjectRun.status.in_(TERMINAL_STATES))
        .order_by(Rehearsal.created_at)
        .limit(limit)
    )
    return list(rows)


def row_of(session: Session, rehearsal_id: str) -> RehearsalRow | None:
    """One rehearsal."""
    row = session.execute(select(*_COLUMNS).where(Rehearsal.rehearsal_id == rehearsal_id)).one_or_none()
    return None if row is None else RehearsalRow(*row)


def run_state(session: Session, run_id: str) -> tuple[str, str]:
    """(status, validation) of a run that exists."""
    row = session.execute(select(ProjectRun.status, ProjectRun.validation).where(ProjectRun.run_id == run_id)).one()
    return row[0], row[1]


def tasks_of(session: Session, run_id: str) -> Sequence[tuple[str, str]]:
    """(task, status) of every task of a run."""
    rows = session.execute(select(RunTask.task_id, RunTask.status).where(RunTask.run_id == run_id).order_by(RunTask.id))
    return [(row[0], row[1]) for row in rows]


def measured_failures(session: Session, run_id: str) -> frozenset[str]:
    """Tasks of a run of which a blocking gate was measured and failed.

    A gate without a value does not count: with its writes suppressed a task leaves nothing to measure.
    """
    rows = session.scalars(
        select(KpiReceipt.task_id).where(
            KpiReceipt.run_id == run_id, ~KpiReceipt.pass_, KpiReceipt.blocks, KpiReceipt.kpi_value.is_not(None)
        )
    )
    return frozenset(task_id for task_id in rows if task_id is not None)


def attempts_of(session: Session, run_id: str) -> list[Attempt]:
    """Every receipt of a run, in order of task and attempt."""
    rows = session.execute(
        select(
            TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.status, TaskReceipt.tokens, TaskReceipt.duration_ms,
            TaskReceipt.cost_usd, TaskReceipt.echo_cos,
        )
        .where(TaskReceipt.run_id == run_id)
        .order_by(TaskReceipt.task_id, TaskReceipt.attempt)
    )  # fmt: skip
    return [Attempt(*row) for row in rows]


def finish(
    session: Session, rehearsal_id: str, *, state: str, answer: dict[str, Any], risk_score: float, now: datetime
) -> bool:
    """Give the answer of a canary and put the risk score on its run; False when somebody else did."""
    run_id = session.execute(
        update(Rehearsal)
        .where(Rehearsal.rehearsal_id == rehearsal_id, Rehearsal.state == "running")
        .values(state=state, answer_json=answer, ended_at=now)
        .returning(Rehearsal.run_id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if run_id is None:
        return False
    session.execute(
        update(ProjectRun)
        .where(ProjectRun.run_id == run_id)
        .values(risk_score=risk_score)
        .execution_options(synchronize_session=False)
    )
    return True
