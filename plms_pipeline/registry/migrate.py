"""How does the registry's schema move from one version to the next without losing a row?

Each migration runs on its own connection, in one transaction that begins with BEGIN IMMEDIATE and ends with a check of every
foreign key; on SQLite foreign keys are off meanwhile (a batch change rebuilds a table, and with cascades on that was seen to
delete the children) and the file is copied aside first. Whatever fails leaves the old schema.

Alembic is imported by what migrates and compares. Whether a registry is at the newest revision, which every process asks when
it begins, needs the names of the migrations and one row.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from plms_pipeline.errors import BadInput, PlmsError, Unavailable
from plms_pipeline.registry import tables  # noqa: F401 - fills the metadata
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry, checked_url, outage, sqlite_file
from plms_pipeline.registry.files import missing
from plms_pipeline.settings import masked

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
# An advisory lock of PostgreSQL that says "somebody migrates"; any constant does, this one is ours.
ADVISORY_LOCK = 7_166_500_001


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands: its revision, the newest one, and how its schema differs from the models."""

    current: str | None
    head: str
    differences: tuple[str, ...]

    @property
    def is_at_head(self) -> bool:
        """Whether nothing is to be migrated and nothing differs."""
        return self.current == self.head and not self.differences


def upgrade(url: str, revision: str = "head") -> SchemaState:
    """Bring the database at `url` to `revision`.

    Raises:
        BadInput: the revision does not exist, or lies below the current one.
        Unavailable: the database cannot be reached.
        PlmsError: a migration failed; the schema is as before.
    """
    from alembic import command

    _migrate(url, lambda config: command.upgrade(config, revision), f"upgrade to {revision}")
    return check(url)


def downgrade(url: str, revision: str = "-1") -> SchemaState:
    """Bring the database at `url` down to `revision`; tables that the older schema does not know keep their rows aside.

    Raises:
        BadInput: the revision does not exist or lies above the current one.
        Unavailable: the database cannot be reached.
        PlmsError: a migration failed; the schema is as before.
    """
    from alembic import command

    require_made(url)
    _migrate(url, lambda config: command.downgrade(config, revision), f"downgrade to {revision}")
    return check(url)


def check(url: str) -> SchemaState:
    """Compare the database at `url` with the models: revision, tables, columns, indexes, constraints.

    Raises:
        Unavailable: the database cannot be reached, or its file was never made.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    require_made(url)
    with _connection(url, write=False) as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_ours})
        current = context.get_current_revision()
        with warnings.catch_warnings():
            # SQLite cannot reflect indexes over expressions; a test looks for those by name instead.
            warnings.filterwarnings("ignore", message=".*expression-based index")
            differences = tuple(_told(diff) for diff in compare_metadata(context, Base.metadata))
    return SchemaState(current=current, head=head(), differences=differences)


def require_made(url: str) -> None:
    """Refuse to read a SQLite file that is not there: opening it would make an empty one, which then looks like books.

    Raises:
        BadInput: the URL is none.
        Unavailable: the file does not exist.
    """
    checked_url(url)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise missing(file)


def require_ours(registry: Registry) -> None:
    """Refuse a database that somebody named and that never was a registry: to upgrade it would be the wrong remedy.

    Raises:
        BadInput: no revision of ours is in it.
    """
    if _revision_of(registry) is None:
        raise BadInput(
            f"{masked(registry.engine.url.render_as_string())} holds no registry; name one that `plms db upgrade` made.",
            code="no_such_registry",
        )


def require_head(registry: Registry) -> None:
    """Refuse to work on a registry that is not at the newest revision.

    Raises:
        Unavailable: the database is older or newer than this program, empty, or was never made.
    """
    require_made(registry.engine.url.render_as_string(hide_password=False))
    current = _revision_of(registry)
    if not is_head(current):
        raise Unavailable(
            f"The registry {masked(registry.engine.url.render_as_string())} is at revision {current or 'none'}, this program "
            f"needs {head()}; run `plms db upgrade`.",
            code="registry_not_at_head",
        )


def head() -> str:
    """The newest revision that this program knows."""
    return max(_revisions())


def is_head(revision: str | None) -> bool:
    """Whether this is the newest revision that this program knows."""
    return revision == head()


def is_known(revision: str) -> bool:
    """Whether this program knows a revision; what it does not know was made by a newer one."""
    return revision in _revisions()


@cache
def _revisions() -> frozenset[str]:
    """All revisions: v0001_sources.py holds 0001, and each follows the one before it."""
    return frozenset(path.stem[1:5] for path in (MIGRATIONS / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py"))


def revision_of(connection: Connection) -> str | None:
    """The revision that a database is at; None when it never was a registry."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _revision_of(registry: Registry) -> str | None:
    with registry.reading() as session:
        return revision_of(session.connection())


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and (name or "").startswith(("attic_", "sqlite_")))


def _told(diff: object) -> str:
    if isinstance(diff, list):
        return "; ".join(_told(part) for part in diff)
    if isinstance(diff, tuple):
        return " ".join(str(getattr(part, "name", part)) for part in diff if part is not None)
    return str(diff)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _migrate(url: str, run: Callable[[Config], None], what: str) -> None:
    from alembic.util.exc import CommandError

    with _connection(url, write=True) as connection:
        config = _config()
        config.attributes["connection"] = connection
        before = revision_of(connection)
        if connection.dialect.name == "sqlite" and before is not None:
            _copy_aside(connection, before)
        try:
            run(config)
            _check_foreign_keys(connection)
            connection.commit()
        except CommandError as error:
            connection.rollback()
            raise BadInput(
                f"The registry cannot {what}: {error}; `plms db check` shows where it stands.", code="bad_revision"
            ) from error
        except SQLAlchemyError as error:
            connection.rollback()
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise PlmsError(
                f"The {what} of the registry failed ({reason}); the schema is as it was at {before or 'empty'}.",
                code="migration_failed",
                exit_code=1,
            ) from error


@contextmanager
def _connection(url: str, *, write: bool) -> Iterator[Connection]:
    """The migration's own connection: foreign keys off, one transaction, nothing pooled."""
    engine = _engine(url, write=write)
    try:
        try:
            connection = engine.connect()
            connection.begin()
            if write and connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise outage(engine, error) or Unavailable(
                f"The registry {masked(url)} cannot be opened ({reason}); check PLMS_DATABASE_URL and its rights.",
                code="registry_unavailable",
            ) from error
        with closing(connection):
            try:
                yield connection
            except SQLAlchemyError as error:
                told = outage(engine, error)
                if told is None:
                    raise
                raise told from error
    finally:
        engine.dispose()


def _engine(url: str, *, write: bool) -> Engine:
    if not write:
        return Registry.open(url, read_only=True).engine
    registry = Registry.open(url)
    registry.close()
    if registry.dialect != "sqlite":
        return create_engine(url, poolclass=NullPool)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": 30.0})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _copy_aside(connection: Connection, revision: str) -> None:
    """Keep one copy of the SQLite file per revision that was left: `registry.db.before-<revision>`."""
    database = connection.engine.url.database
    if not database or database == ":memory:":
        return
    target = Path(f"{database}.before-{revision}")
    partial = target.with_name(target.name + ".part")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.replace(target)


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    known = set(inspect(connection).get_table_names())
    broken = [row for row in connection.exec_driver_sql("PRAGMA foreign_key_check") if row[0] in known]
    if broken:
        table, rowid, parent, _ = broken[0]
        raise SQLAlchemyError(f"{len(broken)} broken foreign keys, the first in {table} row {rowid} towards {parent}")
