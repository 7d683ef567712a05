"""The sample database comes to be whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.actions.warehouse import load_warehouse
from plms_pipeline.settings import load_settings

SCRIPT = "CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2);"


def script(tmp_path: Path, text: str | bytes = SCRIPT) -> Path:
    path = tmp_path / "w.sql"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    connection.close()
    return int(found)


def test_loading_again_changes_nothing_and_a_new_script_replaces(tmp_path: Path) -> None:
    """`make run` loads it every time."""
    target = tmp_path / "data" / "kpi_warehouse.db"
    assert load_warehouse(script(tmp_path), target).state == "loaded"
    before = target.stat()
    assert load_warehouse(script(tmp_path), target).state == "unchanged"
    assert target.stat().st_ino == before.st_ino
    assert load_warehouse(script(tmp_path, SCRIPT + "INSERT INTO t VALUES (3);"), target).state == "loaded"
    assert rows(target) == 3
    assert [path.name for path in target.parent.iterdir()] == ["kpi_warehouse.db"]


def test_a_database_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    """It may hold real work."""
    target = tmp_path / "kpi_warehouse.db"
    connection = sqlite3.connect(target)
    connection.executescript(SCRIPT)
    connection.close()
    with pytest.raises(BadInput) as caught:
        load_warehouse(script(tmp_path, "CREATE TABLE u (x INTEGER);"), target)
    assert caught.value.code == "foreign_warehouse"
    assert rows(target) == 2


@pytest.mark.parametrize("text", ["CREATE TABLE t (x INTEGER); NONSENSE;", b"\xff\xfe\x00", b"\x89PNG\r\n"])
def test_a_broken_script_leaves_the_old_database(tmp_path: Path, text: str | bytes) -> None:
    """Nothing half-written."""
    target = tmp_path / "out" / "kpi_warehouse.db"
    load_warehouse(script(tmp_path), target)
    with pytest.raises(BadInput):
        load_warehouse(script(tmp_path, text), target)
    assert rows(target) == 2
    assert [path.name for path in target.parent.iterdir()] == ["kpi_warehouse.db"]


def test_a_missing_script_is_bad_use(tmp_path: Path) -> None:
    """Exit 2."""
    with pytest.raises(BadInput):
        load_warehouse(tmp_path / "nothing.sql", tmp_path / "x.db")


def test_it_becomes_the_default_of_the_setting(tmp_path: Path) -> None:
    """So that a fresh checkout measures for real without configuration."""
    environ = {"PLMS_DATA_DIR": str(tmp_path), "PLMS_REPORTS_DIR": str(tmp_path / "r")}
    assert load_settings(environ).kpi_database_url is None
    load_warehouse(script(tmp_path), tmp_path / "kpi_warehouse.db")
    assert load_settings(environ).kpi_database_url == f"sqlite:///{tmp_path / 'kpi_warehouse.db'}"
