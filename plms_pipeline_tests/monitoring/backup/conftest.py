"""An installation with real receipts, priors, files and secrets to back up, on both databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from plms_pipeline.access.files import make_keys
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.clones import Clones, postgres_url
from plms_pipeline_tests.invariants import healthy

SECRETS = {
    "PLMS_PAS_TOKEN": "s3cret-opensesame-executor-token",
    "PLMS_PAS_WEBHOOK_SECRET": "s3cret-opensesame-webhook-secret",
    "PLMS_NEO4J_PASSWORD": "s3cret-opensesame-graph-password",
    "PLMS_KPI_DATABASE_URL": "postgresql://u:s3cret-opensesame-kpi-password@nowhere/db",
    "REDIS_URL": "redis://:s3cret-opensesame-redis-password@nowhere:6379/0",
}


@dataclass(frozen=True)
class Installation:
    """Settings of a filled installation, where to put backups, and settings of an empty one of the same kind."""

    settings: Settings
    backups: Path
    empty: Settings


def settings_of(folder: Path, **more: str) -> Settings:
    """Settings below a folder, with every secret set."""
    ours = {"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")}
    return load_settings({**SECRETS, **ours, **more})


def fill(settings: Settings) -> None:
    """What an installation holds beside its registry."""
    files = {
        "documents/priors.json": '{"n": 3}\n',
        "documents/calibration_backtest.newest.json": '{"baseline": 1}\n',
        "evidence/spool/p1.jsonl": '{"obligation": 1}\n',
        "quarantine/swebench-0123456789ab.csv": "row,reason\n1,negative\n",
        "artifacts/r1/passport.json": "{}\n",
        "runs/r1/outputs/t1/1/answer.py": "print(42)\n",
        "runs/r1/outputs/t1/1/ünïcode name [1]*.txt": "x\n",
        "runs/r2/staging/t1/1/half.txt": "half\n",
        "runs/r2/staging/t1/1/empty.txt": "",
        "KILLSWITCH": "stop for the drill\n",
        "secrets/pas_webhook": SECRETS["PLMS_PAS_WEBHOOK_SECRET"],
        "dagster/storage/runs.db": "Dagster's\n",
        "pas/pas.db": "the executor's\n",
        "documents/.priors.json.77.part": "half-writ",
    }
    for name, text in files.items():
        path = settings.data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    make_keys(settings.data_dir, alg="HS256", now=healthy.NOW, rotate=False)
    report = settings.reports_dir / "nightly" / "2026-03-01" / "index.html"
    report.parent.mkdir(parents=True)
    report.write_text("<html>", encoding="utf-8")
    (settings.data_dir / "runs" / "r1" / "outputs" / "link").symlink_to("/etc/hostname")


@pytest.fixture(scope="session")
def filled_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filled installation, to copy from: to fill one takes a quarter of a second."""
    folder = tmp_path_factory.mktemp("installation")
    settings = settings_of(folder)
    settings.data_dir.mkdir(parents=True)
    shutil.copyfile(migrated_sqlite, settings.data_dir / "registry.db")
    registry = Registry.open(settings.database_url)
    healthy.fill(registry, settings)
    registry.close()
    fill(settings)
    return folder


@pytest.fixture
def sqlite_installation(tmp_path: Path, filled_sqlite: Path) -> Installation:
    shutil.copytree(filled_sqlite, tmp_path / "one", symlinks=True)
    return Installation(settings_of(tmp_path / "one"), tmp_path / "backups", settings_of(tmp_path / "two"))


@pytest.fixture
def postgres_installation(
    tmp_path: Path, postgres_server: Any, postgres_clones: Clones, empty_postgres_url: str
) -> Iterator[Installation]:
    name = postgres_clones.take()
    more = {"PLMS_PG_BIN_DIR": str(postgres_server.bin_path)}
    settings = settings_of(tmp_path / "one", PLMS_DATABASE_URL=postgres_url(postgres_server, name), **more)
    registry = Registry.open(settings.database_url)
    healthy.fill(registry, settings)
    registry.close()
    fill(settings)
    empty = settings_of(tmp_path / "two", PLMS_DATABASE_URL=empty_postgres_url, **more)
    yield Installation(settings, tmp_path / "backups", empty)
    postgres_clones.give_back(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest) -> Installation:
    """A filled installation, once on each database."""
    name = "sqlite_installation" if request.param == "sqlite" else "postgres_installation"
    found: Installation = request.getfixturevalue(name)
    return found


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of an empty object store."""
    store = fsspec.filesystem("memory")
    yield "memory://bucket/plms"
    if store.exists("/bucket"):
        store.rm("/bucket", recursive=True)
