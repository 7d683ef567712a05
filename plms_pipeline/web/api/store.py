"""What does the registry say about itself?"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from plms_pipeline.registry.engine import Registry


def table_count(session: Session) -> int:
    """How many tables the database has."""
    return len(inspect(session.connection()).get_table_names())


def version_reader(registry: Registry) -> Callable[[], object | None]:
    """A function that says at which version the books are: equal versions mean that nobody has committed in between.

    On SQLite one connection is kept for it, because PRAGMA data_version counts the commits of all *other* connections, of this
    process and of others; the function may then be called from one thread only. On PostgreSQL it is the snapshot: which
    transactions are visible. None when the database does not say.
    """
    return _sqlite_version(registry) if registry.dialect == "sqlite" else _snapshot(registry)


def _sqlite_version(registry: Registry) -> Callable[[], object | None]:
    connection = registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def read() -> object | None:
        try:
            registry.require_file()
            cursor = connection.connection.cursor()
            # Every row is fetched, or the statement would go on holding its snapshot.
            return int(cursor.execute("PRAGMA data_version").fetchall()[0][0])
        except Exception:  # noqa: BLE001 - the driver's own errors, which only it names; the route will tell what is wrong
            return None

    return read


def _snapshot(registry: Registry) -> Callable[[], object | None]:
    engine = registry.engine.execution_options(isolation_level="AUTOCOMMIT")
    statement = text("SELECT pg_current_snapshot()::text")

    def read() -> object | None:
        try:
            with engine.connect() as connection:
                return str(connection.execute(statement).scalar_one())
        except SQLAlchemyError:
            return None

    return read
