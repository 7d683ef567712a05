"""Do `plms backup create`, `verify` and `restore` say what they did, to people and to programs?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plms_pipeline.cli import main
from plms_pipeline.monitoring.backup.process import prove_books
from plms_pipeline_tests.monitoring.backup.conftest import Installation


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, sqlite_installation: Installation) -> None:
    for variable in ("PLMS_DATABASE_URL", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    point(monkeypatch, sqlite_installation.settings.data_dir, sqlite_installation.settings.reports_dir)


def point(monkeypatch: pytest.MonkeyPatch, data: Path, reports: Path) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(data))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(reports))


@pytest.mark.live
def test_a_backup_goes_from_the_terminal_to_another_folder_and_back(
    sqlite_installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three commands of the runbook, as somebody types them at night; the last one proves the books in a process."""
    monkeypatch.setenv("PLMS_BACKUP_TO", str(sqlite_installation.backups))
    assert main(["backup", "create", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["files"] > 10
    assert made["left_out"] == ["metr.csv", "swebench.csv"]
    assert main(["backup", "verify", made["backup"]]) == 0
    assert "whole" in capsys.readouterr().out
    point(monkeypatch, sqlite_installation.empty.data_dir, sqlite_installation.empty.reports_dir)
    assert main(["backup", "restore", made["backup"], "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["invariants"]["verdict"] == "hold"
    assert done["invariants"]["checked"] > 40
    assert done["rows"] == made["rows"]
    assert main(["backup", "restore", made["backup"], "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_empty"


def test_a_damaged_backup_exits_with_1_and_names_the_file(
    sqlite_installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cron job that verifies looks at the exit code, the person whom it wakes at the line."""
    assert main(["backup", "create", str(sqlite_installation.backups), "--json"]) == 0
    place = json.loads(capsys.readouterr().out)["backup"]
    (Path(place) / "data" / "KILLSWITCH").write_text("stop for the Drill\n")
    assert main(["backup", "verify", place, "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["problems"][0].startswith("data/KILLSWITCH holds other bytes")
    assert json.loads(said.err)["error"]["code"] == "backup_damaged"
    assert main(["backup", "verify", place]) == 1
    assert "data/KILLSWITCH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["create"], 2, "no_destination"),
        (["create", "memory://bucket/plms"], 2, "bad_place"),
        (["create", "simplecache::memory://x"], 2, "bad_place"),
        (["verify", "/nowhere/at/all"], 2, "no_such_backup"),
        (["restore", "/nowhere/at/all"], 2, "no_such_backup"),
        (["restore", "nosuch://scheme"], 2, "bad_place"),
    ],
)
def test_bad_use_is_told_with_its_remedy(
    arguments: list[str], exit_code: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever restores is in a hurry."""
    assert main(["backup", *arguments, "--json"]) == exit_code
    assert json.loads(capsys.readouterr().err)["error"]["code"] == code


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_is_not_called_an_empty_backup(
    below: str, sqlite_installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever named the archive or the manifest read that it holds nothing, and took the backup for lost."""
    file = sqlite_installation.settings.data_dir / "documents" / "priors.json"
    assert main(["backup", "verify", str(file / below)]) == 2
    assert "it is a file or lies below one, and a backup is a folder" in capsys.readouterr().err


@pytest.mark.live
def test_books_that_cannot_be_asked_are_not_called_proven(sqlite_installation: Installation) -> None:
    """A proof that did not run says nothing, which is not "all is well"."""
    verdict = prove_books(sqlite_installation.empty)
    assert verdict.word == "unknown"
    assert "There is no registry" in verdict.reason
