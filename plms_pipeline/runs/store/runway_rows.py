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

from plms_pipeline.budget.ledger import project_account
from plms_pipeline.registry.prepared import Asking, Prepared, Rows
from plms_pipeline.registry.tables import (
    JobCard,
    LedgerAccount,
    PriceChange,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunTask,
)
from plms_pipeline.registry.tables import TaskReceipt as Receipt
from plms_pipeline.runs.store.planned import spending_priors
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
_T: Final = cast(Receipt.duration_ms, Float)
_IN_WINDOW: Final = case((Receipt.completed_at > _SINCE, Receipt.cost_usd))
_ACTIVITY: Final = Prepared(
    select(
        select(func.min(ProjectRun.started_at)).where(ProjectRun.project_id == THIS, ProjectRun.status == "RUNNING")
        .scalar_subquery(),
        func.coalesce(func.sum(_IN_WINDOW), _ZERO), func.count(_IN_WINDOW),
        func.coalesce(func.sum(Receipt.cost_usd), _ZERO), func.count(Receipt.cost_usd),
        func.sum(_X * _X) / func.nullif(func.sum(_X) * func.sum(_X), 0.0),
        func.count(Receipt.duration_ms), func.sum(_T * _T) / func.nullif(func.sum(_T) * func.sum(_T), 0.0),
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
_PRIORS: Final = Prepared(spending_priors(lambda project_id: project_id == THIS))
# Whether any price of a provider was ever decided upon: most installations never do, and need not look further.
_PRICES: Final = Prepared(select(func.max(PriceChange.id)))


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
    has_prices: bool


class Head(NamedTuple):
    """A project as far as its runway depends on it; `newest_run` None: nothing was started."""

    project_id: int
    status: str
    budget_usd: Decimal | None
    breach_policy: str
    max_attempts: int
    newest_run: int | None


class Spending(NamedTuple):
    """What was spent and is reserved; since when something is under way, and what that took.

    Dollars and receipts with a price, in the window and in all; Σx² / (Σx)² of their costs, and how many durations are known,
    with theirs. None: unknown.
    """

    spent: Decimal
    reserved: Decimal
    since: datetime | None
    window_usd: Decimal
    window_receipts: int
    run_usd: Decimal
    run_receipts: int
    run_lumpiness: float | None
    durations: int
    duration_lumpiness: float | None


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
        ask.dialect, head, money, activity, left, priors, ask.rows(_PLANNED, project_id=project_id) if asks_plan else (),
        bool(left or not was_started) and ask.rows(_PRICES)[0][0] is not None,
    )  # fmt: skip


def cells_of(rows: RunwayRows) -> list[tuple[int, str]]:
    """Each (lane, provider) of the work that is left."""
    return sorted({(row[0], row[1]) for row in (rows.left or rows.planned)})


def head_of(rows: RunwayRows) -> Head:
    """The project itself."""
    return Head(*_HEAD.typed(rows.head, rows.dialect)[0])


def spending_of(rows: RunwayRows) -> Spending:
    """What was spent, is reserved, and burns."""
    ((spent, reserved),) = _ACCOUNT.typed(rows.money, rows.dialect)
    ((since, window, recent, run, receipts, lumps, durations, uneven),) = _ACTIVITY.typed(rows.activity, rows.dialect)
    return Spending(
        spent or _ZERO, reserved or _ZERO, since, window or _ZERO, recent, run or _ZERO, receipts, lumps, durations, uneven
    )  # fmt: skip
