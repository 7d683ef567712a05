"""Which statements does an import run?

Set-based, on a session that an action opened, never committing. Rows go in sorted by run id: the unique indexes are
random in it, and sorted inserts touch each index page once per batch instead of once per row.
"""

from __future__ import annotations

import json
import typing
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, Text, any_, bindparam, case, cast, column, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import TypeEngine

from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.settling import Key, KnownRow, RunFacts, Span
from plms_pipeline.registry.tables import Lane, LaneAlias, Project, ProjectRun, ReceiptDay, RunTask, TaskReceipt

# Each batch dirties most pages of the indexes on random run ids. 128 MiB of page cache holds what one batch dirties at a
# million rows (SQLite's default of 2 MiB would spill it several times), and a checkpoint after 256 MiB of WAL writes a page
# once for several batches instead of once per batch: a third of the time of a million rows.
SQLITE_TUNING: Final = ("PRAGMA cache_size = -131072", "PRAGMA wal_autocheckpoint = 65536")
ADVISORY_LOCK: Final = 0x504C4D53
Row = tuple[Any, ...]


def prepare(session: Session) -> None:
    """Take the place of the only importer until the transaction ends, and room to work in.

    On SQLite BEGIN IMMEDIATE already lets one writer in; on PostgreSQL an advisory lock does, so that what this transaction
    read about known keys stays true until it commits.
    """
    if dialect_of(session) == "sqlite":
        for pragma in SQLITE_TUNING:
            session.execute(text(pragma))
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
    rows = session.execute(query.where(_among(session, ProjectRun.run_id, run_ids)))
    return {row[0]: RunFacts(row[1], row[2] or "", row[3], row[4], row[5]) for row in rows}


def known_rows(session: Session, run_ids: Iterable[str]) -> dict[Key, KnownRow]:
    """Every receipt of the runs, by key."""
    query = select(
        TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskReceipt.row_sha256, TaskReceipt.lane_id
    )
    rows = session.execute(query.where(_among(session, TaskReceipt.run_id, run_ids)))
    return {(row[0], row[1], row[2]): KnownRow(row[3], row[4]) for row in rows}


def stored_receipts(session: Session, receipts: Sequence[Receipt]) -> dict[Key, dict[str, Any]]:
    """The stored values of the receipts' keys, by column name."""
    query = select(TaskReceipt.__table__).where(_among(session, TaskReceipt.run_id, (r.run_id for r in receipts)))
    rows = (dict(row) for row in session.execute(query).mappings())
    return {(row["run_id"], row["task_id"], row["attempt"]): row for row in rows}


def upsert_projects(
    session: Session, source: str, spans: Mapping[str, Span], *, now: datetime, actor: str
) -> dict[str, int]:
    """Make the completed projects of imported history, or widen their span; external key → id."""
    if not spans:
        return {}
    statement = insert_into(session, Project)
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
    query = select(Project.external_key, Project.id)
    query = query.where(Project.source == source, _among(session, Project.external_key, spans))
    return {str(key): project_id for key, project_id in session.execute(query)}


class Bulk:
    """Inserts thousands of rows at once, given as tuples in the order of `columns`.

    SQLAlchemy's own executemany converts every value of every row through its machinery, half of the time of an import,
    and the PostgreSQL driver sends row by row. So on SQLite each column type converts a distinct value once per batch, by
    the same public `bind_processor`, and the driver gets finished rows; on PostgreSQL the batch is one statement over
    one JSON document, which its driver passes on as it is (an array of moments it would write one by one, in Python).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._dialect = session.get_bind().dialect
        self._converted: dict[type[Any], dict[Any, Any]] = defaultdict(dict)

    def upsert_runs(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Make runs, or widen their span; a known run's status and verdict stay."""

        def widen(statement: Any) -> Any:
            wider = _widened(ProjectRun, statement.excluded)
            return statement.on_conflict_do_update(index_elements=["run_id"], set_=wider)

        self._execute(ProjectRun, columns, rows, widen)

    def insert_tasks(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Make tasks; known ones stay as they are."""
        key = ["run_id", "task_id"]
        self._execute(RunTask, columns, rows, lambda new: new.on_conflict_do_nothing(index_elements=key))

    def insert_receipts(self, columns: Sequence[str], rows: Sequence[Row]) -> int:
        """Append receipts; returns how many were new (fewer than `rows` when somebody else was faster)."""
        key = ["run_id", "task_id", "attempt"]
        return self._execute(TaskReceipt, columns, rows, lambda new: new.on_conflict_do_nothing(index_elements=key))

    def _execute(
        self, table: type[Any], columns: Sequence[str], rows: Sequence[Row], finish: Callable[[Any], Any]
    ) -> int:
        """Returns the number of rows that were inserted or updated."""
        cells: dict[str, Sequence[Any]] = dict(zip(columns, zip(*rows, strict=True), strict=True))
        for place in table.__table__.c:
            if place.name not in cells and place.default is not None:
                cells[place.name] = (place.default.arg,) * len(rows)
        statement = insert_into(self._session, table)
        if self._dialect.name == "sqlite":
            return self._by_driver(table, cells, finish(statement))
        return self._by_document(table, cells, statement, finish)

    def _by_document(
        self, table: type[Any], cells: Mapping[str, Sequence[Any]], statement: Any, finish: Callable[[Any], Any]
    ) -> int:
        document = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        columns = [column(name, table.__table__.c[name].type) for name in cells]
        text_of = bindparam(None, json.dumps(document, default=str), Text)
        source = func.json_to_recordset(cast(text_of, postgresql.JSON)).table_valued(*columns)
        filled = statement.from_select(
            list(cells), select(*source.render_derived(with_types=True).c), include_defaults=False
        )
        result = self._session.execute(finish(filled), execution_options={"preserve_rowcount": True})
        return typing.cast("CursorResult[Any]", result).rowcount

    def _by_driver(self, table: type[Any], cells: Mapping[str, Sequence[Any]], statement: Any) -> int:
        compiled = statement.compile(dialect=self._dialect, column_keys=list(cells))
        ready = (self._convert(table.__table__.c[name].type, cells[name]) for name in compiled.positiontup)
        parameters: list[Any] = list(zip(*ready, strict=True))
        return self._session.connection().exec_driver_sql(str(compiled), parameters).rowcount

    def _convert(self, kind: TypeEngine[Any], values: Sequence[Any]) -> Sequence[Any]:
        processor = kind.dialect_impl(self._dialect).bind_processor(self._dialect)
        if processor is None:
            return values
        known = self._converted[type(kind)]
        for value in set(values).difference(known):
            known[value] = processor(value)
        return [known[value] for value in values]


def mark_changed(session: Session, days: Iterable[date]) -> None:
    """Add one to the change count of each UTC day, in the transaction that changed it."""
    statement = insert_into(session, ReceiptDay)
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


def dialect_of(session: Session) -> str:
    """`sqlite` or `postgresql`."""
    return session.get_bind().dialect.name


def insert_into(session: Session, table: type[Any]) -> Any:
    """INSERT that knows ON CONFLICT; the two dialects share the construct but not the class."""
    make = sqlite.insert if dialect_of(session) == "sqlite" else postgresql.insert
    return make(table.__table__)


def _among(session: Session, column: InstrumentedAttribute[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """`column` is one of `values`, as one parameter: a list of ten thousand would be ten thousand parameters to compile."""
    distinct = sorted(set(values))
    if dialect_of(session) == "sqlite":
        listed = func.json_each(bindparam(None, json.dumps(distinct), Text)).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(bindparam(None, distinct, postgresql.ARRAY(Text)))
