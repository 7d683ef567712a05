"""How is the registry opened, read and written?

On SQLite a transaction that starts by reading and then writes fails at once with "database is locked" when another writer
was faster, whatever the busy timeout says. So there are two kinds of session: `reading()` and `writing()`; the second
begins with BEGIN IMMEDIATE and waits its turn. Journal mode WAL, foreign keys on and synchronous FULL are set on every
connection, because each is a property of the connection, not of the file. Who only reads says so (`read_only=True`): then
the database refuses every change, and a SQLite file stays as it is to the byte.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, PlmsError, Unavailable
from plms_pipeline.registry.files import Snapshot, Watched, damaged, snapshot_of
from plms_pipeline.registry.prepared import Asking, AskingSession, Drivers
from plms_pipeline.settings import masked

BUSY_TIMEOUT_S = 30.0
# How often whoever waits for another process's transaction looks again. SQLite itself looks ever more rarely, at last every
# 100 ms: somebody who writes a millisecond at a time then keeps others out for as long as he likes.
LOOK_AGAIN_S = 0.001
# By default a commit that finds 1 000 pages in the log carries them over and waits for the disk twice more: 20 to 40 ms.
_HURRIED_LOG_PAGES = 16_384
# The guides' SQL is PostgreSQL; this is the one construct of it that SQLite cannot parse.
_INTERVAL = re.compile(r"NOW\(\)\s*-\s*INTERVAL\s*'(\d+)\s+(second|minute|hour|day|month|year)s?'", re.IGNORECASE)


_RIGHTS = "check PLMS_DATABASE_URL and that the file and its folder may be read and written"
_SQLITE_REMEDIES = {
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_BUSY: f"another process has been writing for {BUSY_TIMEOUT_S:.0f} s: wait for it, or find and stop it",
    sqlite3.SQLITE_FULL: "free some space and run the same command again: nothing was half-written",
    sqlite3.SQLITE_IOERR: "check the disk: what was committed before is safe",
}
# PostgreSQL's word for a lock that was not given within `lock_timeout`.
_LOCK_NOT_AVAILABLE = "55P03"


class Busy(Exception):
    """Somebody else is writing, and the caller would not wait."""


class Registry:
    """The operational database. Safe to share between threads; a process opens it once."""

    def __init__(self, engine: Engine, *, read_only: bool = False, lies: Snapshot | None = None) -> None:
        self.engine = engine
        self.read_only = read_only
        self._lies = lies
        self._turn = threading.Lock()
        file = sqlite_file(engine.url.render_as_string(hide_password=False))
        self._watched = None if file is None else Watched(file)
        self._drivers = Drivers(engine) if engine.dialect.name == "sqlite" and lies is None else None

    @classmethod
    def open(cls, url: str, *, read_only: bool = False, is_in_a_hurry: bool = False) -> Registry:
        """Open (and for SQLite create the folder of) the database at `url`, without touching its schema.

        Args:
            url: where it lies.
            read_only: for commands that only ask. The database refuses every change; a SQLite file that is not there is
                not made, and one in a folder that may not be written can still be read.
            is_in_a_hurry: somebody waits for each commit, and others write too who do not: SQLite's log is carried over into
                the file by them, and here only when it has grown to 64 MiB. What is committed is durable all the same.

        Raises:
            BadInput: the URL is none that SQLAlchemy understands, a SQLite URL has options, or the folder of the file
                cannot be made.
        """
        parsed = checked_url(url)
        if parsed.get_backend_name() != "sqlite":
            # Who only reads prepares every statement, because a server prepares only one at a time: a second one behind a
            # semicolon is refused.
            prepare = {"prepare_threshold": 0} if read_only else {}
            try:
                # No table has a column of type hstore: nobody needs to be asked for its number at every first connection.
                engine = create_engine(
                    url, pool_size=4, max_overflow=4, pool_pre_ping=True, connect_args=prepare, use_native_hstore=False
                )
            except ArgumentError as error:
                raise _bad_options(masked(url), str(error)) from None
            event.listen(engine, "connect", _prepare_postgresql)
            return cls(engine, read_only=read_only)
        if not read_only:
            return cls(_sqlite_engine(url, parsed.database, _HURRIED_LOG_PAGES if is_in_a_hurry else None))
        file = sqlite_file(url)
        if file is None or str(file) == ":memory:":
            raise BadInput(f"{masked(url)} names no file, so there is nothing to read.", code="bad_database_url")
        lies = snapshot_of(file)
        return cls(_reading_sqlite_engine(url, lies), read_only=True, lies=lies)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    def require_file(self) -> None:
        """SQLite's file must still be there, the same one, and a database.

        Raises:
            Unavailable: it is gone, another one lies in its place, or it was overwritten.
        """
        if self._watched is not None:
            self._watched.look()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading: one consistent snapshot, rolled back at the end whatever happened."""
        self.require_file()
        with _translated(self.engine), Session(self.engine) as session:
            if self.dialect == "postgresql":
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": self.read_only}
                session.connection(execution_options=options)
            try:
                yield session
                if self._lies is not None and self._lies.is_torn:
                    raise Unavailable(
                        f"The registry {self._lies.file} was written while it was read from a folder that may not be "
                        "written; run the same command again.",
                        code="registry_changed",
                    )
            finally:
                # Rows that were read stay readable after the block; a rollback alone would expire them.
                session.expunge_all()
                session.rollback()

    @contextmanager
    def asking(self) -> Iterator[Asking]:
        """One consistent snapshot for questions that were prepared: as `reading`, at a tenth of its price on SQLite."""
        if self._drivers is None:
            with self.reading() as session:
                yield AskingSession(session)
            return
        self.require_file()
        with _translated(self.engine), self._drivers.snapshot() as driver:
            yield driver

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session for one write transaction: committed when the block ends, rolled back when it raises."""
        self.require_file()
        with _translated(self.engine), self._one_writer(), Session(self.engine) as session:
            session.connection(execution_options={"plms_write": True})
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    @contextmanager
    def writing_at_once(self) -> Iterator[Session]:
        """As `writing`, for whoever may not wait, such as an event loop.

        Raises:
            Busy: somebody else writes at this moment, or the database is a server that must be waited for; nothing happened.
        """
        if self.dialect != "sqlite" or not self._turn.acquire(blocking=False):
            raise Busy
        try:
            self.require_file()
            with _translated(self.engine), Session(self.engine) as session:
                try:
                    session.connection(execution_options={"plms_write": True, "plms_at_once": True})
                except OperationalError as error:
                    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                        raise Busy from None
                    raise
                try:
                    yield session
                    session.commit()
                except BaseException:
                    session.rollback()
                    raise
        finally:
            self._turn.release()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """On SQLite the threads of a process take turns here.

        The database admits one writer, and whoever finds it busy sleeps up to 100 ms before looking again: ten threads that
        start runs then wait half a second for a place that was free all the time. Here the next one is woken at once. After
        the busy timeout the database itself decides.
        """
        is_mine = self.dialect == "sqlite" and self._turn.acquire(timeout=BUSY_TIMEOUT_S)
        try:
            yield
        finally:
            if is_mine:
                self._turn.release()

    def close(self) -> None:
        """Close every pooled connection."""
        if self._drivers is not None:
            self._drivers.close()
        self.engine.dispose()


def checked_url(url: str) -> URL:
    """The parts of a database URL.

    Raises:
        BadInput: it is none that SQLAlchemy understands, or a SQLite URL with options.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise BadInput(
            f"{masked(url)} is no database URL; use sqlite:////absolute/path.db or postgresql+psycopg://host/name.",
            code="bad_database_url",
        ) from None
    if parsed.get_backend_name() == "sqlite" and "?" in url:
        # Some of them make another file than the one that is named, others reach the driver as they are.
        raise BadInput(
            f"{masked(url)} has options after the question mark; a sqlite:/// URL takes none: leave them out of "
            "PLMS_DATABASE_URL or --db, and write a question mark in a file name as %3F.",
            code="bad_database_url",
        )
    return parsed


