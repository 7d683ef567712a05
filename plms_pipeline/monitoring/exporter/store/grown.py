"""What was added to the tables that only grow, behind a mark?

Each function answers rows of (whether they lie at or before the new mark, what they are counted as, what is added up). Where
the table has an index on its moments the mark is one; where it has none, it is a row's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, case, cast, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from plms_pipeline.monitoring.exporter.catalogue.work import RUN_EDGES_S, TASK_EDGES_S
from plms_pipeline.monitoring.exporter.tally import CountedRow
from plms_pipeline.registry.tables import AuditEntry, KpiReceipt, Observation, ProjectRun, StateTransition, TaskReceipt

OURS = "plms"
Key = tuple[str, ...]


def receipt_mark(session: Session, before: datetime, after: int | None) -> int:
    """The newest receipt that was recorded before a moment, among those behind `after`; `after` when there is none."""
    return _mark(session, TaskReceipt.id, TaskReceipt.recorded_at, before, after)


def kpi_mark(session: Session, before: datetime, after: int | None) -> int:
    """The newest KPI receipt that was measured before a moment, among those behind `after`."""
    return _mark(session, KpiReceipt.id, KpiReceipt.measured_at, before, after)


def receipts(session: Session, *, since: int, until: int, day_began: datetime) -> Sequence[CountedRow[Key]]:
    """Receipts of our runs by (lane, status, whether completed today): how many, how many of them no first attempts, USD,
    tokens, seconds, and how many fell into each bucket of duration (the last is the infinite one; unknown ones in none)."""
    seconds = cast(TaskReceipt.duration_ms, Float) / 1000
    is_today = case((TaskReceipt.completed_at >= day_began, "today"), else_="before")
    settled = TaskReceipt.id <= until
    amounts = (
        func.count(), _sum(case((TaskReceipt.attempt > 1, 1), else_=0)), _sum(TaskReceipt.cost_usd),
        _sum(TaskReceipt.tokens), _sum(seconds), *_buckets(seconds, TASK_EDGES_S),
    )  # fmt: skip
    query = (
        select(settled.label("settled"), TaskReceipt.lane_id, TaskReceipt.status, is_today.label("day"), *amounts)
        .where(TaskReceipt.id > since, TaskReceipt.source == OURS)
        .group_by("settled", TaskReceipt.lane_id, TaskReceipt.status, "day")
    )
    return _counted(session, query, keys=3)


def gates(session: Session, *, since: int, until: int) -> Sequence[CountedRow[Key]]:
    """KPI receipts by (lane, passed or failed, whether they block)."""
    settled = KpiReceipt.id <= until
    result = case((KpiReceipt.pass_, "passed"), else_="failed")
    blocks = case((KpiReceipt.blocks, "true"), else_="false")
    query = (
        select(
            settled.label("settled"), KpiReceipt.lane_id, result.label("result"), blocks.label("block"), func.count()
        )
        .where(KpiReceipt.id > since)
        .group_by("settled", KpiReceipt.lane_id, "result", "block")
    )
    return _counted(session, query, keys=3)


def runs(session: Session, *, since: datetime, until: datetime) -> Sequence[CountedRow[Key]]:
    """Runs of ours that ended, by (kind, status): how many, seconds, and how many fell into each bucket of duration."""
    settled = StateTransition.at <= until
    seconds = _seconds_between(session, ProjectRun.started_at, ProjectRun.completed_at)
    query = (
        select(
            settled.label("settled"), ProjectRun.run_kind, ProjectRun.status, func.count(), _sum(seconds),
            *_buckets(seconds, RUN_EDGES_S),
        )
        .join(ProjectRun, ProjectRun.run_id == StateTransition.subject_id)
        .where(
            StateTransition.at > since, StateTransition.subject_type == "run", StateTransition.is_terminal,
            ProjectRun.source == OURS,
        )
        .group_by("settled", ProjectRun.run_kind, ProjectRun.status)
    )  # fmt: skip
    return _counted(session, query, keys=2)


def observations(session: Session, *, since: datetime, until: datetime) -> Sequence[CountedRow[Key]]:
    """Observations by (point, reason)."""
    settled = Observation.at <= until
    query = (
        select(settled.label("settled"), Observation.obs_point, Observation.reason, func.count())
        .where(Observation.at > since)
        .group_by("settled", Observation.obs_point, Observation.reason)
    )
    return _counted(session, query, keys=2)


def refusals(
    session: Session, actions: Sequence[str], *, since: datetime, until: datetime
) -> Sequence[CountedRow[Key]]:
    """Entries of the audit log by (action, outcome), of some actions."""
    settled = AuditEntry.at <= until
    query = (
        select(settled.label("settled"), AuditEntry.action, AuditEntry.outcome, func.count())
        .where(AuditEntry.at > since, AuditEntry.action.in_(actions))
        .group_by("settled", AuditEntry.action, AuditEntry.outcome)
    )
    return _counted(session, query, keys=2)


def _mark(
    session: Session, number: InstrumentedAttribute[int], at: InstrumentedAttribute[datetime], before: datetime,
    after: int | None,
) -> int:  # fmt: skip
    # From the newest backwards: the first that is old enough ends the look, and no index on the moments is needed.
    query = select(number).where(number > (after or 0), at < before).order_by(number.desc()).limit(1)
    return session.scalar(query) or after or 0


def _sum(what: Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(what), 0)


def _buckets(value: ColumnElement[Any], edges: Sequence[float]) -> list[ColumnElement[Any]]:
    lower: Sequence[float | None] = (None, *edges)
    upper: Sequence[float | None] = (*edges, None)
    found = []
    for low, high in zip(lower, upper, strict=True):
        inside: ColumnElement[bool] = value.is_not(None)
        if low is not None:
            inside = and_(inside, value > literal(low))
        if high is not None:
            inside = and_(inside, value <= literal(high))
        found.append(_sum(case((inside, 1), else_=0)))
    return found


def _seconds_between(session: Session, start: Any, end: Any) -> ColumnElement[float]:
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.extract("epoch", end - start), Float)
    # A Julian day is a double of 45 microseconds' resolution.
    return (func.julianday(end, type_=Float) - func.julianday(start, type_=Float)) * 86_400.0


def _counted(session: Session, query: Select[*tuple[Any, ...]], *, keys: int) -> list[CountedRow[Key]]:
    return [
        (bool(row[0]), tuple(str(word) for word in row[1 : keys + 1]), tuple(float(one) for one in row[keys + 1 :]))
        for row in session.execute(query)
    ]
