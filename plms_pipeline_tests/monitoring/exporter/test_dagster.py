"""Is what Dagster's storage knows about its daemons, sensors, runs and pools told?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from plms_pipeline.monitoring.exporter.defs import GONE_AFTER_S, read
from plms_pipeline_tests.monitoring.exporter.worlds import nonzero, value


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("dagster-home")
    overrides: dict[str, Any] = {"concurrency": {"pools": {"granularity": "op"}}}
    with instance_for_test(overrides=overrides, temp_dir=str(folder)) as found:
        yield found


def origin(name: str) -> RemoteInstigatorOrigin:
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), location_name="here")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "repository"), name)


def ticking(
    instance: dg.DagsterInstance, name: str, kind: InstigatorType, data: Any, statuses: list[TickStatus], at: float,
    status: InstigatorStatus = InstigatorStatus.RUNNING,
) -> None:  # fmt: skip
    state = InstigatorState(origin(name), kind, status, data)
    instance.add_instigator_state(state)
    for place, each in enumerate(statuses):
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id, instigator_name=name, instigator_type=kind, status=each,
                timestamp=at + place, selector_id=state.selector_id, run_ids=[],
                error=SerializableErrorInfo("x", [], "X") if each is TickStatus.FAILURE else None,
            )
        )  # fmt: skip


@pytest.mark.one_database
def test_daemons_sensors_schedules_runs_and_pools_are_told(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Otherwise a dead daemon looks like a quiet night, and a sensor that fails for days like one that finds nothing."""
    now = time.time()
    instance.add_daemon_heartbeat(DaemonHeartbeat(now - 7, "SENSOR", "one"))
    instance.add_daemon_heartbeat(DaemonHeartbeat(now - 4000, "SCHEDULER", "one"))
    fails = [TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.FAILURE, TickStatus.STARTED]
    sensor, schedule = InstigatorType.SENSOR, InstigatorType.SCHEDULE
    ticking(
        instance,
        "fails",
        sensor,
        SensorInstigatorData(last_tick_timestamp=now - 100, min_interval=30),
        fails,
        now - 100,
    )
    fine = SensorInstigatorData(last_tick_timestamp=now - 10, min_interval=30, last_tick_success_timestamp=now - 10)
    ticking(instance, "fine", sensor, fine, [TickStatus.SKIPPED], now - 10)
    gone = SensorInstigatorData(last_tick_timestamp=now - GONE_AFTER_S - 100, min_interval=30)
    ticking(instance, "gone", sensor, gone, [], now)
    off = SensorInstigatorData(last_tick_timestamp=now - 500, min_interval=30, last_tick_success_timestamp=now - 500)
    ticking(instance, "off", sensor, off, [], now, InstigatorStatus.STOPPED)
    ticking(instance, "night", schedule, ScheduleInstigatorData("0 2 * * *", now), [TickStatus.FAILURE], now - 60)
    instance.event_log_storage.set_concurrency_slots("heavy", 2)
    instance.event_log_storage.claim_concurrency_slot("heavy", "run", "step")
    instance.event_log_storage.claim_concurrency_slot("heavy", "run", "other")
    instance.event_log_storage.claim_concurrency_slot("heavy", "run", "third")

    @dg.job
    def empty() -> None: ...

    job = RemoteJobOrigin(origin("any").repository_origin, "empty")
    code = JobPythonOrigin("empty", RepositoryPythonOrigin(sys.executable, ModuleCodePointer("nowhere", "empty")))
    instance.create_run_for_job(
        empty, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=job, job_code_origin=code
    )  # fmt: skip
    instance.create_run_for_job(empty, status=dg.DagsterRunStatus.FAILURE)
    samples = read(instance, datetime.fromtimestamp(now + 5, UTC))
    assert value(samples, "plms_dagster_daemon_heartbeat_age_seconds", "SENSOR") == pytest.approx(12, abs=1)
    assert value(samples, "plms_dagster_daemon_alive", "SENSOR") == 1
    assert value(samples, "plms_dagster_daemon_alive", "SCHEDULER") == 0
    assert value(samples, "plms_dagster_daemon_alive", "BACKFILL") == 0
    assert ("BACKFILL",) not in samples.cells["plms_dagster_daemon_heartbeat_age_seconds"]
    assert {labels[0] for labels in samples.cells["plms_dagster_sensor_running"]} == {"fails", "fine", "off"}
    assert nonzero(samples, "plms_dagster_sensor_failed_ticks") == {("fails",): 2}
    assert value(samples, "plms_dagster_sensor_lag_seconds", "fails") == pytest.approx(75, abs=1)
    assert value(samples, "plms_dagster_sensor_lag_seconds", "fine") == 0
    assert value(samples, "plms_dagster_sensor_lag_seconds", "off") == 0
    assert value(samples, "plms_dagster_sensor_running", "off") == 0
    assert value(samples, "plms_dagster_schedule_running", "night") == 1
    assert value(samples, "plms_dagster_schedule_failed_ticks", "night") == 1
    assert value(samples, "plms_dagster_schedule_last_tick_timestamp_seconds", "night") == pytest.approx(now - 60)
    assert nonzero(samples, "plms_dagster_runs") == {("QUEUED",): 1, ("FAILURE",): 1}
    assert 0 <= value(samples, "plms_dagster_queue_oldest_age_seconds") < 120
    assert value(samples, "plms_dagster_pool_slots", "heavy") == 2
    assert value(samples, "plms_dagster_pool_slots_in_use", "heavy") == 2
    assert value(samples, "plms_dagster_pool_pending_steps", "heavy") == 1
