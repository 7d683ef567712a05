"""Rehearsing from the Dagster UI, from a terminal and over HTTP with a real executor behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import func, select

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectRun
from plms_pipeline.resources import Plms
from plms_pipeline.runs.defs.rehearse import canary_ended, rehearse_project
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import live, world
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.worlds import planned_project

pytestmark = pytest.mark.live

TASKS: dict[str, tuple[str, ...]] = {f"t{number:02d}": () for number in range(40)}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; it may write below every test's folder."""
    root = ("--artifacts-root", str(tmp_path_factory.getbasetemp()))
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=1e6, arguments=root) as pas:
        yield pas


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, executor: ReferencePas) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_PAS_URL", executor.url)
    monkeypatch.setenv("COLUMNS", "200")


def launched(config: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run the job; what its metadata shows."""
    result = rehearse_project.execute_in_process(
        run_config={"ops": {"rehearse_project_sample": {"config": config}}}, resources={"plms": Plms()}, **options
    )
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {key: value.value for key, value in event.step_output_data.metadata.items()}


def runs(registry: Registry) -> int:
    with registry.reading() as session:
        return session.scalar(select(func.count()).select_from(ProjectRun)) or 0


def test_the_job_shows_the_forecast_as_metadata(sqlite_registry: Registry) -> None:
    """People decide in the Dagster UI; what they need to decide must stand there."""
    planned_project(sqlite_registry, tasks=TASKS)
    shown = launched({"project_id": 42, "seed": 7})
    assert (shown["state"], shown["n_sample"], shown["n_total"], shown["is_representative"]) == ("done", 2, 40, True)
    assert "| cost_usd |" in shown["totals"]
    assert runs(sqlite_registry) == 0


def test_the_job_runs_a_canary_to_its_end_and_starts_no_other_when_it_is_repeated(sqlite_registry: Registry) -> None:
    """The key is derived from the Dagster run (the root of its retries): whatever is repeated finds the same canary."""
    planned_project(sqlite_registry, tasks=TASKS)
    config = {"project_id": 42, "mode": "canary", "wait_s": 60}
    first_id = str(uuid4())
    shown = launched(config, run_id=first_id)
    assert shown["state"] == "done"
    assert 0 < shown["risk_score"] <= 1
    again = launched(config, run_id=first_id)
    assert again["run_id"] == shown["run_id"]
    assert runs(sqlite_registry) == 1


def test_the_sensor_finds_nothing_and_launches_nothing(sqlite_registry: Registry) -> None:
    """At rest it must cost a look."""
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, resources={"plms": Plms()}) as context,
    ):
        assert "No canary has ended" in str(canary_ended(context))


def test_the_command_runs_a_canary_to_its_end(sqlite_registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """Without server and daemon the terminal sees its canary through by itself."""
    from plms_pipeline.cli import main

    planned_project(sqlite_registry, tasks=TASKS)
    assert main(["run", "rehearse", "42", "--mode", "canary", "--pct", "0.05", "--wait-s", "60", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["run_status"]) == ("done", "SUCCESS")
    assert told["simulation_results"]["rehearsal_actual"]["cost_usd"] > 0
    assert main(["run", "rehearse", "42", "--mode", "canary", "--pct", "0.05", "--wait-s", "60"]) == 0
    assert "canary of project 42: 2 of 40 tasks" in capsys.readouterr().out


def test_a_canary_that_does_not_end_in_time_is_202_and_others_are_answered_meanwhile(
    sqlite_registry: Registry, settings: Settings, executor: ReferencePas
) -> None:
    """Whoever waits for a canary must not take a thread from everybody else."""
    planned_project(sqlite_registry, tasks=TASKS)
    with executor.client() as pas:
        api = world(settings, sqlite_registry, SystemClock(), pas=lambda: pas)
        who, path = api.headers("operator"), "/api/projects/42/simulate"
        with live(api.app) as client:
            # Nobody dispatches here, so the canary stays where it is.
            answer = client.post(
                path, params={"mode": "canary", "wait_s": 1}, headers={**who, "Idempotency-Key": str(uuid4())}
            )
            assert answer.status_code == 202, answer.text
            assert answer.headers["Idempotent-Replay"] == "false"
            assert answer.json()["state"] == "running"
            assert client.get(path, headers=who).status_code == 202
