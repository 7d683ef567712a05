"""How do all projects that are not over stand?

Seven statements, however many projects there are. Every function takes an open session and only reads.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import String, Text, and_, bindparam, cast, func, literal, or_, select, type_coerce
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.registry.prepared import Prepared, Rows, asking_in, one_of
from plms_pipeline.registry.tables import (
    Hold,
    KpiReceipt,
    LedgerAccount,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunTask,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.registry.types import UtcDateTime
from plms_pipeline.runs.store.views import IS_WORK
from plms_pipeline.web.page.facts import MOST_PROJECTS, OPEN_STATES, ProjectFacts, RunHead
from plms_pipeline.web.page.store.lanes import WORDS

_ZERO: Final = Decimal(0)
_IS_OPEN: Final = and_(Project.source == "plms", one_of(Project.status, OPEN_STATES))
# The newest ones: whoever has more than these open looks for one of them, and does not read a list.
_OPEN: Final = (
    select(Project.id).where(_IS_OPEN).order_by(Project.id.desc()).limit(MOST_PROJECTS).subquery("open_projects")
)
_IDS: Final = select(_OPEN.c.id)
_HELD: Final = (
    select(Hold.reason)
    .where(
        Hold.subject_type == "project", Hold.lifted_at.is_(None),
        Hold.subject_id == cast(Project.id, Hold.subject_id.type),
    )
    .order_by(Hold.id.desc())
    .limit(1)
    .correlate(Project)
    .scalar_subquery()
)  # fmt: skip
_PROJECTS: Final = Prepared(
    select(
        Project.id, Project.name, Project.status, func.coalesce(ProjectPolicy.owner, Project.created_by),
        Project.breach_policy, _HELD, Project.budget_cost_usd_max, Project.estimated_cost_usd,
        func.coalesce(LedgerAccount.reserved_usd, _ZERO),
    )
    .outerjoin(ProjectPolicy, ProjectPolicy.project_id == Project.id)
    .outerjoin(LedgerAccount, LedgerAccount.account == literal(PROJECT).concat(cast(Project.id, String)))
    .where(Project.id.in_(_IDS))
    .order_by(Project.id)
)  # fmt: skip
_COUNT: Final = Prepared(select(func.count()).select_from(Project).where(_IS_OPEN))
_NEWEST: Final = (
    select(func.max(ProjectRun.id)).where(ProjectRun.project_id.in_(_IDS), IS_WORK).group_by(ProjectRun.project_id)
)
_RUNS: Final = Prepared(
    select(ProjectRun.project_id, ProjectRun.run_id, ProjectRun.status, ProjectRun.validation).where(
        ProjectRun.id.in_(_NEWEST)
    )
)
_TASKS: Final = Prepared(
    select(RunTask.run_id, RunTask.status, func.count())
    .join(ProjectRun, ProjectRun.run_id == RunTask.run_id)
    .where(ProjectRun.id.in_(_NEWEST))
    .group_by(RunTask.run_id, RunTask.status)
)
_SPENT: Final = Prepared(
    select(ProjectRun.project_id, func.count(), func.coalesce(func.sum(TaskReceipt.cost_usd), _ZERO))
    .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .where(ProjectRun.project_id.in_(_IDS))
    .group_by(ProjectRun.project_id)
)
_MEASURED: Final = Prepared(
    select(ProjectRun.project_id, func.count())
    .join(KpiReceipt, KpiReceipt.run_id == ProjectRun.run_id)
    .where(ProjectRun.project_id.in_(_IDS))
    .group_by(ProjectRun.project_id)
)
_ACTIVE: Final = and_(ProjectRun.project_id.in_(_IDS), ProjectRun.status == "RUNNING")
_ACTIVITY: Final = Prepared(
    select(ProjectRun.project_id, func.min(ProjectRun.started_at), func.coalesce(func.sum(TaskReceipt.cost_usd), _ZERO))
    .outerjoin(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .where(_ACTIVE)
    .group_by(ProjectRun.project_id)
)
_RECENT: Final = Prepared(
    select(ProjectRun.project_id, TaskReceipt.completed_at, TaskReceipt.cost_usd)
    .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .where(
        _ACTIVE, TaskReceipt.cost_usd.is_not(None), TaskReceipt.completed_at > bindparam("since", type_=UtcDateTime())
    )
    .order_by(TaskReceipt.completed_at, TaskReceipt.id)
)
# What is left: the open tasks of the newest run, or all planned ones while there is none. Tasks of one kind share a forecast.
_LEFT: Final = Prepared(
    select(TaskPlan.project_id, type_coerce(TaskPlan.forecast_json, Text), func.count())
    .join(ProjectRun, ProjectRun.project_id == TaskPlan.project_id)
    .join(RunTask, and_(RunTask.run_id == ProjectRun.run_id, RunTask.task_id == TaskPlan.task_key))
    .where(ProjectRun.id.in_(_NEWEST), or_(RunTask.status == "QUEUED", RunTask.status == "RUNNING"))
    .group_by(TaskPlan.project_id, type_coerce(TaskPlan.forecast_json, Text))
)
_PLANNED: Final = Prepared(
    select(TaskPlan.project_id, type_coerce(TaskPlan.forecast_json, Text), func.count())
    .where(TaskPlan.project_id.in_(_IDS))
    .group_by(TaskPlan.project_id, type_coerce(TaskPlan.forecast_json, Text))
)


def projects(session: Session, *, recent_since: datetime) -> tuple[ProjectFacts, ...]:
    """Every project that is not over, by id; the newest 500 of them.

    Args:
        recent_since: receipts of runs under way that ended later are told one by one.
    """
    ask = asking_in(session)

    def rows(prepared: Prepared, **values: Any) -> list[Any]:
        return prepared.typed(ask.rows(prepared, **values), ask.dialect)

    runs = _heads(rows(_RUNS), rows(_TASKS))
    spent = {number: (count, usd) for number, count, usd in rows(_SPENT)}
    measured = dict(rows(_MEASURED))
    activity = {number: (since, usd) for number, since, usd in rows(_ACTIVITY)}
    recent: dict[int, list[tuple[datetime, Decimal]]] = defaultdict(list)
    for number, ended_at, usd in rows(_RECENT, since=recent_since):
        recent[number].append((ended_at, usd))
    planned = rows(_PLANNED)
    sizes: dict[int, int] = defaultdict(int)
    for number, _, count in planned:
        sizes[number] += count
    left = _left([row for row in planned if row[0] not in runs]) | _left(rows(_LEFT))
    found = []
    for number, name, status, owner, policy, held, budget, estimated, reserved in rows(_PROJECTS):
        receipts, spent_usd = spent.get(number, (0, _ZERO))
        since, run_usd = activity.get(number, (None, _ZERO))
        found.append(
            ProjectFacts(
                project_id=number, name=name, status=status, owner=owner, breach_policy=policy, held_because=held,
                budget_usd=budget, estimated_usd=estimated, planned_tasks=sizes.get(number, 0),
                spent_usd=spent_usd or _ZERO, reserved_usd=reserved or _ZERO, left_usd=left.get(number, 0.0),
                active_since=since, run_usd=run_usd or _ZERO, recent=tuple(recent.get(number, ())), receipts=receipts,
                gates=measured.get(number, 0), run=runs.get(number),
            )
        )  # fmt: skip
    return tuple(found)


def count(session: Session) -> int:
    """How many projects are not over."""
    ask = asking_in(session)
    return int(ask.rows(_COUNT)[0][0])


def _heads(runs: list[Any], tasks: list[Any]) -> dict[int, RunHead]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for run_id, status, number in tasks:
        counts[run_id][WORDS[status]] = number
    return {
        project: RunHead(run_id, status, validation, **counts.get(run_id, {}))
        for project, run_id, status, validation in runs
    }


def _left(rows: list[Any] | Rows) -> dict[int, float]:
    """Project → what its tasks are expected to take, USD."""
    parts: dict[int, list[float]] = defaultdict(list)
    for number, text, tasks in rows:
        parts[number].append(tasks * _expected_usd(text))
    return {number: math.fsum(found) for number, found in parts.items()}


@lru_cache(maxsize=4096)
def _expected_usd(text: str | None) -> float:
    """What one task is expected to take on the spend basis; 0 while nothing was forecast."""
    forecast: Mapping[str, Any] = json.loads(text or "null") or {}
    cost = (forecast.get("spend") or {}).get("cost_usd") or {}
    return float(cost.get("mean") or cost.get("median") or 0.0)
