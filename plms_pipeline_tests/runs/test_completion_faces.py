"""Does what ended become visible in Dagster and from a terminal, and does nothing due launch nothing?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.definitions import defs
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import InboxEvent, ProjectRun
from plms_pipeline.resources import Plms
from plms_pipeline.runs.defs.completions import JOB, SETTLED, lost_completions, pas_completion, settle_completions
from plms_pipeline.runs.defs.sessions import session_reports, sweep_run_folders
from plms_pipeline.runs.process import is_dead
from plms_pipeline.settings import Settings
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.worked import Planned, Worked, ended, rows

PROSE = "The cat sat on the mat. " * 40


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=1e6) as pas:
        yield pas


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, executor: ReferencePas) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_PAS_URL", executor.url)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def worked(sqlite_registry: Registry, settings: Settings) -> Worked:
    return Worked(sqlite_registry, settings, SystemClock())


def told(worked: Worked, run_id: str, task_id: str, **more: Any) -> None:
    worked.tell(ended(run_id, task_id, at=worked.clock.now(), **more))


def sensed(sensor: Any, instance: dg.DagsterInstance) -> Any:
    with dg.build_sensor_context(instance=instance, resources={"plms": Plms()}) as context:
        return sensor(context)


# --- Dagster


def test_a_sensor_that_finds_nothing_launches_nothing(worked: Worked) -> None:
    """Two thousand ticks a day must not be two thousand runs."""
    with dg.DagsterInstance.ephemeral() as instance:
        found = sensed(pas_completion, instance)
    assert isinstance(found, dg.SkipReason)


def test_what_needs_no_measuring_is_settled_in_the_tick_and_shown(worked: Worked) -> None:
    """A Dagster run takes seconds to start; most completions take milliseconds."""
    run_id = worked.run([Planned("a")])
    told(worked, run_id, "a")
    with dg.DagsterInstance.ephemeral() as instance:
        found = sensed(pas_completion, instance)
    assert found.run_requests == []
    [event] = found.asset_events
    assert event.asset_key == SETTLED
    assert event.metadata["receipts"].value == 1
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]


def test_what_must_be_measured_is_left_to_one_job_without_a_run_key(worked: Worked) -> None:
    """A test suite may take minutes, a tick has seconds; and a run_key would let the job through once for ever."""
    run_id = worked.run([Planned("a", lane_id=4202), Planned("b")])
    worked.stage(run_id, "a", {"generated_docs.md": PROSE})
    told(worked, run_id, "a")
    told(worked, run_id, "b")
    with dg.DagsterInstance.ephemeral() as instance:
        first = sensed(pas_completion, instance)
        [request] = first.run_requests
        assert request.run_key is None
        instance.create_run_for_job(settle_completions, status=dg.DagsterRunStatus.STARTED)
        second = sensed(pas_completion, instance)
    assert second.run_requests == []
    assert rows(worked.registry, ProjectRun, "status") == [("RUNNING",)]


def test_the_job_drains_the_inbox_and_says_what_it_did(worked: Worked) -> None:
    """Whoever launches it by hand must see what came of it."""
    run_id = worked.run([Planned("a", lane_id=4202)])
    worked.stage(run_id, "a", {"generated_docs.md": PROSE})
    told(worked, run_id, "a")
    config = {"ops": {"settle_what_ended": {"config": {"idle_s": 0.0, "longest_s": 60.0}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def(JOB).execute_in_process(instance=instance, run_config=config)
    [made] = [event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    metadata = made.step_materialization_data.materialization.metadata
    assert (metadata["settled"].value, metadata["ended_runs"].value) == (1, 1)
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "passed")]
    assert (worked.settings.reports_dir / "sessions" / run_id / "session_report.md").is_file()
    assert int(defs.resolve_job_def(JOB).tags["dagster/max_runtime"]) >= 300


def test_a_run_that_the_executor_never_knew_is_found_by_the_sensor(worked: Worked) -> None:
    """Asked of a real executor: it answers that it does not know the run."""
    run_id = worked.run([Planned("a")])
    with worked.registry.writing() as session:
        # Long ago.
        session.execute(ProjectRun.__table__.update().values(started_at=worked.clock.now().replace(year=2025)))
    with dg.DagsterInstance.ephemeral() as instance:
        found = sensed(lost_completions, instance)
        assert "lost 1" in str(found.skip_message)
        sensed(pas_completion, instance)
    assert rows(worked.registry, ProjectRun, "run_id", "status") == [(run_id, "FAIL")]


def test_a_registry_that_is_away_is_a_skipped_tick_and_not_a_failing_sensor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A failing sensor keeps failing silently; a reason can be read."""
    monkeypatch.setenv("PLMS_DATABASE_URL", f"sqlite:///{tmp_path}/none/registry.db")
    with dg.DagsterInstance.ephemeral() as instance:
        for sensor in (pas_completion, lost_completions):
            assert isinstance(sensed(sensor, instance), dg.SkipReason)


