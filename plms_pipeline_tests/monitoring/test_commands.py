"""Do `plms nightly` and `plms report` refuse what is wrong before anything is done, and say what a night is worth?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.test_service import HOLD


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """A command reads its settings from the environment, as a user gives them."""
    for variable in ("PLMS_DATABASE_URL", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


@pytest.fixture
def running(sqlite_registry_url: str) -> Iterator[int]:
    """The number of another process that runs a night."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, sqlite_registry_url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        yield process.pid
        process.kill()


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit code and error of a command with --json."""
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().err.splitlines()[-1])["error"]


@pytest.mark.parametrize("date", ["", "20250805", "0001-01-01", "2999-01-01", "tonight"])
def test_a_date_that_names_no_night_is_refused_before_anything_is_done(
    date: str, settings: Settings, sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--date "$DAY"` with an unset variable ran tonight's night instead of the one that was meant."""
    code, error = told(capsys, "nightly", "--date", date)
    assert (code, error["code"]) == (2, "bad_date")
    assert not settings.reports_dir.exists()


@pytest.mark.parametrize("arguments", [("nightly",), ("report", "list"), ("report", "open")])
def test_reports_that_cannot_lie_where_they_should_are_bad_input_at_once(
    arguments: tuple[str, ...], settings: Settings, sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain file in the place of reports/ was found out in the last step, after three tries, with an exception's name."""
    settings.reports_dir.touch()
    code, error = told(capsys, *arguments)
    assert (code, error["code"]) == (2, "bad_reports_dir")
    assert "PLMS_REPORTS_DIR" in error["detail"]
    assert not (settings.data_dir / "dagster").exists()


def test_the_loser_of_two_starts_is_told_who_runs_and_begins_nothing(
    running: int, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """It left a failed run in the Dagster UI, which somebody then looks into."""
    code, error = told(capsys, "nightly")
    assert (code, error["code"]) == (1, "night_is_running")
    assert f"process {running}" in error["detail"]
    assert not (settings.data_dir / "dagster").exists()


@pytest.mark.live
def test_a_night_over_empty_books_says_so_and_writes_a_page_that_does_too(
    settings: Settings, sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing that a new user tries said "broken" and exited 1."""
    # A process of its own: Dagster sets environment and logging of the one that it runs in.
    command = [sys.executable, "-m", "plms_pipeline.cli", "nightly", "--json"]
    night = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    error = json.loads(night.stderr.splitlines()[-1])["error"]
    assert (night.returncode, error["code"]) == (3, "no_receipts")
    assert json.loads(night.stdout)["verdict"] == "no_data"
    assert "plms import swebench" in error["detail"]
    assert main(["report", "list", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "no_data"
    assert "There is no data yet" in Path(report["page"]).read_text(encoding="utf-8")
    assert main(["doctor", "--json"]) in (0, 1)
    lines = {line["name"]: line for line in json.loads(capsys.readouterr().out)["lines"]}
    assert lines["last night"]["level"] == "warn"
    assert "plms import" in lines["last night"]["remedy"]


def test_help_says_what_the_exit_codes_mean_and_what_a_past_date_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes the cron line reads this first."""
    assert main(["nightly", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for sentence in ("Exit 0", "1: an invariant is broken", "3: no receipt", "4: the database is away", "no version"):
        assert sentence in said
