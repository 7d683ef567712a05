"""Guards and kill switch from a terminal, from the Dagster UI, and at Dagster's own queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance
from sqlalchemy import select

from plms_pipeline import dagster_internals
from plms_pipeline.cli import main
from plms_pipeline.dagster_internals import PlmsInstance
from plms_pipeline.instance.config import instance_yaml
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.defs.guards import reset_guards
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Decision
from plms_pipeline.resources import Plms
from plms_pipeline.runs.defs.killswitch import kill_switch_pulled, killswitch_job
from plms_pipeline.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_PAS_URL", "http://127.0.0.1:9")
    for name in ("CONCURRENCY_LIMIT", "QPS_LIMIT", "DAILY_BUDGET_USD"):
        monkeypatch.delenv(name, raising=False)


def plms(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = main([*arguments, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out.strip() else None, told.err


def test_a_start_passes_the_guards_and_is_settled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guides' launcher asks before each start; its script never settled, and `status` failed when nothing ran."""
    monkeypatch.setenv("QPS_LIMIT", "1000")
    assert plms(capsys, "guard", "status")[1]["concurrency"] == {"taken": 0, "limit": 3}
    code, told, _ = plms(capsys, "guard", "enforce", "--cost", "20")
    assert code == 0
    found = plms(capsys, "guard", "status")[1]
    assert (found["concurrency"]["taken"], found["budget"]["reserved_usd"]) == (1, "20")
    assert plms(capsys, "guard", "done", told["lease"], "--cost", "0.5")[0] == 0
    found = plms(capsys, "guard", "status")[1]
    assert (found["concurrency"]["taken"], found["budget"]["settled_usd"]) == (0, "0.5")
    assert plms(capsys, "guard", "done", told["lease"])[0] == 2
    lease = plms(capsys, "guard", "enforce", "--cost", "1")[1]["lease"]
    plms(capsys, "guard", "reset", "--reason", "stuck")
    assert main(["guard", "done", lease, "--cost", "2"]) == 0
    told_late = capsys.readouterr().out
    assert "ended before (reset by " in told_late
    assert "2 USD more are charged" in told_late
    assert plms(capsys, "guard", "status")[1]["budget"]["settled_usd"] == "2.5"


def test_the_help_says_whose_process_holds_a_lease(capsys: pytest.CaptureFixture[str]) -> None:
    """A lease taken behind a pipe was gone at the next call, and nothing said why."""
    assert main(["guard", "enforce", "--help"]) == 0
    said = capsys.readouterr().out
    assert "subshell" in said
    assert "--owner $$" in said


@pytest.mark.parametrize(
    ("variable", "value", "cost", "code"),
    [
        ("DAILY_BUDGET_USD", "50.00", "1000", "budget_exceeded"),
        ("CONCURRENCY_LIMIT", "0", "1", "concurrency_limited"),
    ],
)
def test_a_refusal_has_the_guides_word_and_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, cost: str, code: str
) -> None:
    """Scripts branch on the word and on the exit code."""
    monkeypatch.setenv(variable, value)
    exit_code, _, error = plms(capsys, "guard", "enforce", "--cost", cost)
    assert (exit_code, json.loads(error)["error"]["code"]) == (1, code)


def test_the_documented_rate_of_two_per_second_is_honoured(capsys: pytest.CaptureFixture[str]) -> None:
    """QPS_LIMIT=2.0 made the sources' guard pass for ever."""
    codes = [main(["guard", "enforce"]) for _ in range(6)]
    capsys.readouterr()
    assert codes.count(0) < 6
    assert codes[0] == 0


@pytest.mark.parametrize("cost", ["-1", "many", "NaN"])
def test_a_cost_that_is_none_is_bad_use(capsys: pytest.CaptureFixture[str], cost: str) -> None:
    """A negative cost would refill the day."""
    assert plms(capsys, "guard", "enforce", f"--cost={cost}")[0] == 2


