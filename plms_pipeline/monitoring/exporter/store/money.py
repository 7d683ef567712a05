"""What have active projects spent, what do they burn, and what is left to do?

Active is a project whose work goes on, or that has a run under way. Everything is asked for all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, String, Text, cast, func, literal, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.registry.tables import (
    LedgerAccount,
    Project,
    ProjectForecast,
    ProjectRun,
    RunTask,
    TaskPlan,
    TaskReceipt,
)

OURS: Final = "plms"
# SQLite's oldest builds take 999 parameters in a statement.
_KEYS: Final = 900


@dataclass(frozen=True, slots=True)
class Purse:
    """An active project: budget, what it has spent (None: it has no account yet) and reserved, when its plan was estimated."""

    project_id: int
    budget: float | None
    settled: float | None
    reserved: float
    estimated_at: datetime | None


def active(session: Session) -> list[Purse]:
    """Every active project of ours."""
    running = select(ProjectRun.project_id).where(ProjectRun.source == OURS, ProjectRun.status == "RUNNING")
    rows = session.execute(
        select(
            Project.id, Project.budget_cost_usd_max, LedgerAccount.settled_usd, LedgerAccount.reserved_usd,
            ProjectForecast.estimated_at,
        )
        .outerjoin(LedgerAccount, LedgerAccount.account == literal(PROJECT) + cast(Project.id, String))
        .outerjoin(ProjectForecast, ProjectForecast.project_id == Project.id)
        .where(
            Project.source == OURS,
            or_(Project.status.in_(("executing", "validating")), Project.id.in_(running)),
        )
        .order_by(Project.id)
    )  # fmt: skip
    return [
        Purse(number, _usd(budget), _usd(settled), float(reserved or 0), estimated_at)
        for number, budget, settled, reserved, estimated_at in rows
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


def plans(session: Session, project_ids: Collection[int]) -> dict[int, dict[str, float]]:
    """Project → task → what the task is expected to cost (0 where nobody knows)."""
    text = TaskPlan.forecast_json
    wanted = [_number(session, text, name) for name in ("mean", "median")]
    found: dict[int, dict[str, float]] = {number: {} for number in project_ids}
    for some in _parts(project_ids):
        rows = session.execute(
            select(TaskPlan.project_id, TaskPlan.task_key, *wanted).where(TaskPlan.project_id.in_(some))
        )
        for number, task, mean, median in rows:
            found[number][task] = float(mean or median or 0.0)
    return found


def open_tasks(session: Session, project_ids: Sequence[int]) -> tuple[set[int], list[tuple[int, str]]]:
    """Projects that have a run of their own work, and (project, task) of what has not ended in the newest of them."""
    newest: dict[str, int] = {}
    for some in _parts(project_ids):
        last = (
            select(func.max(ProjectRun.id))
            .where(ProjectRun.project_id.in_(some), *_is_work())
            .group_by(ProjectRun.project_id)
        )
        rows = session.execute(select(ProjectRun.run_id, ProjectRun.project_id).where(ProjectRun.id.in_(last)))
        newest |= dict(rows.all())
    found: list[tuple[int, str]] = []
    for runs in _parts(newest):
        tasks = session.execute(
            select(RunTask.run_id, RunTask.task_id).where(
                RunTask.run_id.in_(runs), RunTask.status.in_(("QUEUED", "RUNNING"))
            )
        )
        found += [(newest[run], task) for run, task in tasks]
    return set(newest.values()), found


def _is_work() -> tuple[ColumnElement[bool], ...]:
    return (
        ProjectRun.source == OURS,
        ProjectRun.run_kind.in_(("baseline", "hotfix")),
        ProjectRun.write_sandbox.is_(False),
    )


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


def _number(session: Session, text: Any, name: str) -> ColumnElement[Any]:
    """What a forecast says about the money of an attempt, read where it lies: a thousand projects have megabytes of them."""
    plain = type_coerce(text, Text)
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.jsonb_extract_path_text(cast(plain, JSONB), "spend", "cost_usd", name), Float)
    return cast(func.json_extract(plain, f"$.spend.cost_usd.{name}"), Float)


def _parts(keys: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(keys)
    while some := list(islice(rest, _KEYS)):
        yield some


def _usd(amount: Any) -> float | None:
    return None if amount is None else float(amount)
