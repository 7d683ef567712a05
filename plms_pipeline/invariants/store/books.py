"""What do the book invariants compare? Rows of the window, as plain values.

What grows with the registry comes in chunks: a weekly proof of ten million rows must not need them in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import func, literal_column, select, text
from sqlalchemy.orm import Session

from plms_pipeline.invariants.report import CAP
from plms_pipeline.invariants.window import Day
from plms_pipeline.measures import MEASURES
from plms_pipeline.registry.tables import (
    EstimateVersion,
    KpiReceipt,
    LaneGate,
    LaneOverride,
    ProjectRun,
    ReceiptDay,
    RunPassport,
    RunTask,
    TaskEstimate,
    TaskReceipt,
)

CHUNK_ROWS: Final = 20_000
PRIOR_COLUMNS: Final = tuple(f"{measure}_{name}" for measure in MEASURES for name in ("mean", "stddev"))
Chunks = Iterator[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class DayFile:
    """What the book says about the file of one day.

    `is_written`: a file was written once; `is_current`: it holds every change of the day.
    """

    day: date
    path: str | None
    file_sha256: str | None
    rows_sha256: str | None
    n_receipts: int | None
    is_current: bool
    is_written: bool


def has_rows(session: Session) -> bool:
    """Whether anything was ever booked; an empty registry proves nothing."""
    books = (ProjectRun, TaskReceipt, EstimateVersion, KpiReceipt, TaskEstimate, LaneOverride)
    return any(session.scalar(select(literal_column("1")).select_from(book).limit(1)) for book in books)


def in_chunks(session: Session, query: Any) -> Chunks:
    """The rows of a query, `CHUNK_ROWS` at a time."""
    yield from session.execute(query.execution_options(yield_per=CHUNK_ROWS)).partitions(CHUNK_ROWS)


def formulas(session: Session, *, above: int) -> Chunks:
    """(id, lane or None, formula text) of planned tasks with a formula of their own."""
    query = select(TaskEstimate.id, TaskEstimate.tmd_lane, TaskEstimate.kpi_formula)
    query = query.where(TaskEstimate.id > above, TaskEstimate.kpi_formula.is_not(None))
    return in_chunks(session, query.order_by(TaskEstimate.id))


def active_gates(session: Session) -> Sequence[Any]:
    """(lane, KPI, operator, threshold) of every gate in force."""
    query = select(LaneGate.lane_id, LaneGate.kpi_name, LaneGate.operator, LaneGate.threshold)
    return session.execute(query.where(LaneGate.active).order_by(LaneGate.lane_id, LaneGate.kpi_name)).all()


def verdicts(session: Session, *, above: int) -> Chunks:
    """(id, evaluation, KPI, value or None, threshold text or None, pass) of KPI receipts."""
    query: Any = select(
        KpiReceipt.id, KpiReceipt.evaluation_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value,
        literal_column("kpi_threshold"), KpiReceipt.pass_,
    )  # fmt: skip
    return in_chunks(session, query.where(KpiReceipt.id > above).order_by(KpiReceipt.id))


def failed_gates_of_passed_runs(session: Session) -> Sequence[Any]:
    """(run, task, KPI, value) where the newest measurement of a blocking gate failed and our run passed all the same.

    A gate that failed first and held when it was measured again does not count: the newest measurement decides.
    """
    newest = func.row_number().over(
        partition_by=(KpiReceipt.run_id, KpiReceipt.task_id, KpiReceipt.kpi_name),
        order_by=(KpiReceipt.measured_at.desc(), KpiReceipt.id.desc()),
    )
    suspects = select(KpiReceipt.run_id).where(~KpiReceipt.pass_, KpiReceipt.blocks, KpiReceipt.run_id.is_not(None))
    ranked = select(KpiReceipt, newest.label("place")).where(KpiReceipt.run_id.in_(suspects)).subquery()
    query = select(ranked.c.run_id, ranked.c.task_id, ranked.c.kpi_name, ranked.c.kpi_value)
    query = query.join(ProjectRun, ProjectRun.run_id == ranked.c.run_id)
    query = query.where(
        ranked.c.place == 1, ~ranked.c["pass"], ranked.c.blocks, ProjectRun.validation == "passed",
        ProjectRun.source == "plms",
    )  # fmt: skip
    return session.execute(query.order_by(ranked.c.run_id, ranked.c.kpi_name)).all()


def evaluated_runs(session: Session) -> int:
    """How many runs have KPI receipts."""
    query = select(func.count(KpiReceipt.run_id.distinct()))
    return int(session.scalar(query) or 0)


def passports(session: Session, *, above: int) -> Chunks:
    """(run, SHA-256 in the run, passport text or None, SHA-256 in the passport or None) of runs of ours."""
    query = select(ProjectRun.run_id, ProjectRun.passport_sha256, RunPassport.passport_json, RunPassport.sha256)
    query = query.outerjoin(RunPassport, RunPassport.run_id == ProjectRun.run_id)
    query = query.where(ProjectRun.id > above, (ProjectRun.source == "plms") | RunPassport.run_id.is_not(None))
    return in_chunks(session, query.order_by(ProjectRun.id))


def priors(session: Session, *, above: int) -> Chunks:
    """Priors as rows with their key, JSON text, hash and the sources' columns by name."""
    names = ("id", "lane_id", "provider_name", "basis", "version", "priors_json", "priors_hash", *PRIOR_COLUMNS)
    query: Any = select(*(getattr(EstimateVersion, name) for name in names))
    return in_chunks(session, query.where(EstimateVersion.id > above).order_by(EstimateVersion.id))


