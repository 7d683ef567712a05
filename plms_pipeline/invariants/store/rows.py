"""Which rows offend against a row invariant, and how many rows are there?

Each question reads the partial index that holds the offenders. All are asked at once first, because asking costs more than
reading an empty index. SQLite counts in one statement, and what offends is asked again, for names; PostgreSQL plans each
statement before it answers, which takes longer than the answer, so it gets all of them in one message, names and all. With
`trust_index=False` a question reads the table itself: an index may be damaged or missing, and the weekly proof must not
stand on what it proves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from plms_pipeline.invariants.report import CAP, Found
from plms_pipeline.invariants.rules import Invariant
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables import ProofMark
from plms_pipeline.registry.types import Usd
from plms_pipeline.registry.violations import VIOLATIONS, Violation


def ping(session: Session) -> None:
    """Ask the database for nothing, to see whether it answers."""
    session.execute(select(1))


def dialect_of(session: Session) -> str:
    """`sqlite` or `postgresql`."""
    return session.get_bind().dialect.name


def all_at_once(session: Session, invariants: Sequence[Invariant]) -> dict[str, Sequence[Any]]:
    """Row invariant → its offenders as `offenders` reads them, for those whose answer is known after one round trip.

    On SQLite these are the clean ones. Fails when an index is missing.
    """
    if not invariants:
        return {}
    names = [each.name for each in invariants]
    if dialect_of(session) == "sqlite":
        counts = session.execute(text(tally_sql(names))).one()
        return {name: () for name, n in zip(names, counts, strict=True) if n == 0}
    statements = [indexed_sql(VIOLATIONS[each.name], each.shows) for each in invariants]
    return dict(zip(names, _one_message(session, statements), strict=True))


def indexed_sql(violation: Violation, shows: tuple[str, ...]) -> str:
    """What `_statement` asks of PostgreSQL, as text: SQLAlchemy takes longer to write it than PostgreSQL to answer."""
    key = ", ".join(_quoted(column.name) for column in Base.metadata.tables[violation.table].primary_key)
    shown = ", ".join(_quoted(name) for name in shows)
    return (
        f"SELECT count(*) OVER (), {shown} FROM {violation.table} "  # noqa: S608 - our names
        f"WHERE {violation.on('postgresql')} ORDER BY {key} LIMIT {CAP}"
    )


def _one_message(session: Session, statements: Sequence[str]) -> list[Sequence[Any]]:
    """The rows of several statements that PostgreSQL gets in one message, which SQLAlchemy cannot send."""
    connection = session.connection()
    dialect: Any = connection.dialect
    cursor: Any = connection.connection.cursor()
    try:
        # A message of several statements cannot be prepared.
        cursor.execute("; ".join(statements), prepare=False)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
    except dialect.loaded_dbapi.Error as error:
        raise SQLAlchemyError(str(error)) from error
    finally:
        cursor.close()
    return found


def tally_sql(names: Sequence[str]) -> str:
    """One statement for SQLite that counts the offenders of every named row invariant, each in its own index.

    COUNT, not EXISTS: a planner that expects offenders would begin to read the table for the first of them. INDEXED BY, because
    SQLite would rather read all of another index that happens to hold the columns.
    """
    counts = [
        f"(SELECT COUNT(*) FROM {each.table} INDEXED BY {each.index} WHERE {each.on('sqlite')})"  # noqa: S608 - our names
        for each in (VIOLATIONS[name] for name in names)
    ]
    return f"SELECT {', '.join(counts)}"


def offenders(session: Session, invariant: Invariant, *, checked: int, trust_index: bool = True) -> Found:
    """The rows that violate a row invariant: the total, and the first of them by the columns that name them."""
    violation = VIOLATIONS[invariant.name]
    distrusts = not trust_index and dialect_of(session) == "postgresql"
    if distrusts:
        _use_indexes(session, "off")
    try:
        found = session.execute(_statement(session, violation, invariant.shows, trust_index=trust_index)).all()
    except OperationalError:
        if not trust_index or dialect_of(session) != "sqlite":
            raise
        # Its index is gone; the table itself still answers, in its own time.
        found = session.execute(_statement(session, violation, invariant.shows, trust_index=False)).all()
    if distrusts:
        _use_indexes(session, "on")
    return told(invariant, found, checked=checked)


def told(invariant: Invariant, found: Sequence[Any], *, checked: int) -> Found:
    """What was found: each row is the total followed by the columns that name the offender."""
    if not found:
        return Found(checked)
    table = VIOLATIONS[invariant.name].table
    return Found(checked, int(found[0][0]), tuple(named(table, invariant.shows, row[1:]) for row in found))


def _use_indexes(session: Session, switch: str) -> None:
    for method in ("indexscan", "indexonlyscan", "bitmapscan"):
        session.execute(text(f"SET LOCAL enable_{method} = {switch}"))


def _statement(session: Session, violation: Violation, shows: tuple[str, ...], *, trust_index: bool) -> Any:
    table = Base.metadata.tables[violation.table]
    # Raw columns: a moment that is no moment must be shown, not fail to parse. Money is typed, or micro-dollars would be shown.
    types = {name: table.c[name].type for name in shows}
    shown = [literal_column(_quoted(name), types[name] if isinstance(types[name], Usd) else None) for name in shows]
    total: Any = func.count().over().label("total")
    predicate, where = violation.on(dialect_of(session)), table.name
    if trust_index and dialect_of(session) == "sqlite":
        # As in `tally_sql`: SQLite would rather read all of another index that names some of the columns.
        where = f"{table.name} INDEXED BY {violation.index}"
    if not trust_index:
        # The same question in words that no index was built for; on PostgreSQL the planner is told as well.
        predicate = f"({predicate}) IS TRUE"
    statement = select(total, *shown).select_from(text(where)).where(text(predicate))
    return statement.order_by(*(literal_column(_quoted(column.name)) for column in table.primary_key)).limit(CAP)


def _quoted(name: str) -> str:
    return f'"{name}"'


def named(table: str, shows: tuple[str, ...], values: Any) -> str:
    """`project_runs run_id=r-1 run_kind=INVALID`: the row as a person can look it up."""
    return " ".join((table, *(f"{name}={_short(value)}" for name, value in zip(shows, values, strict=True))))


def _short(value: object) -> str:
    shown = " ".join(str(value).split())
    return shown if len(shown) <= 80 else shown[:77] + "…"


def id_column(table: Table) -> Any:
    """The single integer key of a table, or None when it has another key."""
    keys = list(table.primary_key.columns)
    return keys[0] if len(keys) == 1 and keys[0].type.python_type is int else None


def newest_id(session: Session, table: Table) -> int:
    """The largest id of a table; 0 when it is empty or has no integer id."""
    key = id_column(table)
    return 0 if key is None else int(session.scalar(select(func.max(key))) or 0)


def row_count(session: Session, table: Table, *, above: int = 0) -> int:
    """The rows of a table, or those with an id above `above`."""
    statement = select(func.count()).select_from(table)
    key = id_column(table)
    if above and key is not None:
        statement = statement.where(key > above)
    return int(session.scalar(statement) or 0)


def marks(session: Session) -> Mapping[str, tuple[int, int]]:
    """Subject → (mark, rows counted) of the last clean night."""
    rows = session.execute(select(ProofMark.subject, ProofMark.mark, ProofMark.n))
    return {subject: (mark, n) for subject, mark, n in rows}


def put_marks(session: Session, found: Mapping[str, tuple[int, int]], *, at: datetime) -> None:
    """Remember how far a clean night got."""
    insert = sqlite.insert if dialect_of(session) == "sqlite" else postgresql.insert
    statement: Any = insert(ProofMark)
    statement = statement.on_conflict_do_update(
        index_elements=["subject"],
        set_={name: statement.excluded[name] for name in ("mark", "n", "proven_at")},
    )
    rows = [{"subject": subject, "mark": mark, "n": n, "proven_at": at} for subject, (mark, n) in found.items()]
    if rows:
        session.execute(statement, rows)
