"""Which Dagster instance a command uses, from whatever directory it is started."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.files import home as files
from plms_pipeline.instance.files.home import dagster_home, prepare_instance
from plms_pipeline.settings import Settings, load_settings, project_root

TINY = "plms_pipeline_tests.web.tiny_definitions"


def _settings(data_dir: Path) -> Settings:
    return load_settings({"PLMS_DATA_DIR": str(data_dir), "PLMS_REPORTS_DIR": str(data_dir / "reports")})


def test_the_checkouts_own_data_directory_is_the_default_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`DAGSTER_HOME=$PWD dagster …` and `plms …` would otherwise show two histories."""
    assert dagster_home(load_settings({})) == project_root()
    (tmp_path / "dagster.yaml").touch()
    monkeypatch.setattr(files, "project_root", lambda: tmp_path)
    environ: dict[str, str] = {}
    prepared = prepare_instance(_settings(tmp_path / "data"), environ)
    assert prepared.is_default
    assert environ["DAGSTER_HOME"] == str(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == ""
    assert (tmp_path / "data" / "dagster" / "storage").is_dir()


def test_another_data_directory_has_its_own_instance(settings: Settings) -> None:
    """Two data directories that share a history would show each other's runs."""
    environ: dict[str, str] = {}
    prepared = prepare_instance(settings, environ)
    assert prepared.home == settings.data_dir / "dagster"
    assert environ == {"DAGSTER_HOME": str(prepared.home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    config = yaml.safe_load(prepared.config_file.read_text())
    assert Path(config["storage"]["sqlite"]["base_dir"]).is_absolute()
    assert Path(config["storage"]["sqlite"]["base_dir"]).is_dir()


def test_the_file_is_written_only_when_it_differs(settings: Settings) -> None:
    """A rewrite by each command would race with the daemon that reads it, and fail on a read-only mount."""
    config_file = prepare_instance(settings, {}).config_file
    os.utime(config_file, ns=(1, 1))
    prepare_instance(settings, {})
    assert config_file.stat().st_mtime_ns == 1
    config_file.write_text("telemetry: {enabled: true}\n")
    prepare_instance(settings, {})
    assert yaml.safe_load(config_file.read_text())["telemetry"] == {"enabled": False}
    assert [path.name for path in config_file.parent.iterdir() if path.name.startswith(".dagster")] == []


def test_a_data_directory_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    """A traceback would not say which setting to change."""
    (tmp_path / "data").write_text("I am a file")
    with pytest.raises(BadInput, match=r"cannot be written .* PLMS_DATA_DIR"):
        prepare_instance(_settings(tmp_path / "data"), {})


def test_children_are_told_the_paths_that_this_process_settled_on(tmp_path: Path) -> None:
    """A path that is spelled relative would otherwise be another directory to a child that runs elsewhere."""
    settings = _settings(tmp_path / "here")
    environ = {"PLMS_DATA_DIR": "here", "PLMS_REPORTS_DIR": "there", "PLMS_DATABASE_URL": "sqlite:///x.db"}
    prepare_instance(settings, environ)
    assert environ["PLMS_DATA_DIR"] == str(tmp_path / "here")
    assert environ["PLMS_REPORTS_DIR"] == str(tmp_path / "here" / "reports")
    assert environ["PLMS_DATABASE_URL"] == settings.database_url


def _dagster(home: Path, cwd: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PLMS_", "DAGSTER_"))}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", *arguments],
        cwd=cwd,
        env={**clean, "DAGSTER_HOME": str(home), "PYTHONPATH": f":{project_root()}", **(environ or {})},
        capture_output=True,
        check=True,
        timeout=60,
    )


def _count_runs(state_dir: Path) -> int:
    with sqlite3.connect(f"file:{state_dir}/storage/history/runs.db?mode=ro", uri=True) as connection:
        count: int = connection.execute("SELECT count(*) FROM runs WHERE status = 'SUCCESS'").fetchone()[0]
    connection.close()
    return count


@pytest.mark.live
def test_a_default_instance_is_the_same_from_every_directory(tmp_path: Path) -> None:
    """A relative base_dir in `dagster.yaml` was seen to open a second, empty history in the current directory."""
    root = project_root()
    assert root is not None
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    checkout.mkdir()
    elsewhere.mkdir()
    shutil.copy(root / "dagster.yaml", checkout)
    _dagster(checkout, elsewhere, "asset", "materialize", "-m", TINY, "--select", "tiny_receipts")
    assert list(elsewhere.iterdir()) == []
    assert _count_runs(checkout / "data" / "dagster") == 1
    assert {path.name for path in checkout.iterdir()} == {"dagster.yaml", "data"}


@pytest.mark.live
def test_a_bare_dagster_command_follows_the_data_directory_too(tmp_path: Path) -> None:
    """`PLMS_DATA_DIR=x DAGSTER_HOME=$PWD dagster …` would otherwise write the assets of x and the history of another."""
    root = project_root()
    assert root is not None
    settings = _settings(tmp_path / "mine")
    home = prepare_instance(settings, {}).home
    _dagster(
        root, tmp_path, "asset", "materialize", "-m", TINY, "--select", "tiny_receipts",
        environ={"PLMS_DATA_DIR": str(tmp_path / "mine")},
    )  # fmt: skip
    assert _count_runs(home) == 1
