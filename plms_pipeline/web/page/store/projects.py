"""How do all projects that are not over stand?

Ten statements, however many projects there are; each asks for all of them what `runs.store.runway_rows` asks for one. Every
function takes an open session and only reads.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Float, String, and_, bindparam, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.budget.depletion import UNKNOWN, Lumps
from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.registry.prepared import Prepared, Rows, asking_in, one_of
from plms_pipeline.registry.tables import (
    JobCard,
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
from plms_pipeline.runs.remaining import Remaining, remaining
from plms_pipeline.runs.store.planned import planned_cells, spending_priors
from plms_pipeline.runs.store.project_rows import PAUSED
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
_PROJECTS: Final = Prepared(
    select(
        Project.id, Project.name, Project.status, func.coalesce(ProjectPolicy.owner, Project.created_by),
        Project.breach_policy, PAUSED, Project.budget_cost_usd_max, Project.estimated_cost_usd,
        func.coalesce(ProjectPolicy.max_attempts, 1), LedgerAccount.settled_usd, LedgerAccount.reserved_usd,
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
# Dollars or micro-dollars: the ratio of sums below is the same in either.
_X: Final = cast(TaskReceipt.cost_usd, Float)
_T: Final = cast(TaskReceipt.duration_ms, Float)
_ACTIVITY: Final = Prepared(
    select(
        ProjectRun.project_id, func.min(ProjectRun.started_at), func.coalesce(func.sum(TaskReceipt.cost_usd), _ZERO),
        func.count(TaskReceipt.cost_usd), func.sum(_X * _X) / func.nullif(func.sum(_X) * func.sum(_X), 0.0),
        func.count(TaskReceipt.duration_ms), func.sum(_T * _T) / func.nullif(func.sum(_T) * func.sum(_T), 0.0),
    )
    .outerjoin(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .where(_ACTIVE)
    .group_by(ProjectRun.project_id)
)  # fmt: skip
_RECENT: Final = Prepared(
    select(ProjectRun.project_id, TaskReceipt.completed_at, TaskReceipt.cost_usd)
    .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .where(
        _ACTIVE, TaskReceipt.cost_usd.is_not(None), TaskReceipt.completed_at > bindparam("since", type_=UtcDateTime())
    )
    .order_by(TaskReceipt.completed_at, TaskReceipt.id)
)
_ATTEMPT: Final = func.coalesce(JobCard.attempt, 1)
_LEFT: Final = Prepared(
    select(ProjectRun.project_id, RunTask.lane_id, RunTask.provider, _ATTEMPT, func.count())
    .join(ProjectRun, ProjectRun.run_id == RunTask.run_id)
    .outerjoin(
        JobCard,
        and_(
            JobCard.run_id == RunTask.run_id, JobCard.task_id == RunTask.task_id,
            or_(JobCard.state == "WAITING", JobCard.state == "SUBMITTED"),
        ),
    )
    .where(
        ProjectRun.project_id.in_(_IDS), one_of(ProjectRun.status, ("QUEUED", "RUNNING")),
        one_of(RunTask.status, ("QUEUED", "RUNNING")),
    )
    .group_by(ProjectRun.project_id, RunTask.lane_id, RunTask.provider, _ATTEMPT)
    .order_by(ProjectRun.project_id, RunTask.lane_id, RunTask.provider, _ATTEMPT)
)  # fmt: skip
_PLANNED: Final = Prepared(planned_cells(lambda project_id: project_id.in_(_IDS), TaskPlan.project_id))
_PRIORS: Final = Prepared(spending_priors(lambda project_id: project_id.in_(_IDS)))


def projects(session: Session, *, recent_since: datetime) -> tuple[ProjectFacts, ...]:
    """Every project that is not over, by id; the newest 500 of them.

    Args:
        recent_since: receipts of runs under way that ended later are told one by one.
    """
    ask = asking_in(session)

    def rows(prepared: Prepared, **values: Any) -> list[Any]:
        return prepared.typed(ask.rows(prepared, **values), ask.dialect)

    runs = _heads(rows(_RUNS), rows(_TASKS))
    receipts = {number: (count, usd) for number, count, usd in rows(_SPENT)}
    measured = dict(rows(_MEASURED))
    activity = {number: _activity(*row) for number, *row in rows(_ACTIVITY)}
    recent: dict[int, list[tuple[datetime, Decimal]]] = defaultdict(list)
    for number, ended_at, usd in rows(_RECENT, since=recent_since):
        recent[number].append((ended_at, usd))
    left, planned = _by_project(rows(_LEFT)), _by_project(rows(_PLANNED))
    priors = {(row[0], row[1]): row for row in rows(_PRIORS)}
    found = []
    for number, name, status, owner, policy, held, budget, estimated, attempts, settled, reserved in rows(_PROJECTS):
        count, received = receipts.get(number, (0, _ZERO))
        since, run_usd, costs, durations = activity.get(number, (None, _ZERO, UNKNOWN, UNKNOWN))
        cells = planned.get(number, ())
        found.append(
            ProjectFacts(
                project_id=number, name=name, status=status, owner=owner, breach_policy=policy, held_because=held,
                budget_usd=budget, estimated_usd=estimated, planned_tasks=sum(cell[2] for cell in cells),
                # A project that spent before it had an account is told by its receipts; the account is opened with them.
                spent_usd=(received if settled is None else settled) or _ZERO, reserved_usd=reserved or _ZERO,
                left=_left(left.get(number, ()), priors, cells, attempts=attempts, was_started=number in runs),
                active_since=since, run_usd=run_usd or _ZERO, costs=costs, durations=durations,
                recent=tuple(recent.get(number, ())), receipts=count, gates=measured.get(number, 0), run=runs.get(number),
            )
        )  # fmt: skip
    return tuple(found)


def count(session: Session) -> int:
    """How many projects are not over."""
    ask = asking_in(session)
    return int(ask.rows(_COUNT)[0][0])


def _activity(
    since: datetime | None, usd: Decimal, n: int, lumps: float | None, timed: int, uneven: float | None
) -> tuple[datetime | None, Decimal, Lumps, Lumps]:
    return since, usd, Lumps(n, lumps or 1.0), Lumps(timed, uneven or 1.0)


def _heads(runs: list[Any], tasks: list[Any]) -> dict[int, RunHead]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for run_id, status, number in tasks:
        counts[run_id][WORDS[status]] = number
    return {
        project: RunHead(run_id, status, validation, **counts.get(run_id, {}))
        for project, run_id, status, validation in runs
    }


def _by_project(rows: list[Any]) -> dict[int, Rows]:
    """Rows without their first column, by it."""
    found: dict[int, list[Any]] = defaultdict(list)
    for number, *rest in rows:
        found[number].append(tuple(rest))
    return {number: tuple(those) for number, those in found.items()}


def _left(left: Rows, priors: dict[Any, Any], planned: Rows, *, attempts: int, was_started: bool) -> Remaining:
    """What a project's open tasks will take, as its own endpoint says it."""
    wanted = {row[:2] for row in (planned if not was_started else left)}
    known = tuple(priors[cell] for cell in sorted(wanted & priors.keys())) if wanted else ()
    asks_plan = not was_started or any(row[:2] not in priors for row in left)
    return remaining(left, known, planned if asks_plan else (), max_attempts=attempts, was_started=was_started)
