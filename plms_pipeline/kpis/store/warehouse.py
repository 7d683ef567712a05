"""What does the database that the work was done in hold now?

Asked for a KPI and never written: SQLite is opened read-only, PostgreSQL in read-only transactions with time limits. Table
names come from artifacts; they were validated (`schema.parse_table`), must exist, and are quoted by SQLAlchemy. The
original answered from constants: schema id, name, created_at and 1000 rows, whatever the database held.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, func, inspect, select, table, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.kpis.schema import TableName

STATEMENT_TIMEOUT_S: Final = 60
_SQLITE_STEPS: Final = 1_000_000
_SQLITE_CALLS: Final = 3_000  # three thousand million virtual machine steps, about a minute


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A read-only connection to the measured database.

    Raises:
        BadInput: the URL is none.
        Unavailable: the database is away, or answers too late.
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            yield connection
            connection.rollback()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        raise Unavailable(
            f"the database of PLMS_KPI_DATABASE_URL does not answer ({reason}); check that it runs and may be read.",
            code="kpi_database_unavailable",
        ) from None
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            path = parsed.database or ""
            return create_engine("sqlite://", creator=lambda: _open_sqlite(path), poolclass=NullPool)
        options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT_S}s -c lock_timeout=5s"
        return create_engine(url, connect_args={"options": options, "connect_timeout": 10}, poolclass=NullPool)
    except (ArgumentError, SQLAlchemyError):
        raise BadInput(
            "PLMS_KPI_DATABASE_URL is no database URL; use sqlite:////absolute/path.db or postgresql+psycopg://host/name.",
            code="bad_database_url",
        ) from None


def _open_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5.0)
    connection.execute("PRAGMA query_only = ON")
    calls = 0

    def over() -> bool:
        nonlocal calls
        calls += 1
        return calls > _SQLITE_CALLS

    connection.set_progress_handler(over, _SQLITE_STEPS)
    return connection


def columns(connection: Connection, name: TableName) -> dict[str, str]:
    """The columns of a table or view and their types, as the database spells them.

    Raises:
        NoData: there is no such table.
    """
    _require(connection, name)
    if connection.dialect.name == "sqlite":
        # As declared: SQLAlchemy's inspection turns types that SQLite does not know (DOUBLE PRECISION) into others.
        declared = text("SELECT name, type FROM pragma_table_info(:table, :schema)")
        rows = connection.execute(declared, {"table": name.table, "schema": name.schema or "main"})
        return {str(row[0]): str(row[1]) for row in rows}
    found: list[Any] = list(inspect(connection).get_columns(name.table, schema=name.schema))
    return {str(column["name"]): column["type"].compile(dialect=connection.dialect) for column in found}


def row_count(connection: Connection, name: TableName) -> int:
    """How many rows a table or view holds.

    Raises:
        NoData: there is no such table.
    """
    _require(connection, name)
    return int(connection.scalar(select(func.count()).select_from(table(name.table, schema=name.schema))) or 0)


def _require(connection: Connection, name: TableName) -> None:
    inspector = inspect(connection)
    if name.schema is not None and name.schema not in inspector.get_schema_names():
        raise NoData(f"the database has no schema {name.schema}", code="no_such_table")
    if not inspector.has_table(name.table, schema=name.schema):
        raise NoData(f"the database has no table {name}", code="no_such_table")


def build(script: str, target: str, digest: str) -> None:
    """Fill a new SQLite file from an SQL script; the digest of the script is kept in the file.

    Raises:
        BadInput: the script is not valid SQL.
        Unavailable: the file cannot be made.
    """
    try:
        connection = sqlite3.connect(target)
    except sqlite3.Error as error:
        raise Unavailable(
            f"the warehouse cannot be written to {target} ({error}); check that its folder may be written.",
            code="warehouse_unavailable",
        ) from None
    try:
        connection.executescript(script)
        connection.executescript("CREATE TABLE plms_loaded_from (sha256 TEXT NOT NULL)")
        connection.execute("INSERT INTO plms_loaded_from VALUES (?)", (digest,))
        connection.commit()
    except sqlite3.Error as error:
        raise BadInput(f"the warehouse script cannot be loaded: {error}.", code="bad_warehouse") from None
    finally:
        connection.close()


def loaded_from(path: str) -> str | None:
    """The digest of the script that this SQLite file was built from; None when it is not one of ours."""
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
        try:
            found = connection.execute("SELECT sha256 FROM plms_loaded_from").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None