def newest_priors(session: Session) -> tuple[datetime | None, dict[tuple[int | None, str, str], str]]:
    """The latest instant that a prior holds for, and (lane, provider, basis) → JSON text of its newest version."""
    newest = (
        select(func.max(EstimateVersion.id).label("id"))
        .where(EstimateVersion.project_id.is_(None))
        .group_by(EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis)
        .subquery()
    )
    rows = session.execute(
        select(
            EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis, EstimateVersion.priors_json,
            EstimateVersion.as_of,
        ).join(newest, newest.c.id == EstimateVersion.id)
    ).all()  # fmt: skip
    return max((row[4] for row in rows), default=None), {(row[0], row[1], row[2]): row[3] for row in rows}


def days(session: Session) -> list[Day]:
    """Every day of the book."""
    query = select(ReceiptDay.day, ReceiptDay.changed_seq, ReceiptDay.n_receipts).order_by(ReceiptDay.day)
    return [Day(day, changed, int(n or 0)) for day, changed, n in session.execute(query)]


def day_files(session: Session, *, chosen: frozenset[date]) -> list[DayFile]:
    """What the book says about the files of the chosen days, in order."""
    query = select(ReceiptDay).where(ReceiptDay.day.between(min(chosen), max(chosen))).order_by(ReceiptDay.day)
    return [
        DayFile(
            row.day, row.path, row.file_sha256, row.rows_sha256, row.n_receipts,
            is_current=row.written_seq == row.changed_seq, is_written=row.written_seq > 0,
        )
        for row in session.scalars(query)
        if row.day in chosen
    ]  # fmt: skip


def day_count(session: Session) -> int:
    """How many days the book knows."""
    return int(session.scalar(select(func.count()).select_from(ReceiptDay)) or 0)


def unknown_days(session: Session) -> list[str]:
    """UTC days of receipts that `receipt_days` does not know. One index seek per day, however many receipts there are."""
    statement = text(
        "WITH RECURSIVE walk(day) AS (SELECT MIN(completed_on) FROM task_receipts UNION ALL "
        "SELECT (SELECT MIN(completed_on) FROM task_receipts WHERE completed_on > walk.day) FROM walk "
        "WHERE walk.day IS NOT NULL) SELECT walk.day FROM walk WHERE walk.day IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM receipt_days d WHERE d.day = walk.day) ORDER BY walk.day"
    )
    return [f"task_receipts completed_on={day}" for day in session.scalars(statement)]


def strays(session: Session, *, above: int) -> tuple[int, list[str]]:
    """Receipts whose project is not their run's, or whose lane is not their task's: the total, and the first by name."""
    total: Any = func.count().over()
    query = select(total, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.project_id, TaskReceipt.lane_id)
    query = query.join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    query = query.outerjoin(RunTask, (RunTask.run_id == TaskReceipt.run_id) & (RunTask.task_id == TaskReceipt.task_id))
    query = query.where(
        TaskReceipt.id > above,
        (ProjectRun.project_id != TaskReceipt.project_id) | (RunTask.lane_id != TaskReceipt.lane_id),
    )
    rows = session.execute(query.order_by(TaskReceipt.id).limit(CAP)).all()
    named = [f"task_receipts run_id={row[1]} task_id={row[2]} project_id={row[3]} lane_id={row[4]}" for row in rows]
    return (int(rows[0][0]) if rows else 0), named
