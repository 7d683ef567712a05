"""Does `plms db query` answer questions and nothing else?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
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


def test_cells_are_shown_as_they_are(capsys: Captured) -> None:
    """Data is no markup: `[/nope]` was a traceback, `:x:` a cross."""
    assert main(["db", "query", "SELECT '[/nope]' AS \"[b]\", 'a:x:b' AS y"]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("[/nope]", "[b]", "a:x:b"))


def test_a_column_that_json_would_swallow_is_refused(capsys: Captured) -> None:
    """Of two columns with one name an object holds the last."""
    assert main(["db", "query", "--json", "SELECT 1 AS a, 2 AS a"]) == 2
    assert "'a'" in capsys.readouterr().err


def test_a_question_that_deletes_is_bad_use(registry: Registry, capsys: Captured) -> None:
    """SQLite says only that the file may not be written, which sent people to look at rights."""
    if registry.dialect == "sqlite":
        statement = "WITH x AS (SELECT 1) DELETE FROM lanes"
    else:
        statement = "WITH x AS (DELETE FROM lanes RETURNING 1) SELECT * FROM x"
    assert main(["db", "query", statement]) == 2
    assert "read" in capsys.readouterr().err


@pytest.mark.live
def test_a_long_question_can_be_interrupted(sqlite_registry_url: str, tmp_path: Path) -> None:
    """Ctrl-C on a query without an end was heard when the query had ended."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); "
        f"from plms_pipeline.cli import main; code = main(['db', 'query', {endless!r}]); "
        "signal.signal(signal.SIGINT, signal.SIG_IGN); sys.exit(code)"
    )
    environ = {**os.environ, "PLMS_DATABASE_URL": sqlite_registry_url, "PLMS_DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # What comes before `main` has set its handler is ignored, so the signal is sent until it is heard.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
    assert process.returncode == 130
