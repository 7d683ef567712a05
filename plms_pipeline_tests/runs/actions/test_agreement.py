"""Do PLMS and the executor agree that a run is over, also when some of its tasks never went out?

The executor ends a run when as many tasks have ended as were announced. A task that is skipped here never arrives there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from plms_pipeline.clock import SystemClock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import OutboxEvent, ProjectRun
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.service.settler import Settler
from plms_pipeline.settings import Settings
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.test_replay import original
from plms_pipeline_tests.runs.worked import Planned, Worked, ended
from plms_pipeline_tests.runs.worlds import planned_project


def terminations(registry: Registry) -> list[str]:
    with registry.reading() as session:
        return list(session.scalars(select(OutboxEvent.subject_id).where(OutboxEvent.kind == "terminate_run")))


def test_a_run_that_ended_with_skipped_tasks_is_ended_at_the_executor(registry: Registry, settings: Settings) -> None:
    """It would stay open there for ever, hold its budget, and count as active."""
    worked = Worked(registry, settings)
    run_id = worked.run([Planned("a"), Planned("b", depends_on=("a",), is_submitted=False)])
    worked.tell(ended(run_id, "a", ok=False))
    assert settle_due(worked.world, holder="here").ended_runs == (run_id,)
    assert terminations(registry) == [run_id]


@pytest.mark.parametrize("ok", [True, False])
def test_a_run_whose_tasks_all_went_out_is_left_to_end_by_itself(
    sqlite_registry: Registry, settings: Settings, ok: bool
) -> None:
    """The executor knows it already; ending it again would change a completed run's story there."""
    worked = Worked(sqlite_registry, settings)
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b", ok=ok))
    assert settle_due(worked.world, holder="here").ended_runs == (run_id,)
    assert terminations(sqlite_registry) == []


@pytest.fixture
def executor(tmp_path: Path, settings: Settings) -> Iterator[ReferencePas]:
    root = ("--artifacts-root", str(settings.data_dir))
    with reference_pas(tmp_path / "pas", speed=1e6, faults={"failed": 1.0}, arguments=root) as pas:
        yield pas


@pytest.mark.live
def test_both_sides_say_that_a_failed_run_is_over(
    sqlite_registry: Registry, settings: Settings, executor: ReferencePas
) -> None:
    """With a real executor: the first of four tasks fails, three never go out, and nothing is active afterwards."""
    planned_project(sqlite_registry)
    run_id = original(sqlite_registry, SystemClock(), ended=False)
    with PasClient(executor.url, sleep=time.sleep, chance=random.random, monotonic_s=time.monotonic) as pas:
        dispatcher = Dispatcher(settings, sqlite_registry, SystemClock(), lambda: pas)
        settler = Settler(settings, sqlite_registry, SystemClock(), lambda: pas)
        deadline = time.monotonic() + 30
        while pas.health().active_runs or _status(sqlite_registry, run_id) not in ("FAIL", "SUCCESS"):
            assert time.monotonic() < deadline
            dispatcher.tick()
            settler.reconcile(age=timedelta(0))
            settler.tick()
        there = pas.run_status(run_id)
    assert _status(sqlite_registry, run_id) == "FAIL"
    assert there is not None
    assert (there.status, "never be handed over" in (there.reason or "")) == ("terminated", True)


def _status(registry: Registry, run_id: str) -> str | None:
    with registry.reading() as session:
        return session.scalar(select(ProjectRun.status).where(ProjectRun.run_id == run_id))
