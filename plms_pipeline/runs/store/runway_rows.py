"""What does the runway of a project ask the books?

The ledger for what was spent and is reserved, the receipts of the runs under way for how fast, and for what is left the tasks
that have not ended with what is believed of their (lane, provider). Few statements, each from an index; the answers stay as
the database gave them, so that equal rows need not be understood twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Float, and_, bindparam, case, cast, func, literal, or_, select
from sqlalchemy.orm import aliased

from plms_pipeline.budget.ledger import project_account
from plms_pipeline.registry.prepared import Asking, Prepared, Rows
from plms_pipeline.registry.tables import (
    EstimateVersion,
    IntervalCorrection,
    JobCard,
    LedgerAccount,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunTask,
    TaskEstimate,
    TaskPlan,
)
from plms_pipeline.registry.tables import TaskReceipt as Receipt
from plms_pipeline.runs.store.views import CELLS, THIS, WORK

_ZERO: Final = Decimal(0)
_SINCE: Final = bindparam("since", type_=Receipt.completed_at.type)
_UNDER_WAY: Final = or_(ProjectRun.status == "QUEUED", ProjectRun.status == "RUNNING")
# (id, state, budget, breach policy, attempts a task may have, whether any of its own work was ever started)
_HEAD: Final = Prepared(
    select(
        Project.id, Project.status, Project.budget_cost_usd_max, Project.breach_policy,
        func.coalesce(
            select(ProjectPolicy.max_attempts).where(ProjectPolicy.project_id == Project.id).scalar_subquery(), 1
        ),
        select(func.max(ProjectRun.id)).where(WORK).scalar_subquery(),
    ).where(Project.id == THIS)
)  # fmt: skip
_ACCOUNT: Final = Prepared(
    select(LedgerAccount.settled_usd, LedgerAccount.reserved_usd).where(
        LedgerAccount.account == bindparam("account", type_=LedgerAccount.account.type)
    )
)
_SPENT: Final = Prepared(
    select(func.coalesce(func.sum(Receipt.cost_usd), _ZERO), literal(None))
    .join(ProjectRun, ProjectRun.run_id == Receipt.run_id)
    .where(ProjectRun.project_id == THIS)
)
# Dollars or micro-dollars: the ratio of sums below is the same in either.
_X: Final = cast(Receipt.cost_usd, Float)
_IN_WINDOW: Final = case((Receipt.completed_at > _SINCE, _X))
_ACTIVITY: Final = Prepared(
    select(
        select(func.min(ProjectRun.started_at)).where(ProjectRun.project_id == THIS, ProjectRun.status == "RUNNING")
        .scalar_subquery(),
        func.coalesce(func.sum(case((Receipt.completed_at > _SINCE, Receipt.cost_usd))), _ZERO),
        func.sum(_IN_WINDOW * _IN_WINDOW) / func.nullif(func.sum(_IN_WINDOW) * func.sum(_IN_WINDOW), 0.0),
        func.coalesce(func.sum(Receipt.cost_usd), _ZERO),
        func.sum(_X * _X) / func.nullif(func.sum(_X) * func.sum(_X), 0.0),
    )
    .select_from(Receipt)
    .join(ProjectRun, ProjectRun.run_id == Receipt.run_id)
    .where(ProjectRun.project_id == THIS, ProjectRun.status == "RUNNING")
)  # fmt: skip
_ATTEMPT: Final = func.coalesce(JobCard.attempt, 1)
_OPEN: Final = Prepared(
    select(RunTask.lane_id, RunTask.provider, _ATTEMPT, func.count())
    .join(ProjectRun, ProjectRun.run_id == RunTask.run_id)
    .outerjoin(
        JobCard,
        and_(
            JobCard.run_id == RunTask.run_id, JobCard.task_id == RunTask.task_id,
            or_(JobCard.state == "WAITING", JobCard.state == "SUBMITTED"),
        ),
    )
    .where(
        ProjectRun.project_id == THIS, _UNDER_WAY, or_(RunTask.status == "QUEUED", RunTask.status == "RUNNING")
    )
    .group_by(RunTask.lane_id, RunTask.provider, _ATTEMPT)
    .order_by(RunTask.lane_id, RunTask.provider, _ATTEMPT)
)  # fmt: skip
_PLANNED: Final = Prepared(CELLS)
_CELL: Final = (
    select(TaskEstimate.tmd_lane.label("lane"), TaskPlan.provider.label("provider"))
    .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .where(TaskPlan.project_id == THIS, TaskEstimate.tmd_lane.is_not(None))
    .distinct()
    .subquery()
)
_EARLIER: Final = aliased(EstimateVersion)
_PRIORS: Final = Prepared(
    select(
        EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.priors_json,
        func.coalesce(
            select(IntervalCorrection.value)
            .where(
                IntervalCorrection.lane_id == _CELL.c.lane, IntervalCorrection.measure == "cost_usd",
                IntervalCorrection.basis == "spend",
            )
            .order_by(IntervalCorrection.day.desc()).limit(1).scalar_subquery(),
            1.0,
        ),
    )
    .select_from(_CELL)
    .join(
        EstimateVersion,
        EstimateVersion.id == select(func.max(_EARLIER.id)).where(
            _EARLIER.project_id.is_(None), _EARLIER.lane_id == _CELL.c.lane, _EARLIER.provider_name == _CELL.c.provider,
            _EARLIER.basis == "spend",
        ).scalar_subquery(),
    )
    .order_by(EstimateVersion.lane_id, EstimateVersion.provider_name)
)  # fmt: skip


class RunwayRows(NamedTuple):
    """What the runway of a project is made of.

    `left`: (lane, provider, attempt, tasks) that have not ended; `planned`: (lane, provider, tasks, forecast of one), asked
    when nothing was started yet or something is left that no prior speaks of.
    """

    dialect: str
    head: Rows
    money: Rows
    activity: Rows
    left: Rows
    priors: Rows
    planned: Rows


class Head(NamedTuple):
    """A project as far as its runway depends on it; `newest_run` None: nothing was started."""

    project_id: int
    status: str
    budget_usd: Decimal | None
    breach_policy: str
    max_attempts: int
    newest_run: int | None


class Spending(NamedTuple):
    """What was spent and is reserved; since when something is under way, and what that took: dollars, Σx² / (Σx)²."""

    spent: Decimal
    reserved: Decimal
    since: datetime | None
    window_usd: Decimal
    window_lumpiness: float | None
    run_usd: Decimal
    run_lumpiness: float | None


def runway_rows(ask: Asking, project_id: int, *, now: datetime, window: timedelta) -> RunwayRows | None:
    """What the runway of a project is made of; None when there is no such project."""
    head = ask.rows(_HEAD, project_id=project_id)
    if not head:
        return None
    # A project that spent before it had an account is told by its receipts; the account is opened with them.
    money = ask.rows(_ACCOUNT, account=project_account(project_id)) or ask.rows(_SPENT, project_id=project_id)
    activity = ask.rows(_ACTIVITY, project_id=project_id, since=now - window)
    was_started = head[0][5] is not None
    left = ask.rows(_OPEN, project_id=project_id) if was_started else ()
    priors = ask.rows(_PRIORS, project_id=project_id) if left or not was_started else ()
    known = {row[:2] for row in priors}
    asks_plan = not was_started or any(row[:2] not in known for row in left)
    return RunwayRows(
        ask.dialect, head, money, activity, left, priors, ask.rows(_PLANNED, project_id=project_id) if asks_plan else ()
    )


def head_of(rows: RunwayRows) -> Head:
    """The project itself."""
    return Head(*_HEAD.typed(rows.head, rows.dialect)[0])


def spending_of(rows: RunwayRows) -> Spending:
    """What was spent, is reserved, and burns."""
    ((spent, reserved),) = _ACCOUNT.typed(rows.money, rows.dialect)
    ((since, window, lumps, run, run_lumps),) = _ACTIVITY.typed(rows.activity, rows.dialect)
    return Spending(spent or _ZERO, reserved or _ZERO, since, window or _ZERO, lumps, run or _ZERO, run_lumps)