def sqlite_url(file: str) -> str:
    """The URL of a SQLite file: a URL is percent-encoded, a path is not."""
    return URL.create("sqlite", database=file).render_as_string(hide_password=False)


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for any other database, and for what is no URL at all."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Turn "the database is away" into the one error that says so."""
    try:
        yield
    except DBAPIError as error:
        told = outage(engine, error)
        if told is None:
            raise
        raise told from error
    except sqlite3.Error as error:
        # What was asked of the driver itself (`registry.prepared`).
        told = _sqlite_outage(error, masked(engine.url.render_as_string(hide_password=True)), str(error))
        if told is None:
            raise
        raise told from error


def outage(engine: Engine, error: SQLAlchemyError) -> PlmsError | None:
    """The error for people when `error` means that the database is away, full, locked or damaged; else None."""
    if not isinstance(error, DBAPIError):
        return None
    reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    name = masked(engine.url.render_as_string(hide_password=True))
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_outage(error.orig, name, reason)
    if isinstance(error, ProgrammingError) and error.statement is None:
        # Before any statement: the driver did not understand the URL's options.
        return _bad_options(name, reason)
    if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return Unavailable(
            f"The registry {name} is held by another transaction ({reason}): wait for it, or find and end it "
            "(pg_stat_activity, pg_blocking_pids), then do the same again; nothing was half-written.",
            code="registry_unavailable",
        )
    if error.connection_invalidated or isinstance(error, OperationalError):
        return Unavailable(
            f"The registry {name} does not answer ({reason}); check PLMS_DATABASE_URL and that the server runs.",
            code="registry_unavailable",
        )
    return None


