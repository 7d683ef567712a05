"""`plms decide` from a terminal."""

from __future__ import annotations

import json

import pytest

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.decisions.test_actions import decided


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


def test_decisions_are_listed_and_shown(sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """The question after every surprise: who decided that, and why?"""
    decision_id = decided(sqlite_registry, payload={"usd": "2.00"})
    assert main(["decide", "list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["decisions"]
    assert (row["decision_id"], row["decision"], row["reason"]) == (decision_id, "approve", "within plan")
    assert main(["decide", "show", decision_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == row
    assert main(["decide", "show", decision_id]) == 0
    assert 'payload: {"usd": "2.00"}' in capsys.readouterr().out
    assert main(["decide", "list", "--subject", "project:42"]) == 0
    assert "project:42" in capsys.readouterr().out


def test_a_listed_decision_can_be_looked_up(
    sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eighty columns a table cut the id and the reason, and the id is what `plms decide show` wants."""
    monkeypatch.setenv("COLUMNS", "80")
    reason = "within plan, as agreed with the owner on Tuesday, and the forecast has been looked at twice"
    decision_id = decided(sqlite_registry, reason=reason)
    assert main(["decide", "list"]) == 0
    printed = capsys.readouterr().out
    assert decision_id in printed
    assert reason in printed


def test_an_unknown_decision_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback, and not an empty answer that looks like a decision."""
    assert main(["decide", "show", "nowhere"]) == 2
    assert "There is no decision 'nowhere'" in capsys.readouterr().err