def test_the_place_of_a_caller_that_died_is_free(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources' counter was lowered by nobody: three crashes, and nothing started any more."""
    monkeypatch.setenv("CONCURRENCY_LIMIT", "1")
    monkeypatch.setenv("QPS_LIMIT", "1000")
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert plms(capsys, "guard", "enforce", "--owner", str(owner.pid))[0] == 0
        assert plms(capsys, "guard", "enforce", "--owner", str(os.getpid()))[0] == 1
    finally:
        owner.kill()
        owner.wait()
        assert owner.stdin is not None
        owner.stdin.close()
    assert plms(capsys, "guard", "enforce", "--owner", str(os.getpid()))[0] == 0
    assert plms(capsys, "guard", "reset", "--reason", "the test is over")[1]["places"] == 1


def test_the_switch_is_turned_on_and_off_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """One command stops everything, and says what it did."""
    assert plms(capsys, "killswitch", "status")[:2] == (
        0, {"on": False, "flag_file": None, "registry": None, "switches": []},
    )  # fmt: skip
    assert plms(capsys, "killswitch", "on", "--reason", "smoke")[1]["changed"]
    code, told, _ = plms(capsys, "killswitch", "status")
    assert (code, told["on"], told["switches"][0]["reason"]) == (1, True, "smoke")
    code, _, error = plms(capsys, "guard", "enforce")
    assert (code, json.loads(error)["error"]["code"]) == (1, "killswitch_on")
    assert not plms(capsys, "killswitch", "on", "--reason", "smoke")[1]["changed"]
    assert plms(capsys, "killswitch", "off", "--reason", "fixed")[1]["changed"]
    assert plms(capsys, "killswitch", "status")[0] == 0
    assert plms(capsys, "killswitch", "resume", "--reason", "fixed")[0] == 0


def test_off_tells_what_stays_stopped_and_how_to_let_it_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever turned everything on again waited for a lane that nobody had told him of."""
    assert main(["killswitch", "on", "--lane", "6101", "--reason", "look"]) == 0
    assert main(["killswitch", "on", "--reason", "fire"]) == 0
    capsys.readouterr()
    assert main(["killswitch", "off", "--lane", "5100", "--reason", "out"]) == 0
    assert "global stays stopped (fire): `plms killswitch off --reason" in capsys.readouterr().out
    told = plms(capsys, "killswitch", "off", "--reason", "out")[1]
    assert [(one["scope"], one["subject"], one["reason"]) for one in told["still_on"]] == [("lane", "6101", "look")]
    assert main(["killswitch", "off", "--reason", "out"]) == 0
    assert "lane 6101 stays stopped (look): `plms killswitch off --lane 6101 --reason" in capsys.readouterr().out
    assert plms(capsys, "killswitch", "off", "--lane", "6101", "--reason", "out")[1]["still_on"] == []


def test_the_switch_of_a_lane_is_not_said_to_stop_the_launcher(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads "kill switch ON" waits for a lane with which the work has nothing to do."""
    assert plms(capsys, "killswitch", "on", "--lane", "6101", "--reason", "look")[0] == 0
    found = plms(capsys, "guard", "status")[1]
    told = [found[name] for name in ("killswitch", "killswitch_reasons", "killswitch_elsewhere")]
    assert told == [False, [], ["lane 6101: look"]]
    assert plms(capsys, "guard", "enforce")[0] == 0
    assert plms(capsys, "killswitch", "on", "--reason", "fire")[0] == 0
    found = plms(capsys, "guard", "status")[1]
    assert (found["killswitch"], found["killswitch_reasons"]) == (True, ["global: fire"])


def test_the_switch_can_be_turned_on_while_the_registry_is_away(
    capsys: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night on which the database is down is the night on which somebody must stop everything."""
    monkeypatch.setenv("PLMS_DATABASE_URL", "postgresql+psycopg://127.0.0.1:9/none")
    code, told, _ = plms(capsys, "killswitch", "on", "--reason", "fire")
    assert (code, told["registry"]) == (0, "registry_unavailable")
    assert files.flag_reason(settings.data_dir) == "fire"
    code, told, _ = plms(capsys, "killswitch", "status")
    assert (code, told["on"], told["flag_file"]) == (1, True, "fire")


def test_off_takes_the_flag_down_too(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    """Whoever says off and is still stopped looks for the reason in the wrong place."""
    files.raise_flag(settings.data_dir, "fire")
    assert plms(capsys, "killswitch", "status")[0] == 1
    assert plms(capsys, "killswitch", "off", "--reason", "out")[1]["flag_lowered"]
    assert plms(capsys, "killswitch", "status")[0] == 0


@pytest.mark.parametrize("arguments", [("--lane", "5100", "--project", "1"), ("--project", "4711"), ("--lane", "9")])
def test_a_scope_that_is_none_is_bad_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """A wrong number would look like a switch that is on."""
    code, _, error = plms(capsys, "killswitch", "on", "--reason", "x", *arguments)
    assert code == 2
    assert len(arguments) > 2 or " list` and GET /api/" in json.loads(error)["error"]["detail"]


def launch(job: dg.JobDefinition, op: str, **config: object) -> dict[str, Any]:
    result = job.execute_in_process(run_config={"ops": {op: {"config": config}}}, resources={"plms": Plms()})
    assert result.success
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    data: Any = event.event_specific_data
    return {name: value.value for name, value in data.metadata.items()}


def test_the_job_that_turns_it_off_runs_while_it_is_on(sqlite_registry: Registry) -> None:
    """A switch that stops the job which turns it off has to be turned off with a database client."""
    assert launch(killswitch_job, "switch", action="on", reason="smoke")["kill_switch"] == "on"
    assert "plms/effect" not in killswitch_job.tags
    assert "plms/effect" not in reset_guards.tags
    assert launch(killswitch_job, "switch", action="off", reason="fixed")["kill_switch"] == "off"
    assert launch(killswitch_job, "switch")["kill_switch"] == "off"
    with sqlite_registry.reading() as session:
        found = session.scalars(select(Decision.decision).where(Decision.kind == "kill_switch")).all()
    assert sorted(found) == ["off", "on"]


def test_the_guards_are_shown_and_reset_in_the_ui(capsys: pytest.CaptureFixture[str]) -> None:
    """Who is on call has the UI, not the machine."""
    assert plms(capsys, "guard", "enforce", "--cost", "5")[0] == 0
    assert launch(reset_guards, "reset_launcher_guards")["reserved_usd"] == 5
    told = launch(reset_guards, "reset_launcher_guards", action="reset", reason="stuck")
    assert (told["places_given_back"], told["reserved_usd"], told["places_taken"]) == (1, 0, 0)


def test_the_sensor_says_what_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """The net behind `plms serve` must work without it."""

    def tick() -> str:
        with dg.build_sensor_context(resources={"plms": Plms()}) as context:
            skip = kill_switch_pulled(context)
        assert isinstance(skip, dg.SkipReason)
        return str(skip.skip_message)

    assert tick() == "No kill switch is on."
    plms(capsys, "killswitch", "on", "--reason", "smoke")
    assert tick().startswith("stops 1")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[PlmsInstance]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(instance_yaml(str(tmp_path / "state")))
    with DagsterInstance.from_config(str(tmp_path / "home")) as opened:
        assert isinstance(opened, PlmsInstance)
        yield opened


def limits(instance: PlmsInstance) -> list[Any]:
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    return [dict(limit) for limit in queue.tag_concurrency_limits]


def test_dagsters_queue_holds_back_what_spends_while_it_is_on(
    instance: PlmsInstance, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    """A run that waits in the queue would start in the middle of the stop; what keeps the books goes on."""
    stop = {"key": "plms/effect", "value": "spend", "limit": 0}
    usual = limits(instance)
    assert stop not in usual
    plms(capsys, "killswitch", "on", "--reason", "smoke")
    assert limits(instance) == [*usual, stop]
    plms(capsys, "killswitch", "off", "--reason", "fixed")
    assert limits(instance) == usual
    files.raise_flag(settings.data_dir, "fire")
    assert stop in limits(instance)


def test_a_queue_that_cannot_ask_holds_back_what_spends(
    instance: PlmsInstance, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """An outage of the registry must not turn the switch off, nor end the daemon."""
    (settings.data_dir / "registry.db").rename(settings.data_dir / "away.db")
    assert {"key": "plms/effect", "value": "spend", "limit": 0} in limits(instance)
    monkeypatch.setenv("PLMS_NO_SUCH_SETTING", "1")
    assert {"key": "plms/effect", "value": "spend", "limit": 0} in limits(instance)


def test_a_limit_of_zero_blocks_runs_with_the_tag_only() -> None:
    """What we assume of Dagster: a limit of 0 lets nothing with this key and value leave the queue, and all others."""
    from dagster import DagsterRun
    from dagster._utils.tags import TagConcurrencyLimitsCounter

    limit = {"key": dagster_internals.EFFECT_TAG, "value": dagster_internals.SPENDS, "limit": 0}
    counter = TagConcurrencyLimitsCounter([limit], [])
    assert counter.is_blocked(DagsterRun(job_name="j", tags={"plms/effect": "spend"}))
    assert not counter.is_blocked(DagsterRun(job_name="j", tags={"plms/effect": "books"}))
    assert not counter.is_blocked(DagsterRun(job_name="j"))
