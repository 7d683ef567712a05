"""`plms project` and `plms run override` from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.cli import main
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.desk import Desk

PLAN = """\
name: Calculator
provider: m
tasks:
  - {key: api, name: An endpoint}
  - {key: docs, name: Documentation, depends_on: [api]}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_AUTH", "disabled")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.fixture
def plms(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its JSON. Another exit code than 0 gives the error's code."""

    def run(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*words, "--json"]) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        return json.loads(out) if code == 0 else json.loads(err)["error"]["code"]

    return run


def test_a_project_from_its_file_to_its_end(plms: Any, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command once, as a script would call it."""
    made = plms("project", "create", "--from", str(plan), "--owner", "ann", "--budget-usd", "2.50")
    number = str(made["project_id"])
    assert (made["owner"], made["budget_cost_usd_max"]) == ("ann", 2.5)
    assert [task["tmd_lane"] for task in made["tasks"]] == [4200, 4202]
    assert plms("project", "estimate", number)["totals"]["estimated_tokens"] == 6000
    assert plms("project", "submit", number)["status"] == "pending_approval"
    assert plms("project", "reject", number, "--reason", "not yet")["status"] == "planning"
    asked = plms("project", "submit", number, "--reason", "now")
    gates = json.dumps({"4200": {"test_pass_rate": {">=": 0.95}}})
    approved = plms(
        "project", "approve", number, "--reason", "fine", "--budget-usd", "20", "--gates", gates, "--breach-policy", "ask",
        "--evidence", asked["evidence_sha256"],
    )  # fmt: skip
    assert approved["status"] == "approved"
    assert plms("project", "budget", number, "--budget-usd", "30", "--reason", "more")["status"] == "approved"
    assert plms("project", "pause", number, "--reason", "wait")["is_paused"] is True
    assert plms("project", "resume", number)["is_paused"] is False
    task = made["tasks"][0]["id"]
    assert (
        plms("project", "lane-override", str(task), "Data-Ingest", "--reason", "it fetches")["corrected_lane"] == 5101
    )
    assert plms("project", "lane-overrides", number)["lane_overrides"][0]["task_id"] == task
    shown = plms("project", "show", number)
    assert (shown["budget_cost_usd_max"], shown["breach_policy"]) == (30.0, "ask")
    assert plms("project", "accept-ungated", "6100", "--reason", "looked at")["accepted"] is True
    assert plms("project", "accept-ungated", "6100", "--withdraw", "--reason", "again")["accepted"] is False
    assert plms("project", "cancel", number, "--reason", "enough")["status"] == "cancelled"
    assert [one["project_id"] for one in plms("project", "list", "--status", "cancelled")["projects"]] == [int(number)]
    for words in (["show", number], ["list"], ["lane-overrides", number], ["cancel", number, "--reason", "again"]):
        assert main(["project", *words]) == 0
    assert "cancelled" in capsys.readouterr().out


def test_a_bad_file_names_its_lines_and_exits_2(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error, all problems in it."""
    plan.write_text(PLAN.replace("[api]", "[apl]") + "  - {key: x, lane: 1}\n")
    assert main(["project", "create", "--from", str(plan)]) == 2
    told = capsys.readouterr().err
    assert "plan.yaml has 2 problems, nothing was stored: line 6: lane '1' is not registered" in told
    assert "line 5: depends_on names 'apl', which is no task of this project; did you mean api?" in told


def test_a_dry_run_stores_nothing(plms: Any, plan: Path) -> None:
    """To try a file in CI."""
    assert plms("project", "create", "--from", str(plan), "--dry-run") == {
        "name": "Calculator",
        "tasks": 2,
        "dry_run": True,
    }
    assert plms("project", "list")["projects"] == []


def test_a_csv_is_a_project_too(plms: Any, tmp_path: Path) -> None:
    """What a spreadsheet exports; the name comes from the file unless one is given."""
    path = tmp_path / "backlog.csv"
    path.write_text("key,name,lane,depends_on\na,One,4200,\nb,Two,4202,a\n")
    assert plms("project", "create", "--from", str(path), "--provider", "m")["name"] == "backlog"
    made = plms("project", "create", "--from", str(path), "--provider", "m", "--name", "The backlog")
    assert (made["name"], made["tasks"][1]["depends_on"]) == ("The backlog", ["a"])


def test_samples_are_made_once(plms: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The second call says that they are there."""
    first = plms("project", "samples")["projects"]
    assert [(one["project_id"], one["is_new"]) for one in first] == [(1, True), (2, True), (3, True), (42, True)]
    assert not any(one["is_new"] for one in plms("project", "samples")["projects"])
    assert main(["project", "samples"]) == 0
    assert "project 42: Calculator API (was there)" in capsys.readouterr().out
    assert main(["project", "estimate", "1"]) == 0
    assert "a budget of $" in capsys.readouterr().out
    assert main(["project", "show", "1"]) == 0
    assert " (90 %: $" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("project", "show", "7"), 2, "unknown_project"),
        (("project", "approve", "1", "--reason", "x"), 1, "not_submitted"),
        (("project", "approve", "1", "--reason", "x", "--budget-usd", "lots"), 2, "bad_amount"),
        (("project", "approve", "1", "--reason", "x", "--budget-usd", "-1"), 2, "bad_amount"),
        (("project", "approve", "1", "--reason", "x", "--gates", "[]"), 2, "bad_use"),
        (("project", "approve", "1", "--reason", "x", "--breach-policy", "shrug"), 2, "bad_use"),
        (("project", "budget", "1", "--reason", "x"), 2, "missing_budget"),
        (("project", "list", "--status", "happy"), 2, "unknown_status"),
        (("run", "start", str(2**63)), 2, "bad_usage"),
        (("run", "rehearse", str(2**63)), 2, "bad_usage"),
        (("run", "override", "show", "nowhere"), 2, "unknown_run"),
        (("run", "override", "decide", "nowhere", "--reason", "x"), 2, "bad_use"),
    ],
)
def test_a_no_is_an_exit_code_and_a_stable_word(plms: Any, words: tuple[str, ...], exit_code: int, code: str) -> None:
    """Scripts branch on both."""
    plms("project", "samples")
    assert plms(*words, code=exit_code) == code


def test_without_a_second_person_the_terminal_does_not_approve(
    plms: Any, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account of the machine is nobody that anything vouched for."""
    number = str(plms("project", "create", "--from", str(plan), "--budget-usd", "1")["project_id"])
    plms("project", "estimate", number)
    plms("project", "submit", number)
    monkeypatch.setenv("PLMS_AUTH", "jwt")
    assert plms("project", "approve", number, "--reason", "mine", code=1) == "unverified_decider"


def test_an_override_is_asked_for_and_decided(
    plms: Any, sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal shows what the gates measured before and after."""
    desk = Desk(sqlite_registry)
    project_id = desk.approved().id
    desk.run(project_id, "run-1")
    desk.put(project_id, "needs_review")
    asked = plms("run", "override", "request", "run-1", "--reason", "runner down", "--teach")
    assert asked["request"]["payload"] == {"teach": True}
    words = ["run", "override", "decide", "run-1", "--approve", "--reason", "fine", "--dont-teach"]
    done = plms(*words, "--evidence", asked["evidence_sha256"])
    assert (done["effective_verdict"], done["override_teaches"], done["project_status"]) == (
        "passed",
        False,
        "completed",
    )
    assert main(["run", "override", "show", "run-1"]) == 0
    printed = capsys.readouterr().out
    assert "measured failed, effective passed" in printed
    assert "test_pass_rate" in printed


def test_an_empty_budget_is_refused_and_not_taken_for_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--budget-usd "$BUDGET"` with a variable that is not set made a project without any limit."""
    plan = tmp_path / "plan.csv"
    plan.write_text("key,name,lane\na,A,4200\n")
    given = ("project", "create", "--from", str(plan), "--provider", "m", "--dry-run")
    assert main([*given, "--budget-usd", ""]) == 2
    assert "usd is empty" in capsys.readouterr().err
    assert main([*given, "--budget-usd", "0.0000001"]) == 2
    assert "less than a millionth" in capsys.readouterr().err