def test_the_asset_writes_what_is_due_and_lists_the_newest(worked: Worked) -> None:
    """Reports that nobody wrote are found by state."""
    run_id = worked.run([Planned("a")])
    told(worked, run_id, "a")
    with dg.DagsterInstance.ephemeral() as instance:
        sensed(pas_completion, instance)
        result = dg.materialize([session_reports], instance=instance, resources={"plms": Plms()})
    [made] = result.asset_materializations_for_node("session_reports")
    assert made.metadata["dagster/row_count"].value == 1
    assert run_id in str(made.metadata["newest"].value)


def test_the_sweep_runs(worked: Worked) -> None:
    """It must load where it runs, not only where it is defined."""
    (worked.settings.data_dir / "runs" / "unknown").mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        assert sweep_run_folders.execute_in_process(instance=instance, resources={"plms": Plms()}).success
    assert (worked.settings.data_dir / "runs" / "unknown").is_dir()


# --- terminal


def plms(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_settle_and_follow_and_report_from_a_terminal(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine without daemon and server a person must see a run through."""
    run_id = worked.run([Planned("a")])
    code, _, err = plms(capsys, "run", "follow", run_id, "--wait-s", 0)
    assert (code, "still RUNNING" in err) == (1, True)
    told(worked, run_id, "a")
    code, out, _ = plms(capsys, "run", "settle", "--json")
    assert (code, json.loads(out)["ended_runs"]) == (0, [run_id])
    code, out, _ = plms(capsys, "run", "follow", run_id)
    assert (code, out.count("State transition")) == (0, 6)
    code, out, _ = plms(capsys, "run", "follow", run_id, "--json")
    assert [json.loads(line)["to"] for line in out.splitlines()][-1] == "SUCCESS"
    code, out, _ = plms(capsys, "run", "report", run_id, "--field", "result")
    assert (code, out) == (0, "WARN\n")
    code, out, _ = plms(capsys, "run", "report", run_id, "--format", "json")
    assert (code, json.loads(out)["CASES_TOTAL"]) == (0, 1)
    for form in ("raw", "full"):
        code, out, _ = plms(capsys, "run", "report", run_id, "--format", form)
        assert "RESULT: WARN\n" in out


def test_the_exit_code_of_a_bad_run_says_so(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts ask the exit code."""
    run_id = worked.run([Planned("a")])
    told(worked, run_id, "a", ok=False)
    assert plms(capsys, "run", "settle")[0] == 0
    assert plms(capsys, "run", "follow", run_id)[0] == 1
    assert plms(capsys, "run", "report", run_id)[0] == 1
    assert plms(capsys, "run", "report", run_id, "--field", "RESULT")[:2] == (0, "FAIL\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "report", "nobody"), 2),
        (("run", "follow", "nobody"), 2),
        (("run", "report", "../../etc/passwd"), 2),
    ],
)
def test_an_unknown_run_is_said_in_one_line(
    worked: Worked, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int
) -> None:
    """Not a traceback."""
    found, _, err = plms(capsys, *arguments)
    assert (found, err.startswith("error: There is no run")) == (code, True)


def test_a_report_before_its_time_and_a_field_that_is_none(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    """Each no names its remedy."""
    run_id = worked.run([Planned("a")])
    code, _, err = plms(capsys, "run", "report", run_id)
    assert (code, "has no report yet" in err) == (2, True)
    told(worked, run_id, "a")
    plms(capsys, "run", "settle")
    code, _, err = plms(capsys, "run", "report", run_id, "--field", "NOPE")
    assert (code, "56 fields" in err) == (2, True)


def test_reconcile_says_when_the_executor_is_away(
    worked: Worked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 4: a needed system is away."""
    worked.run([Planned("a")])
    assert plms(capsys, "run", "reconcile", "--json")[0] == 0
    monkeypatch.setenv("PLMS_PAS_URL", "http://127.0.0.1:1")
    assert plms(capsys, "run", "reconcile", "--json")[0] == 4


def test_only_a_process_of_this_machine_can_be_known_to_be_dead() -> None:
    """What a killed process held must not wait for its lease, and what a distant one holds must."""
    import os
    import socket

    here = socket.gethostname()
    assert not is_dead(f"{here}:{os.getpid()}:x")
    assert is_dead(f"{here}:{2**22 + 12345}:x")
    assert not is_dead(f"elsewhere:{2**22 + 12345}:x")
    assert not is_dead("nonsense")


def test_what_a_dead_process_claimed_is_settled_at_once(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill between claim and commit must not delay the run by a lease."""
    import socket

    run_id = worked.run([Planned("a")])
    told(worked, run_id, "a")
    with worked.registry.writing() as session:
        session.execute(
            InboxEvent.__table__.update().values(
                lease_holder=f"{socket.gethostname()}:{2**22 + 12345}:x:settle",
                lease_expires_at=worked.clock.now().replace(year=2099),
            )
        )
    assert plms(capsys, "run", "settle")[0] == 0
    with worked.registry.reading() as session:
        assert session.scalar(select(ProjectRun.status)) == "SUCCESS"
