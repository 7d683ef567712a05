"""Do `plms doctor` and `plms settings` answer people and machines alike?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plms_pipeline.cli import main
from plms_pipeline.monitoring.doctor.settings_page import settings_markdown
from plms_pipeline.registry import migrate
from plms_pipeline.settings import Settings, load_settings, variable_of


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))
    return load_settings()


def test_an_unfit_installation_exits_1_and_names_the_remedy(
    installation: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cron job that runs `plms doctor` pages on exit 1."""
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "FAIL database" in printed.out
    assert "→ plms db upgrade" in printed.out
    assert "database" in printed.err
    assert main(["doctor", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is False
    assert {"name", "level", "detail", "remedy"} == set(answer["lines"][0])


def test_a_fit_installation_exits_0(
    installation: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are for people: a new installation without a night yet is fit."""
    migrate.upgrade(installation.database_url)
    code = main(["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    failing = [line for line in answer["lines"] if line["level"] == "FAIL" and line["name"] != "lock"]
    assert failing == []
    assert code == 0 or answer["healthy"] is False


def test_settings_are_printed_with_everything_known_about_them(
    installation: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question "Where does this value come from?" is behind most support requests."""
    monkeypatch.setenv("PLMS_NEO4J_PASSWORD", "hunter2")
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    for field in Settings.model_fields:
        assert variable_of(field) in printed
    assert "environment (PLMS_DATA_DIR)" in printed
    assert str(installation.data_dir) in printed
    assert "hunter2" not in printed
    assert main(["settings", "--json"]) == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows["PLMS_ALPHA"]) == {"variable", "value", "source", "unit", "default", "description"}
    assert rows["PLMS_NEO4J_PASSWORD"]["value"] == "********"


def test_the_markdown_is_the_page_in_docs(installation: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """`plms settings --markdown > docs/settings.md` is how the page is renewed, byte for byte."""
    assert main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == settings_markdown()


def test_one_form_at_a_time(installation: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that asks for both would parse the wrong one."""
    assert main(["settings", "--json", "--markdown"]) == 2
    assert "bad_usage" in capsys.readouterr().err
