"""How is the registry opened, read and written?

On SQLite a transaction that starts by reading and then writes fails at once with "database is locked" when another writer
was faster, whatever the busy timeout says. So there are two kinds of session: `reading()` and `writing()`; the second
begins with BEGIN IMMEDIATE and waits its turn. Journal mode WAL, foreign keys on and synchronous FULL are set on every
connection, because each is a property of the connection, not of the file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.settings import masked

BUSY_TIMEOUT_S = 30.0
# The guides' SQL is PostgreSQL; this is the one construct of it that SQLite cannot parse.
_INTERVAL = re.compile(r"NOW\(\)\s*-\s*INTERVAL\s*'(\d+)\s+(second|minute|hour|day|month|year)s?'", re.IGNORECASE)


class Registry:
    """The operational database. Safe to share between threads; a process opens it once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> Registry:
        """Open (and for SQLite create the folder of) the database at `url`, without touching its schema.

        Raises:
            BadInput: the URL is none that SQLAlchemy understands, or the folder of the file cannot be made.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise BadInput(
                f"{masked(url)} is no database URL; use sqlite:////absolute/path.db or postgresql+psycopg://host/name.",
                code="bad_database_url",
            ) from None
        if parsed.get_backend_name() == "sqlite":
            return cls(_sqlite_engine(url, parsed.database))
        return cls(create_engine(url, pool_size=4, max_overflow=4, pool_pre_ping=True))

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading: one consistent snapshot, rolled back at the end whatever happened."""
        with _translated(self.engine), Session(self.engine) as session:
            if self.dialect == "postgresql":
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            try:
                yield session
            finally:
                # Rows that were read stay readable after the block; a rollback alone would expire them.
                session.expunge_all()
                session.rollback()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session for one write transaction: committed when the block ends, rolled back when it raises."""
        with _translated(self.engine), Session(self.engine) as session:
            session.connection(execution_options={"plms_write": True})
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Turn "the database is away" into the one error that says so."""
    try:
        yield
    except OperationalError as error:
        if not _is_outage(error):
            raise
        url = engine.url.render_as_string(hide_password=True)
        raise Unavailable(
            f"The registry {masked(url)} does not answer ({str(error.orig).strip().splitlines()[0]}); "
            "check PLMS_DATABASE_URL, that the server runs and that the file and its folder may be read and written.",
            code="registry_unavailable",
        ) from error


def _is_outage(error: DBAPIError) -> bool:
    text = str(error.orig).lower()
    if isinstance(error.orig, sqlite3.Error):
        return any(sign in text for sign in ("unable to open", "locked", "readonly", "disk i/o", "full"))
    return error.connection_invalidated or any(sign in text for sign in ("connection", "could not", "terminat"))


def _sqlite_engine(url: str, database: str | None) -> Engine:
    if database and database != ":memory:":
        try:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"The folder of the registry {database} cannot be made ({error.strerror}); set PLMS_DATA_DIR or "
                "PLMS_DATABASE_URL to a place that may be written.",
                code="bad_database_url",
            ) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "before_cursor_execute", _speak_sqlite, retval=True)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` says which kind it is.
    connection.isolation_level = None
    connection.create_function("NOW", 0, _sqlite_now)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _sqlite_now() -> str:
    return SystemClock().now().strftime("%Y-%m-%d %H:%M:%S.%f")


def _begin_sqlite(connection: Any) -> None:
    write = connection.get_execution_options().get("plms_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _speak_sqlite(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    if "INTERVAL" in statement:
        statement = _INTERVAL.sub(r"datetime('now', '-\1 \2')", statement)
    return statement, parameters
