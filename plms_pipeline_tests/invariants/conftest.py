"""One healthy registry per database and session; every test gets a copy of its own to spoil."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.clones import Clones, execute, postgres_url
from plms_pipeline_tests.invariants import healthy

HEALTHY = "plms_healthy"


@dataclass(frozen=True)
class Books:
    """A registry with the settings under which its day files lie."""

    registry: Registry
    settings: Settings
    url: str


@pytest.fixture(scope="session")
def healthy_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filled SQLite registry and its files."""
    folder = tmp_path_factory.mktemp("healthy")
    settings = healthy.settings_in(folder)
    settings.data_dir.mkdir(parents=True)
    shutil.copyfile(migrated_sqlite, settings.data_dir / "registry.db")
    registry = Registry.open(settings.database_url)
    healthy.fill(registry, settings)
    with registry.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    registry.close()
    return folder


@pytest.fixture(scope="session")
def healthy_postgres(postgres_server: Any, migrated_postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files of a filled PostgreSQL database named `plms_healthy`."""
    folder = tmp_path_factory.mktemp("healthy_pg")
    execute(postgres_server, f"CREATE DATABASE {HEALTHY} TEMPLATE {migrated_postgres}")
    url = postgres_url(postgres_server, HEALTHY)
    registry = Registry.open(url)
    healthy.fill(registry, healthy.settings_in(folder, url))
    registry.close()
    return folder


@pytest.fixture(scope="session")
def healthy_clones(postgres_server: Any, healthy_postgres: Path) -> Clones:
    """Copies of the filled PostgreSQL database."""
    return Clones(postgres_server, HEALTHY)


@pytest.fixture
def sqlite_books(healthy_sqlite: Path, tmp_path: Path) -> Iterator[Books]:
    """A copy of the filled SQLite registry and of its day files: a night in one test must not be seen by the next."""
    folder = tmp_path / "books"
    shutil.copytree(healthy_sqlite, folder)
    settings = healthy.settings_in(folder)
    registry = Registry.open(settings.database_url)
    yield Books(registry, settings, settings.database_url)
    registry.close()


@pytest.fixture
def postgres_books(
    healthy_postgres: Path, healthy_clones: Clones, postgres_server: Any, tmp_path: Path
) -> Iterator[Books]:
    """A clone of the filled PostgreSQL registry and a copy of its day files."""
    name = healthy_clones.take()
    url = postgres_url(postgres_server, name)
    folder = tmp_path / "books"
    shutil.copytree(healthy_postgres, folder)
    registry = Registry.open(url)
    yield Books(registry, healthy.settings_in(folder, url), url)
    registry.close()
    healthy_clones.give_back(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest) -> Books:
    """A filled healthy registry, once on each database."""
    found: Books = request.getfixturevalue("sqlite_books" if request.param == "sqlite" else "postgres_books")
    return found
