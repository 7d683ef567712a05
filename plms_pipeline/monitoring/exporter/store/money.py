"""What have active projects spent, what do they burn, and what will they have cost?

Active is a project whose work goes on, or that has a run under way. Everything is asked for all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, column, func, inspect, literal, or_, select, table
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.registry.tables import LedgerAccount, Project, ProjectRun, TaskReceipt
from plms_pipeline.registry.types import UtcDateTime

OURS: Final = "plms"
# SQLite's oldest builds take 999 parameters in a statement.
_KEYS: Final = 900
_SNAPSHOTS: Final = table(
    "runway_snapshots", column("project_id"), column("at", UtcDateTime()), column("final_usd")
)  # fmt: skip
_NEWEST: Final = _SNAPSHOTS.alias("newest")
_CHECKS: Final = table("budget_checks", column("project_id"), column("checked_at", UtcDateTime()))
_BREACHES: Final = table(
    "breach_episodes", column("state"), column("answer"), column("opened_at", UtcDateTime())
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Purse:
    """An active project: budget, what it has spent (None: it has no account yet) and reserved."""

    project_id: int
    budget: float | None
    settled: float | None
    reserved: float


def active(session: Session) -> list[Purse]:
    """Every active project of ours."""
    running = select(ProjectRun.project_id).where(ProjectRun.source == OURS, ProjectRun.status == "RUNNING")
    rows = session.execute(
        select(
            Project.id, Project.budget_cost_usd_max, LedgerAccount.settled_usd, LedgerAccount.reserved_usd,
        )
        .outerjoin(LedgerAccount, LedgerAccount.account == literal(PROJECT) + cast(Project.id, String))
        .where(
            Project.source == OURS,
            or_(Project.status.in_(("executing", "validating")), Project.id.in_(running)),
        )
        .order_by(Project.id)
    )  # fmt: skip
    return [
        Purse(number, _usd(budget), _usd(settled), float(reserved or 0)) for number, budget, settled, reserved in rows
    ]


def spent(session: Session, project_ids: Collection[int]) -> dict[int, float]:
    """Project → what its receipts took: for those that have no account."""
    return _by_project(session, project_ids, func.sum(TaskReceipt.cost_usd))


def running_since(session: Session) -> dict[int, datetime]:
    """Project → when the oldest of its runs that are under way began."""
    rows = session.execute(
        select(ProjectRun.project_id, func.min(ProjectRun.started_at))
        .where(ProjectRun.source == OURS, ProjectRun.status == "RUNNING", ProjectRun.started_at.is_not(None))
        .group_by(ProjectRun.project_id)
    )
    return {number: since for number, since in rows if since is not None}


def spent_since(session: Session, moment: datetime) -> dict[int, float]:
    """Project → what runs that are under way took since a moment."""
    rows = session.execute(
        select(ProjectRun.project_id, func.sum(TaskReceipt.cost_usd))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(
            TaskReceipt.completed_on >= moment.date(), TaskReceipt.completed_at > moment, ProjectRun.source == OURS,
            ProjectRun.status == "RUNNING",
        )
        .group_by(ProjectRun.project_id)
    )  # fmt: skip
    return {number: float(usd) for number, usd in rows if usd is not None}


def spent_by_running(session: Session, project_ids: Collection[int]) -> dict[int, float]:
    """Project → what its runs that are under way took in all."""
    return _by_project(session, project_ids, func.sum(TaskReceipt.cost_usd), ProjectRun.status == "RUNNING")


def forecasts(session: Session, since: datetime) -> dict[int, float | None]:
    """Project → what it will have cost (None: the look could not tell), of projects that were looked at since."""
    newest = (
        select(func.max(_NEWEST.c.at))
        .where(_NEWEST.c.project_id == _CHECKS.c.project_id)
        .correlate(_CHECKS)
        .scalar_subquery()
    )
    rows = session.execute(
        select(_SNAPSHOTS.c.project_id, _SNAPSHOTS.c.final_usd).where(
            _CHECKS.c.checked_at >= since,
            _SNAPSHOTS.c.project_id == _CHECKS.c.project_id,
            _SNAPSHOTS.c.at == newest,
        )
    )
    return {number: _usd(final) for number, final in rows}


def open_breaches(session: Session) -> tuple[int, datetime | None]:
    """Breaches of budgets that nobody has answered, and since when the first waits."""
    row = session.execute(
        select(func.count(), func.min(_BREACHES.c.opened_at)).where(
            _BREACHES.c.state == "open", _BREACHES.c.answer.is_(None)
        )
    ).one()
    return row[0], row[1]


def are_forecast(session: Session) -> bool:
    """Whether this registry has the tables of runways; one that was not upgraded yet has none."""
    found = inspect(session.connection())
    return all(found.has_table(each.name) for each in (_SNAPSHOTS, _CHECKS, _BREACHES))


def _by_project(
    session: Session, project_ids: Collection[int], what: ColumnElement[Any], *more: ColumnElement[bool]
) -> dict[int, float]:
    found: dict[int, float] = {}
    for some in _parts(project_ids):
        rows = session.execute(
            select(ProjectRun.project_id, what)
            .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
            .where(ProjectRun.project_id.in_(some), *more)
            .group_by(ProjectRun.project_id)
        )
        found |= {number: float(usd) for number, usd in rows if usd is not None}
    return found


def _parts(keys: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(keys)
    while some := list(islice(rest, _KEYS)):
        yield some


def _usd(amount: Any) -> float | None:
    return None if amount is None else float(amount)
