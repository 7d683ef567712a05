"""What does a start read, and which rows does it leave?

The rows of one run: the run, its tasks, passport, cards, first states, and the effects that are asked for. All inserts are
of many rows at once, because a start is on the path of a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import exists, func, insert, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    AuditEntry,
    Hold,
    JobCard,
    LaneGate,
    OutboxEvent,
    Project,
    ProjectRun,
    ProviderSnapshot,
    RunLineage,
    RunPassport,
    RunTask,
    StateTransition,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.runs.passport import PlannedTask


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What a start asks about a project; money in USD, `held` the reason of an open hold."""

    project_id: int
    name: str
    status: str
    budget_usd: Decimal | None
    estimated_usd: Decimal | None
    estimated_tokens: int | None
    estimated_minutes: int | None
    held: str | None
    spent_usd: Decimal


@dataclass(frozen=True, slots=True)
class NewRun:
    """The rows of a run that starts."""

    run: dict[str, Any]
    tasks: list[dict[str, Any]]
    passport: dict[str, Any]
    cards: list[dict[str, Any]]
    births: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    audit: dict[str, Any]
    parent: dict[str, Any] | None


def project_facts(session: Session, project_id: int) -> ProjectFacts | None:
    """A project as a start sees it, locked against a change of its state until the transaction ends."""
    held = (
        select(func.max(Hold.reason))
        .where(
            Hold.lifted_at.is_(None),
            Hold.subject_type == "project",
            Hold.subject_id == str(project_id),
        )
        .scalar_subquery()
    )
    spent = (
        select(func.coalesce(func.sum(TaskReceipt.cost_usd), Decimal(0)))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id)
        .scalar_subquery()
    )
    row = session.execute(
        select(
            Project.id,
            Project.name,
            Project.status,
            Project.budget_cost_usd_max,
            Project.estimated_cost_usd,
            Project.estimated_tokens,
            Project.estimated_duration_minutes,
            held,
            spent,
        )
        .where(Project.id == project_id)
        .with_for_update(read=True, of=Project)
    ).one_or_none()
    return None if row is None else ProjectFacts(*row)


def plan_of(session: Session, project_id: int) -> list[PlannedTask]:
    """The tasks of a project that are worked: those with a plan, in their order; a task with subtasks is not worked itself."""
    child = TaskEstimate.__table__.alias("child")
    rows = session.execute(
        select(
            TaskPlan.task_key,
            TaskEstimate.task_name,
            TaskEstimate.task_description,
            TaskEstimate.tmd_lane,
            TaskPlan.provider,
            TaskEstimate.task_kind,
            TaskEstimate.complexity,
            TaskPlan.depends_on_json,
            TaskPlan.command_json,
            TaskPlan.payload_json,
            TaskPlan.forecast_json,
        )
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(
            TaskPlan.project_id == project_id,
            TaskEstimate.tmd_lane.is_not(None),
            ~exists().where(child.c.parent_task_id == TaskEstimate.id),
        )
        .order_by(TaskEstimate.order_index, TaskEstimate.id)
    )
    return [
        PlannedTask(
            key, name, description, lane, provider, kind, complexity,
            tuple(depends_on or ()), None if command is None else tuple(command), payload, forecast,
        )
        for key, name, description, lane, provider, kind, complexity, depends_on, command, payload, forecast in rows
    ]  # fmt: skip


def gates_in_force(session: Session) -> list[tuple[int, str, str, Any, bool]]:
    """(lane, KPI, operator, threshold, blocks) of every active gate, in a stable order."""
    rows = session.execute(
        select(LaneGate.lane_id, LaneGate.kpi_name, LaneGate.operator, LaneGate.threshold, LaneGate.blocks)
        .where(LaneGate.active)
        .order_by(LaneGate.lane_id, LaneGate.kpi_name)
    )
    return [tuple(row) for row in rows]


def last_provider_state(session: Session) -> str | None:
    """What the executor stated last about its providers, as it was stored (JSON text)."""
    return session.scalar(
        select(ProviderSnapshot.state_json)
        .order_by(ProviderSnapshot.taken_at.desc(), ProviderSnapshot.id.desc())
        .limit(1)
    )


def insert_run(session: Session, run: dict[str, Any]) -> None:
    """The row of the run itself; everything else refers to it."""
    session.connection().execute(insert(ProjectRun), run)


def insert_rest(session: Session, new: NewRun) -> None:
    """Every other row of a run that starts."""
    connection = session.connection()
    connection.execute(insert(RunTask), new.tasks)
    connection.execute(insert(RunPassport), new.passport)
    connection.execute(insert(JobCard), new.cards)
    connection.execute(insert(StateTransition), new.births)
    connection.execute(insert(OutboxEvent), new.effects)
    connection.execute(insert(AuditEntry), new.audit)
    if new.parent is not None:
        connection.execute(insert(RunLineage), new.parent)


def birth(subject: str, subject_id: str, *, at: datetime, actor: str) -> dict[str, Any]:
    """The first state of a run or task, as `record_birth` would write it."""
    return {
        "subject_type": subject,
        "subject_id": subject_id,
        "sequence": 1,
        "from_state": None,
        "to_state": "QUEUED",
        "is_terminal": False,
        "reason": None,
        "actor": actor[:255],
        "at": at,
    }
