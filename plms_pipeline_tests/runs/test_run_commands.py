"""Can what `plms run` prints be read and copied on a terminal of eighty columns?"""

from __future__ import annotations

import pytest

from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.runs.verdicts import asked
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.test_replay import original
from plms_pipeline_tests.runs.worlds import WORLD, planned_project


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("COLUMNS", "80")


def test_the_id_of_a_run_is_listed_whole(
    sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other command wants the id; one that ends in `…` has to be asked for again with --json."""
    planned_project(sqlite_registry)
    run_id = original(sqlite_registry, SystemClock(), ended=False)
    assert main(["run", "list"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split() == [run_id, "42", "baseline", "QUEUED", "pending", "0/4"]
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["run", "list"]) == 0
    assert "4 QUEUED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("list", "--status", "DONE"), "'DONE' is no state of a run; known are QUEUED, RUNNING, SUCCESS"),
     (("list", "--after", "nobody"), "after='nobody' is no run"),
     (("start", "42", "--kind", "base"), "'base' is no kind of run; use baseline,"),
     (("show", "nobody"), "`plms run list` and GET /api/runs show those that exist")],
)  # fmt: skip
def test_a_word_that_is_none_is_told_with_those_that_are(
    sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    """An empty list for a misspelt state reads as "there is none"; `invalid run_kind` says neither what nor which."""
    planned_project(sqlite_registry)
    assert main(["run", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_what_needed_an_executor_that_is_away_exits_4(
    sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that tries again when the executor is back took "not ended" and "nobody was heard" for a no."""

    def nobody(_settings: Settings) -> PasClient:
        return PasClient("http://127.0.0.1:9", sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0)

    monkeypatch.setattr("plms_pipeline.runs.service.opening.pas_client", nobody)
    planned_project(sqlite_registry)
    assert main(["run", "start", "42"]) == 4
    assert "the executor was never heard" in capsys.readouterr().err
    monkeypatch.setattr(Worlds, "gathered", lambda _: WORLD)
    assert main(["run", "start", "42"]) == 0  # Kept, and handed over when it is back.
    assert main(["run", "start", "42", "--wait", "--wait-s", "0"]) == 4
    told = capsys.readouterr()
    assert "still going" in told.out
    assert "plms run dispatch" in told.err


def test_the_tasks_of_a_project_are_not_cut(sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """A lane or a figure that is cut in the plan that somebody approves is a decision about something else."""
    planned_project(sqlite_registry)
    assert main(["project", "show", "42"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "Code-API" in printed


@pytest.mark.parametrize(
    ("threshold", "told"),
    [({">=": 0.9}, ">= 0.9"), ({">=": 0.1, "<=": 0.9}, ">= 0.1 and <= 0.9"), ({}, "{}"), ("odd", "odd")],
)
def test_a_gate_is_told_as_people_write_it(threshold: object, told: str) -> None:
    """`asked {'<=': 0.05}` in a report for a project owner is our inside."""
    assert asked(threshold) == told
