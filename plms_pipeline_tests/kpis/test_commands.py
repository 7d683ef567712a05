"""`plms kpi` as a person or a script uses it: real command line, real exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.kpis.conftest import Builder
from plms_pipeline_tests.kpis.test_readability import EASY, HARD


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("COLUMNS", "200")


def plms(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["kpi", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def receipt(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_good_work_exits_0_and_leaves_a_receipt(capsys: pytest.CaptureFixture[str], artifact: Builder) -> None:
    """The receipt lies in the artifact by default, and does not change its hash."""
    root = artifact("4202-a", {"generated_docs.md": EASY})
    code, out, err = plms(capsys, "evaluate", root)
    assert (code, err) == (0, "")
    assert "verdict: passed" in out
    first = receipt(root / "kpi_receipt.json")
    assert first["verdict"] == "passed"
    assert plms(capsys, "evaluate", root)[0] == 0
    assert receipt(root / "kpi_receipt.json")["artifact_sha256"] == first["artifact_sha256"]


def test_bad_work_exits_1_with_one_line_that_names_the_gate(
    capsys: pytest.CaptureFixture[str], artifact: Builder, tmp_path: Path
) -> None:
    """Scripts look at the exit code, people at the line."""
    output = tmp_path / "out" / "r.json"
    code, out, err = plms(
        capsys, "evaluate", artifact("work", {"generated_docs.md": HARD}), "--lane", "4202", "--output", output
    )
    assert code == 1
    assert "readability" in out
    assert err.count("\n") == 1
    assert err.startswith("error: work does not pass: readability")
    assert receipt(output)["kpis"][0]["pass"] is False


def test_json_is_one_document_and_errors_are_json_too(capsys: pytest.CaptureFixture[str], artifact: Builder) -> None:
    """For programs."""
    code, out, err = plms(capsys, "evaluate", artifact("4202-a", {"generated_docs.md": HARD}), "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == "failed"
    assert json.loads(err)["error"]["code"] == "kpi_failed"


def test_an_ungated_lane_exits_3(capsys: pytest.CaptureFixture[str], artifact: Builder) -> None:
    """0 would say that something was proven: 0 of 0 KPIs passed in the original."""
    code, _, err = plms(capsys, "evaluate", artifact("x", {"a.txt": ""}), "--lane", "6100")
    assert code == 3
    assert "no gates" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "/no/such/folder", "--lane", "4200"], "not a folder"),
        (["evaluate"], ""),
        (["evaluate", ".", "--lane", "nonsense"], "not registered"),
        (["evaluate", ".", "--lane", "4200", "--run-id", "nothing"], "not registered"),
        (["evaluate", ".", "--lane", "4200", "--nonsense"], ""),
        (["gates", "--lane", "9999"], "not registered"),
        (["inbox", "add", "/no/such/folder"], "not a folder"),
        (["warehouse", "load", "/no/such/file.sql"], "cannot be read"),
    ],
)
def test_bad_use_exits_2(
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The original exited 1 for a missing folder, as if the work were bad."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, _, err = plms(capsys, *arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_a_receipt_that_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str], artifact: Builder) -> None:
    """The evaluation is recorded all the same, and its id is named."""
    root = artifact("4202-a", {"generated_docs.md": EASY, "file": "x"})
    code, _, err = plms(capsys, "evaluate", root, "--output", root / "file" / "r.json")
    assert code == 2
    assert "is recorded" in err


def test_gates_are_shown_with_lanes_that_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Who works in an ungated lane should know."""
    code, out, _ = plms(capsys, "gates")
    assert code == 0
    assert "6100 Model-Train" in out
    assert "ungated" in out
    code, out, _ = plms(capsys, "gates", "--lane", "Code-Test", "--json")
    [lane] = json.loads(out)
    assert lane["lane_id"] == 4201
    assert {gate["kpi"]: gate["conditions"] for gate in lane["gates"]} == {
        "linter_pass": {"==": True},
        "test_pass_rate": {">=": 0.95},
    }


def test_the_inbox_takes_folders_and_lists_them(
    capsys: pytest.CaptureFixture[str], artifact: Builder, settings: Settings
) -> None:
    """Twice is once."""
    root = artifact("4202-a", {"generated_docs.md": EASY})
    assert "is empty" in plms(capsys, "inbox", "list")[1]
    assert plms(capsys, "inbox", "add", root)[1] == "4202-a: added\n"
    assert json.loads(plms(capsys, "inbox", "add", root, "--json")[1])["state"] == "unchanged"
    assert json.loads(plms(capsys, "inbox", "list", "--json")[1])["artifacts"] == ["4202-a"]
    assert (settings.artifacts_inbox / "4202-a" / "generated_docs.md").read_text() == EASY


def test_rates_count_what_was_evaluated(capsys: pytest.CaptureFixture[str], artifact: Builder) -> None:
    """Nothing evaluated is exit 3, not an empty success."""
    assert plms(capsys, "rates")[0] == 3
    plms(capsys, "evaluate", artifact("4202-a", {"generated_docs.md": EASY}))
    code, out, _ = plms(capsys, "rates", "--json")
    assert code == 0
    assert [(row["kpi_name"], row["n"], row["pass_rate"]) for row in json.loads(out)] == [("readability", 1, 1.0)]
    assert "readability" in plms(capsys, "rates")[1]


def test_the_shipped_warehouse_loads_once(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    """As `make run` does."""
    assert json.loads(plms(capsys, "warehouse", "load", "--json")[1])["state"] == "loaded"
    assert plms(capsys, "warehouse", "load")[1].endswith("unchanged\n")
    assert (settings.data_dir / "kpi_warehouse.db").exists()


@pytest.mark.parametrize(
    "command", [["evaluate"], ["gates"], ["rates"], ["inbox", "add"], ["inbox", "list"], ["warehouse", "load"]]
)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Nobody should have to guess."""
    code, out, _ = plms(capsys, *command, "--help")
    assert code == 0
    assert "Example: plms kpi" in " ".join(out.split())
