"""Does `plms db query` answer questions and nothing else?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry under test is the configured one; the current directory is a folder of its own."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("PLMS_DATABASE_URL", registry_url)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return elsewhere


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT MAX(cap) AS cap FROM lanes WHERE lane_id = 4200",
        "-- how many at once?\nSELECT cap FROM lanes WHERE lane_id = 4200;",
        "/* one\n lane */ with l AS (SELECT * FROM lanes) SELECT cap FROM l WHERE lane_id = 4200",
        "SELECT cap FROM lanes WHERE lane_id = 4200 AND ':x' <> '12:30:00'",
    ],
)
def test_a_question_is_answered(statement: str, capsys: Captured) -> None:
    """The guides' queries begin with comments, and hold colons that are no parameters."""
    assert main(["db", "query", "--json", statement]) == 0
    assert json.loads(capsys.readouterr().out) == [{"cap": 4}]


def test_a_plan_is_shown(capsys: Captured) -> None:
    """Why a question of the guides is slow."""
    assert main(["db", "query", "--json", "EXPLAIN SELECT cap FROM lanes"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "statement",
    [
        "", "  ", ";", "-- nothing", "COMMIT", "ROLLBACK", "ATTACH 'x.db' AS x", "VACUUM INTO 'x.db'", "PRAGMA query_only = 0",
        "UPDATE lanes SET cap = 99", "DELETE FROM lanes", "WITH x AS (SELECT 1) UPDATE lanes SET cap = 99",
        "SELECT 1; UPDATE lanes SET cap = 99", "SELECT 1; COMMIT; UPDATE lanes SET cap = 99; COMMIT",
        "SELECT E'\\'' ; COMMIT; UPDATE lanes SET cap = 99; COMMIT --'", "SELECT nothing FROM nowhere", "SELECT '", "\x00",
    ],
)  # fmt: skip
def test_whatever_is_no_question_is_refused_and_changes_nothing(
    statement: str, registry: Registry, home: Path, capsys: Captured
) -> None:
    """ATTACH made a file and exited 0; COMMIT ended the transaction that was to be rolled back."""
    assert main(["db", "query", statement]) in {2, 4}
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert list(home.iterdir()) == []
    with registry.reading() as session:
        assert session.execute(text("SELECT cap FROM lanes WHERE lane_id = 4200")).scalar_one() == 4
