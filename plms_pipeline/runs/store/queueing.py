"""Which cards could go out but are not queued, and what does the queue have to know of them?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import and_, exists, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import JobCard, Preemption, ProjectRun, QueuedCard, RunTask, TaskPlan
from plms_pipeline.runs.dispatching import WaitingCard

_PARAMETERS: Final = 900


def unqueued(session: Session, run_ids: Collection[str] | None = None) -> list[WaitingCard]:
    """Every card of a RUNNING run that waits and is not queued, in the order of the plans; of some runs or of all."""
    if run_ids is not None and not run_ids:
        return []
    queued = exists().where(QueuedCard.card_key == JobCard.card_key)
    query = (
        select(JobCard.card_key, JobCard.run_id, JobCard.task_id, JobCard.depends_on_json)
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .join(RunTask, and_(RunTask.run_id == JobCard.run_id, RunTask.task_id == JobCard.task_id))
        .where(JobCard.state == "WAITING", ProjectRun.status == "RUNNING", ~queued)
        .order_by(ProjectRun.id, RunTask.id, JobCard.attempt)
    )
    ordered = None if run_ids is None else sorted(run_ids)
    parts = (
        [None] if ordered is None else [ordered[at : at + _PARAMETERS] for at in range(0, len(ordered), _PARAMETERS)]
    )
    return [
        WaitingCard(key, run_id, task_id, tuple(depends_on or ()))
        for part in parts
        for key, run_id, task_id, depends_on in session.execute(
            query if part is None else query.where(JobCard.run_id.in_(part))
        )
    ]


def paused_unqueued(session: Session) -> list[str]:
    """Cards that the executor put aside for others and that are not queued to go on."""
    queued = exists().where(QueuedCard.card_key == JobCard.card_key)
    query = (
        select(JobCard.card_key)
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .join(Preemption, and_(Preemption.card_key == JobCard.card_key, Preemption.state.in_(("paused", "resuming"))))
        .where(JobCard.state == "SUBMITTED", ProjectRun.status == "RUNNING", ~queued)
        .order_by(JobCard.card_key)
    )
    return list(session.scalars(query))


def facts_of(session: Session, card_keys: Collection[str]) -> list[dict[str, Any]]:
    """What the queue has to know of cards: whose they are, their money, their priority and their forecast."""
    found: list[dict[str, Any]] = []
    ordered = sorted(card_keys)
    for start in range(0, len(ordered), _PARAMETERS):
        rows = session.execute(
            select(
                JobCard.card_key, JobCard.lane_id, ProjectRun.project_id, JobCard.run_id, ProjectRun.run_kind,
                JobCard.budget_usd, JobCard.priority, JobCard.lease_expires_at, TaskPlan.forecast_json,
            )
            .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
            .outerjoin(
                TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == JobCard.task_id)
            )
            .where(JobCard.card_key.in_(ordered[start : start + _PARAMETERS]))
        )  # fmt: skip
        found += [dict(row) for row in rows.mappings()]
    return found
