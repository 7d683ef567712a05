"""What does a start read, and which rows does it leave?

The rows of one run: the run, its tasks, passport, cards, first states, and the effects that are asked for. All inserts are
of many rows at once, because a start is on the path of a request.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Text, bindparam, func, select, type_coerce
from sqlalchemy.orm import Session

from plms_pipeline.registry.prepared import Inserts, Prepared, Rows, asking_in
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
from plms_pipeline.runs.money import PricedPlan
from plms_pipeline.runs.passport import Gates, PlannedTask


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

    @property
    def left_usd(self) -> Decimal | None:
        """What is left of the budget; None without one."""
        return None if self.budget_usd is None else max(Decimal(0), self.budget_usd - self.spent_usd)


@dataclass(frozen=True, slots=True)
class NewRun:
    """The rows of a run that starts."""

    run: dict[str, Any]
    tasks: list[dict[str, Any]]
    passport: dict[str, Any]
    cards: list[dict[str, Any]]
    birth: dict[str, Any]
    effects: list[dict[str, Any]]
    audit: dict[str, Any]
    parent: dict[str, Any] | None


# Built once: putting these statements together takes longer than running them, and a start is on the path of a request.
_PROJECT: Final = Prepared(
    select(
        Project.id,
        Project.name,
        Project.status,
        Project.budget_cost_usd_max,
        Project.estimated_cost_usd,
        Project.estimated_tokens,
        Project.estimated_duration_minutes,
        select(func.max(Hold.reason))
        .where(Hold.subject_type == "project", Hold.subject_id == bindparam("project_text"), Hold.lifted_at.is_(None))
        .scalar_subquery(),
        select(func.coalesce(func.sum(TaskReceipt.cost_usd), Decimal(0)))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == bindparam("project_id"))
        .scalar_subquery(),
    )
    .where(Project.id == bindparam("project_id"))
    .with_for_update(read=True, of=Project)
)
_CHILD: Final = TaskEstimate.__table__.alias("child")
_PLAN: Final = Prepared(
    select(
        TaskPlan.task_key,
        TaskEstimate.task_name,
        TaskEstimate.task_description,
        TaskEstimate.tmd_lane,
        TaskPlan.provider,
        TaskEstimate.task_kind,
        TaskEstimate.complexity,
        type_coerce(TaskPlan.depends_on_json, Text),
        type_coerce(TaskPlan.command_json, Text),
        type_coerce(TaskPlan.payload_json, Text),
        type_coerce(TaskPlan.forecast_json, Text),
    )
    .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .where(
        TaskPlan.project_id == bindparam("project_id"),
        TaskEstimate.tmd_lane.is_not(None),
        # One look at the parents: asking for each task whether it has a child would look at all tasks for each of them.
        TaskEstimate.id.not_in(
            select(_CHILD.c.parent_task_id).where(
                _CHILD.c.project_id == bindparam("project_id"), _CHILD.c.parent_task_id.is_not(None)
            )
        ),
    )
    .order_by(TaskEstimate.order_index, TaskEstimate.id)
)
_GATES: Final = Prepared(
    select(
        LaneGate.lane_id, LaneGate.kpi_name, LaneGate.operator, type_coerce(LaneGate.threshold, Text), LaneGate.blocks
    )
    .where(LaneGate.active)
    .order_by(LaneGate.lane_id, LaneGate.kpi_name)
)
_RUN: Final = Inserts(ProjectRun)
_TASKS: Final = Inserts(RunTask)
_PASSPORT: Final = Inserts(RunPassport)
_CARDS: Final = Inserts(JobCard)
_BIRTH: Final = Inserts(StateTransition)
_EFFECTS: Final = Inserts(OutboxEvent)
_AUDIT: Final = Inserts(AuditEntry)
_PARENT: Final = Inserts(RunLineage)
# Plans of so many projects are not read again while they are what they were.
_READ: Final = 512


def project_facts(session: Session, project_id: int) -> ProjectFacts | None:
    """A project as a start sees it, locked against a change of its state until the transaction ends."""
    ask = asking_in(session)
    rows = ask.rows(_PROJECT, project_id=project_id, project_text=str(project_id))
    return ProjectFacts(*_PROJECT.typed(rows, ask.dialect)[0]) if rows else None


def plan_of(session: Session, project_id: int) -> PricedPlan:
    """The tasks of a project that are worked: those with a plan, in their order; a task with subtasks is not worked itself.

    The same rows give the same object, so that what follows from a plan need not be worked out at every start.
    """
    ask = asking_in(session)
    return _plan(ask.rows(_PLAN, project_id=project_id), ask.dialect)


@lru_cache(maxsize=_READ)
def _plan(rows: Rows, dialect: str) -> PricedPlan:
    return PricedPlan(
        PlannedTask(
            key, name, description, lane, provider, kind, complexity, tuple(_read(depends_on) or ()),
            None if command is None else tuple(_read(command)), _read(payload), _read(forecast),
        )
        for key, name, description, lane, provider, kind, complexity, depends_on, command, payload, forecast
        in _PLAN.typed(rows, dialect)
    )  # fmt: skip


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def restricted(plan: PricedPlan, wanted: Collection[str]) -> PricedPlan:
    """The wanted part of a plan; a dependency outside that part counts as fulfilled."""
    return PricedPlan(
        replace(task, depends_on=tuple(name for name in task.depends_on if name in wanted))
        for task in plan
        if task.task_id in wanted
    )


def gates_in_force(session: Session) -> Gates:
    """(lane, KPI, operator, threshold, blocks) of every active gate, in a stable order; the same object for the same gates."""
    ask = asking_in(session)
    return _gates(ask.rows(_GATES), ask.dialect)


@lru_cache(maxsize=4)
def _gates(rows: Rows, dialect: str) -> Gates:
    return Gates(
        (lane_id, kpi_name, operator, _read(threshold), blocks)
        for lane_id, kpi_name, operator, threshold, blocks in _GATES.typed(rows, dialect)
    )


def last_provider_state(session: Session) -> str | None:
    """What the executor stated last about its providers, as it was stored (JSON text)."""
    return session.scalar(
        select(ProviderSnapshot.state_json)
        .order_by(ProviderSnapshot.taken_at.desc(), ProviderSnapshot.id.desc())
        .limit(1)
    )


def insert_run(session: Session, run: dict[str, Any]) -> None:
    """The row of the run itself; everything else refers to it."""
    _RUN.into(session, [run])


def insert_rest(session: Session, new: NewRun) -> None:
    """Every other row of a run that starts."""
    _TASKS.into(session, new.tasks)
    _PASSPORT.into(session, [new.passport])
    _CARDS.into(session, new.cards)
    _BIRTH.into(session, [new.birth])
    _EFFECTS.into(session, new.effects)
    _AUDIT.into(session, [new.audit])
    if new.parent is not None:
        _PARENT.into(session, [new.parent])


def birth(run_id: str, *, at: datetime, actor: str) -> dict[str, Any]:
    """The first state of a run, as `record_birth` would write it. That of its tasks is their `queued_at`."""
    return {
        "subject_type": "run",
        "subject_id": run_id,
        "sequence": 1,
        "from_state": None,
        "to_state": "QUEUED",
        "is_terminal": False,
        "reason": None,
        "actor": actor[:255],
        "at": at,
    }
