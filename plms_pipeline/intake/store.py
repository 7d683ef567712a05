"""Which statements does intake run?

Set-based, on a session that an action opened, never committing. Rows go in sorted by run id: the unique indexes are random in it,
and sorted inserts touch each index page once per batch instead of once per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, cast

from sqlalchemy import CursorResult, case, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.settling import Key, RunFacts, Span
from plms_pipeline.registry.tables import Lane, LaneAlias, Project, ProjectRun, ReceiptDay, RunTask, TaskReceipt

# SQLite takes 32 766 parameters per statement.
CHUNK: Final = 5_000
# 64 MiB of pages per connection while importing: with SQLite's default of 2 MiB a batch spills its own dirty pages.
SQLITE_CACHE_KIB: Final = 65_536
ADVISORY_LOCK: Final = 0x504C4D53


def prepare(session: Session) -> None:
    """Take the place of the only importer until the transaction ends, and room to work in.

    On SQLite BEGIN IMMEDIATE already lets one writer in; on PostgreSQL an advisory lock does, so that what this transaction
    read about known keys stays true until it commits.
    """
    if _dialect(session) == "sqlite":
        session.execute(text(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}"))
    else:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})


def lane_book(session: Session) -> dict[str, int]:
    """Lane number, name and alias, case-folded → lane number; a lane's own name wins over an alias."""
    book = {alias.casefold(): lane for alias, lane in session.execute(select(LaneAlias.alias, LaneAlias.lane_id))}
    for lane_id, name in session.execute(select(Lane.lane_id, Lane.name)):
        book[str(name).casefold()] = lane_id
        book[str(lane_id)] = lane_id
    return book


def known_runs(session: Session, run_ids: Iterable[str]) -> dict[str, RunFacts]:
    """What the registry says about those of the runs that it knows."""
    query = select(
        ProjectRun.run_id, ProjectRun.source, Project.external_key, ProjectRun.run_kind, ProjectRun.validation,
        ProjectRun.write_sandbox,
    ).join(Project, Project.id == ProjectRun.project_id)  # fmt: skip
    found: dict[str, RunFacts] = {}
    for chunk in _chunks(sorted(set(run_ids))):
        for run_id, *facts in session.execute(query.where(ProjectRun.run_id.in_(chunk))):
            found[run_id] = RunFacts(*facts)
    return found


def known_rows(session: Session, run_ids: Iterable[str]) -> dict[Key, str]:
    """Key → row digest of every receipt of the runs."""
    query = select(TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.row_sha256)
    found: dict[Key, str] = {}
    for chunk in _chunks(sorted(set(run_ids))):
        for run_id, task_id, attempt, digest in session.execute(query.where(TaskReceipt.run_id.in_(chunk))):
            found[run_id, task_id, attempt] = digest
    return found


def stored_receipts(session: Session, receipts: Sequence[Receipt]) -> dict[Key, Mapping[str, Any]]:
    """The stored values of the receipts' keys, by column name."""
    table = TaskReceipt.__table__
    found: dict[Key, Mapping[str, Any]] = {}
    for chunk in _chunks(sorted({receipt.run_id for receipt in receipts})):
        for row in session.execute(select(table).where(TaskReceipt.run_id.in_(chunk))).mappings():
            found[row["run_id"], row["task_id"], row["attempt"]] = row
    return found


def upsert_projects(session: Session, source: str, spans: Mapping[str, Span], *, now: datetime, actor: str) -> dict[str, int]:
    """Make the completed projects of imported history, or widen their span; external key → id."""
    if not spans:
        return {}
    statement = _insert(session, Project)
    statement = statement.on_conflict_do_update(
        index_elements=["source", "external_key"], set_=_widened(Project, statement.excluded)
    )
    session.execute(
        statement,
        [
            {
                "name": f"{source}: {key}", "source": source, "external_key": key, "status": "completed",
                "created_at": now, "started_at": span.started_at, "completed_at": span.completed_at, "created_by": actor,
                "description": f"Imported history of {key} from {source}.",
            }
            for key, span in sorted(spans.items())
        ],
    )  # fmt: skip
    ids: dict[str, int] = {}
    for chunk in _chunks(sorted(spans)):
        query = select(Project.external_key, Project.id).where(Project.source == source, Project.external_key.in_(chunk))
        ids.update({str(key): project_id for key, project_id in session.execute(query)})
    return ids


def upsert_runs(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make runs, or widen their span; a known run's status and verdict stay."""
    statement = _insert(session, ProjectRun)
    statement = statement.on_conflict_do_update(index_elements=["run_id"], set_=_widened(ProjectRun, statement.excluded))
    session.execute(statement, sorted(rows, key=lambda row: str(row["run_id"])))


def insert_tasks(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make tasks; known ones stay as they are."""
    statement = _insert(session, RunTask).on_conflict_do_nothing(index_elements=["run_id", "task_id"])
    session.execute(statement, sorted(rows, key=lambda row: (str(row["run_id"]), str(row["task_id"]))))


def insert_receipts(session: Session, rows: Sequence[Mapping[str, Any]]) -> int:
    """Append receipts; returns how many were new (fewer than `rows` when somebody else was faster)."""
    statement = _insert(session, TaskReceipt).on_conflict_do_nothing(index_elements=["run_id", "task_id", "attempt"])
    order = sorted(rows, key=lambda row: (str(row["run_id"]), str(row["task_id"]), int(row["attempt"])))
    return cast("CursorResult[Any]", session.execute(statement, order)).rowcount


def mark_changed(session: Session, days: Iterable[date]) -> None:
    """Add one to the change count of each UTC day, in the transaction that changed it."""
    statement = _insert(session, ReceiptDay)
    statement = statement.on_conflict_do_update(
        index_elements=["day"], set_={"changed_seq": ReceiptDay.changed_seq + 1}
    )
    rows = [{"day": day, "changed_seq": 1} for day in sorted(set(days))]
    if rows:
        session.execute(statement, rows)


def _widened(table: type[Project] | type[ProjectRun], new: Any) -> dict[str, Any]:
    """The later end and the earlier start of the stored and the new span: the same whatever comes first."""
    started = case(
        (table.started_at.is_(None), new.started_at), (new.started_at < table.started_at, new.started_at),
        else_=table.started_at,
    )  # fmt: skip
    completed = case(
        (table.completed_at.is_(None), new.completed_at), (new.completed_at > table.completed_at, new.completed_at),
        else_=table.completed_at,
    )  # fmt: skip
    return {"started_at": started, "completed_at": completed}


def counts(session: Session) -> dict[str, int]:
    """How many rows the books of intake hold."""
    tables = (Project, ProjectRun, RunTask, TaskReceipt, ReceiptDay)
    return {t.__tablename__: int(session.scalar(select(func.count()).select_from(t)) or 0) for t in tables}


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name


def _insert(session: Session, table: type[Any]) -> Any:
    """INSERT that knows ON CONFLICT; the two dialects share the construct but not the class."""
    make = sqlite.insert if _dialect(session) == "sqlite" else postgresql.insert
    return make(table.__table__)


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
