"""`plms import`, as people and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plms_pipeline import cli
from plms_pipeline.intake.canonical import FIELDS
from plms_pipeline.settings import Settings
from plms_pipeline_tests.intake.conftest import SWEBENCH, receipt_rows, swebench_rows, write_csv


@pytest.fixture
def home(settings: Settings, sqlite_registry_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("COLUMNS", "160")
    assert sqlite_registry_url == settings.database_url
    return settings


def broken_file(path: Path) -> Path:
    rows = swebench_rows(5)
    rows[2][4] = "-1"
    return write_csv(path, SWEBENCH, rows)


def test_a_person_gets_a_table_and_the_place_of_the_quarantine(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", "swebench", str(broken_file(tmp_path / "s.csv"))]) == 0
    shown = capsys.readouterr()
    assert "1 × negative" in shown.out
    assert str(home.data_dir / "quarantine" / "swebench-") in shown.out
    assert shown.err == ""


def test_a_program_gets_json(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_csv(tmp_path / "t.csv", SWEBENCH, swebench_rows(2, day="2025-07-22"))
    assert cli.main(["import", "swebench", str(broken_file(tmp_path / "s.csv")), str(other), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rows"], answer["inserted"], answer["quarantined"], answer["conflicts"]) == (14, 13, 1, 0)
    assert [file["file"] for file in answer["files"]] == ["s.csv", "t.csv"]
    assert answer["files"][0]["reasons"] == {"negative": 1}
    assert Path(answer["files"][0]["quarantine"]).is_file()


def test_strict_exits_one_and_the_good_rows_still_land(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(broken_file(tmp_path / "s.csv"))
    assert cli.main(["import", "swebench", path, "--strict", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["inserted"] == 9
    assert cli.main(["import", "swebench", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 9


def test_a_wrong_file_is_one_line_and_exit_two(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    assert cli.main(["import", "metr", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert cli.main(["import", "metr", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_a_table"


def test_a_wrong_file_among_several_stops_all_of_them(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If this fails half of a command line is imported before the typing error in the other half is found."""
    good = str(write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(2)))
    assert cli.main(["import", "swebench", good, str(tmp_path / "missing.csv")]) == 2
    capsys.readouterr()
    assert cli.main(["import", "swebench", good, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inserted"] == 4


def test_a_dry_run_writes_nothing(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(broken_file(tmp_path / "s.csv"))
    for _ in range(2):
        assert cli.main(["import", "swebench", path, "--dry-run", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["dry_run"], answer["inserted"], answer["files"][0]["quarantine"]) == (True, 9, None)
    assert cli.main(["import", "swebench", path, "--dry-run"]) == 0
    assert "Dry run" in capsys.readouterr().out


def test_columns_and_values_can_be_mapped(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns, rows = receipt_rows(3)
    columns = ["id", "team", *columns[2:]]
    path = str(write_csv(tmp_path / "r.csv", columns, rows))
    arguments = ["import", "receipts", path, "--map", "id=run_id", "--set", "lane=Code-Docs", "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["ignored_columns"] == ["team"]
    assert cli.main(["import", "receipts", path]) == 2
    assert "columns run_id, lane are missing" in capsys.readouterr().err


def test_an_unknown_mapping_is_refused(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(1)))
    assert cli.main(["import", "receipts", path, "--mapping", "langfuse"]) == 2
    assert "known: litellm, otel-genai" in capsys.readouterr().err


def test_a_registry_that_was_never_made_says_what_to_do(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    path = str(write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(1)))
    assert cli.main(["import", "swebench", path]) == 4
    assert "plms db upgrade" in capsys.readouterr().err


def test_the_columns_of_a_receipt_file_are_printed(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "columns", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [field.name for field in FIELDS]
    assert cli.main(["import", "columns"]) == 0
    assert "completed_at" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["swebench", "metr", "receipts", "columns"])
def test_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", name, "--help"]) == 0
    assert f"plms import {name}" in capsys.readouterr().out


def test_a_file_name_is_shown_as_it_is(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are markup to the library that prints the table: a file of that name crashed it."""
    path = str(write_csv(tmp_path / "[bold]x[red].csv", SWEBENCH, swebench_rows(1)))
    assert cli.main(["import", "swebench", path]) == 0
    assert "[bold]x[red].csv" in capsys.readouterr().out