def _bad_options(name: str, reason: str) -> PlmsError:
    return BadInput(
        f"The registry {name} cannot be asked for with the options of its URL ({reason}); correct what follows the question "
        "mark in PLMS_DATABASE_URL or --db.",
        code="bad_database_url",
    )


def _sqlite_outage(error: sqlite3.Error, name: str, reason: str) -> PlmsError | None:
    # The primary result code is the lowest byte of the extended one.
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return damaged(name, reason)
    remedy = _SQLITE_REMEDIES.get(primary)
    if remedy is None:
        return None
    return Unavailable(f"The registry {name} cannot be used ({reason}); {remedy}.", code="registry_unavailable")


def _sqlite_engine(url: str, database: str | None, log_pages: int | None) -> Engine:
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
    if log_pages is not None:
        event.listen(engine, "connect", lambda driver, _: driver.execute(f"PRAGMA wal_autocheckpoint = {log_pages}"))
    return _spoken(engine)


def _reading_sqlite_engine(url: str, lies: Snapshot) -> Engine:
    engine = create_engine(url, creator=lies.connector(BUSY_TIMEOUT_S))
    event.listen(engine, "connect", _prepare_any_sqlite)
    return _spoken(engine)


def _spoken(engine: Engine) -> Engine:
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "before_cursor_execute", _speak_sqlite, retval=True)
    return engine


def _prepare_any_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` says which kind it is.
    connection.isolation_level = None
    connection.create_function("NOW", 0, _sqlite_now)
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _prepare_any_sqlite(connection, record)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # A DATE that is compared with NOW() becomes midnight in the session's zone; days of the books are UTC days.
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _sqlite_now() -> str:
    return SystemClock().now().strftime("%Y-%m-%d %H:%M:%S.%f")


def _begin_sqlite(connection: Any) -> None:
    options = connection.get_execution_options()
    if not options.get("plms_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver: sqlite3.Connection = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        if not options.get("plms_at_once", False):
            for _ in range(int(BUSY_TIMEOUT_S / LOOK_AGAIN_S)):
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        break
                    time.sleep(LOOK_AGAIN_S)
                else:
                    return
        # Whatever is to be said about it is said in the words of SQLAlchemy.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")


def _speak_sqlite(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    if "interval" in statement.lower():
        statement = _INTERVAL.sub(r"datetime('now', '-\1 \2')", statement)
    return statement, parameters
