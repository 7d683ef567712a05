"""Money and risk in Dagster, and in the terminal."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.budget_check import check_budgets
from plms_pipeline.runs.actions.portfolio_views import contradictions, drifts, heatmaps, runways
from plms_pipeline.runs.render.money import drift_markdown, heatmap_markdown, runway_markdown, runway_plot
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch


@pytest.fixture
def busy(sqlite_registry: Registry) -> Registry:
    """Three projects of which something is known."""
    shelf = Shelf(sqlite_registry)
    for number in (41, 42, 43):
        shelf.project(number, tokens=[3300, 2700, 3000])
    return sqlite_registry


@pytest.mark.one_database
def test_all_runways_risks_and_drifts_are_told_and_shown(busy: Registry) -> None:
    """The UI shows what the page shows, the shortest runway first, and nothing that contradicts itself."""
    found = runways(busy, clock=Watch(AT + timedelta(minutes=6)))
    assert [one["project_id"] for one in found] == [41, 42, 43]
    assert contradictions(found) == []
    assert contradictions([{**found[0], "status": "ok"}]) == ["project 41: ok, its numbers say warning"]
    assert "| 42 | warning |" in runway_markdown(found)
    assert runway_plot(found).startswith("![projected finals](data:image/png;base64,")
    assert "4200 Code-API" in heatmap_markdown(heatmaps(busy))
    (drift,) = drifts(busy)
    assert (drift["lane_id"], len(drift["history"]), drift["trend"]) == (4200, 3, "stable")
    assert "7 %" in drift_markdown([drift])


@pytest.mark.one_database
def test_the_terminal_tells_runway_history_and_breaches(
    busy: Registry, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person on call has a terminal before he has a browser."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    check_budgets(busy, clock=Watch(AT + timedelta(minutes=6)), ids=lambda: "x", every_s=60)
    for command in (["runway", "42"], ["history", "42"], ["breaches"]):
        assert main(["budget", *command]) == 0
        assert main(["budget", *command, "--json"]) == 0
        json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["budget", "answer", "42", "go_on", "--reason", "x"]) == 1
    assert "no breach" in capsys.readouterr().err
    assert main(["budget", "runway", "7"]) != 0
    prices = ["prices", "set", "m", "--input", "1", "--output", "2", "--from", "2026-03-01", "--reason", "x"]
    assert main([*prices, "--json"]) == 0
    assert main(["prices", "list"]) == 0
    assert "m: 1 in, 2 out" in capsys.readouterr().out
