"""How is the registry copied as it stands at one moment, while others write?

SQLite's backup API copies pages inside of one reading transaction: in WAL mode nobody waits for it, and it sees nothing of what
is committed meanwhile. It is asked for all pages at once: in portions it would begin again with each write of another process,
and under load never end. The copy leaves WAL mode, so that it is one file. On PostgreSQL a transaction exports its snapshot,
in which pg_dump then reads: the rows that the manifest counts are those that are dumped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import func, inspect, select, table, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import revision_of


@dataclass(frozen=True, slots=True)
class Counted:
    """A registry at one moment: its schema's revision (None: none of ours) and the number of rows of each table."""

    revision: str | None
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a PostgreSQL registry that pg_dump can read: valid as long as the transaction that made it."""

    name: str
    server_major: int
    counted: Counted


def copy_sqlite(registry: Registry, target: str) -> Counted:
    """Copy a SQLite registry into a new file that is complete by itself.

    Raises:
        Unavailable: the registry is damaged; a backup of it would be worthless.
    """
    pooled = registry.engine.raw_connection()
    try:
        source: Any = pooled.dbapi_connection
        with closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # whoever copies it further syncs it
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        pooled.close()
    if found != ("ok",):
        raise Unavailable(
            f"The registry is damaged ({str(found[0])[:200]}); a backup of it would be worthless. Restore an earlier backup, "
            "or the copy beside it (registry.db.before-<revision>).",
            code="registry_damaged",
        )
    return counted_in_file(target)


def counted_in_file(file: str) -> Counted:
    """Revision and rows of a SQLite file that nobody writes."""
    with closing(sqlite3.connect(f"file:{quote(file)}?mode=ro&immutable=1", uri=True)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith("sqlite_")
        ]
        rows = {name: int(connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]) for name in names}  # noqa: S608 - names of its own tables
        revision = None
        if "alembic_version" in rows:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            revision = str(found[0]) if found else None
    return Counted(revision, rows)


@contextmanager
def postgresql_snapshot(registry: Registry) -> Iterator[Snapshot]:
    """A moment of a PostgreSQL registry, held while the block runs."""
    with registry.reading() as session:
        name = session.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        version = int(session.execute(text("SHOW server_version_num")).scalar_one())
        yield Snapshot(str(name), version // 10_000, _counted(session))


def counted(registry: Registry) -> Counted:
    """Revision and rows of a registry as it stands."""
    with registry.reading() as session:
        return _counted(session)


def server_major(registry: Registry) -> int:
    """The major version of the PostgreSQL server."""
    with registry.reading() as session:
        return int(session.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def tables(registry: Registry) -> list[str]:
    """The tables of a PostgreSQL database, whosever they are."""
    with registry.reading() as session:
        found = session.execute(
            text(
                "SELECT schemaname || '.' || tablename FROM pg_tables "
                "WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema' ORDER BY 1"
            )
        ).scalars()
        return [str(name) for name in found]


def _counted(session: Session) -> Counted:
    connection = session.connection()
    names = sorted(inspect(connection).get_table_names())
    rows = {name: int(session.scalar(select(func.count()).select_from(table(name))) or 0) for name in names}
    try:
        revision = revision_of(connection)
    except OperationalError:
        revision = None
    return Counted(revision, rows)
