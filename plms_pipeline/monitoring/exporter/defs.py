"""How are Dagster's daemons, sensors, schedules, runs and pools?

Asked of its storage, which is what the daemon itself trusts; no code location is loaded, so that broken code of ours does not
blind whoever watches it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.catalogue.machine import RUN_STATES
from plms_pipeline.monitoring.exporter.series import Samples

DAGSTER_VERSION: Final = dg.__version__
# So many ticks are looked at for failures that follow each other.
TICKS: Final = 10
# Dagster keeps the state of a sensor that was taken out of the code, as running. One that a living daemon has not ticked for so
# long is taken for such a one; by then its lag has been told for a day.
GONE_AFTER_S: Final = 86_400.0


@contextmanager
def opened_instance() -> Iterator[DagsterInstance]:
    """The instance of DAGSTER_HOME."""
    with DagsterInstance.get() as instance:
        yield instance


def read(instance: DagsterInstance, now: datetime) -> Samples:
    """Everything that Dagster's storage says about itself."""
    samples = Samples(CATALOGUE)
    _daemons(instance, samples, now.timestamp())
    _ticks(instance, samples, now.timestamp())
    _runs(instance, samples, now.timestamp())
    _pools(instance, samples)
    samples.fill("dagster", {})
    return samples


def _daemons(instance: DagsterInstance, samples: Samples, now: float) -> None:
    for daemon, status in instance.get_daemon_statuses().items():
        samples.put("plms_dagster_daemon_alive", float(bool(status.healthy)), daemon)
        if status.last_heartbeat is not None:
            age = max(0.0, now - status.last_heartbeat.timestamp)
            samples.put("plms_dagster_daemon_heartbeat_age_seconds", age, daemon)


def _ticks(instance: DagsterInstance, samples: Samples, now: float) -> None:
    beat = max((each.timestamp for each in instance.get_daemon_heartbeats().values()), default=now)
    for state in instance.all_instigator_state():
        data: Any = state.instigator_data
        if state.instigator_type.value == "SENSOR":
            last = getattr(data, "last_tick_timestamp", None) or getattr(data, "last_sensor_start_timestamp", None)
            if last is not None and beat - last > GONE_AFTER_S:
                continue
            late = max(0.0, now - last - (data.min_interval or 0)) if last is not None else 0.0
            samples.put("plms_dagster_sensor_lag_seconds", late if state.is_running else 0.0, state.name)
            samples.put("plms_dagster_sensor_running", float(state.is_running), state.name)
            is_fine = getattr(data, "last_tick_success_timestamp", None) is not None
            failed = 0 if is_fine else _failed_ticks(instance, state)[0]
            samples.put("plms_dagster_sensor_failed_ticks", failed, state.name)
        elif state.instigator_type.value == "SCHEDULE":
            failed, ticked = _failed_ticks(instance, state)
            samples.put("plms_dagster_schedule_running", float(state.is_running), state.name)
            samples.put("plms_dagster_schedule_failed_ticks", failed, state.name)
            if ticked is not None:
                samples.put("plms_dagster_schedule_last_tick_timestamp_seconds", ticked, state.name)


def _failed_ticks(instance: DagsterInstance, state: Any) -> tuple[int, float | None]:
    """How many of the newest ticks failed, one after the other, and when the newest was."""
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TICKS)
    failed = 0
    for tick in ticks:
        if tick.status.value == "STARTED":  # it is under way
            continue
        if tick.status.value != "FAILURE":
            break
        failed += 1
    return failed, ticks[0].timestamp if ticks else None


def _runs(instance: DagsterInstance, samples: Samples, now: float) -> None:
    for state in RUN_STATES:
        status = DagsterRunStatus[state]
        samples.put("plms_dagster_runs", instance.get_runs_count(RunsFilter(statuses=[status])), state)
    queued: Sequence[dg.RunRecord] = instance.get_run_records(
        RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=1, ascending=True
    )
    age = max(0.0, now - queued[0].create_timestamp.timestamp()) if queued else 0.0
    samples.put("plms_dagster_queue_oldest_age_seconds", age)


def _pools(instance: DagsterInstance, samples: Samples) -> None:
    storage = instance.event_log_storage
    for pool in sorted(storage.get_concurrency_keys()):
        info = storage.get_concurrency_info(pool)
        samples.put("plms_dagster_pool_slots", info.slot_count, pool)
        samples.put("plms_dagster_pool_slots_in_use", info.active_slot_count, pool)
        samples.put("plms_dagster_pool_pending_steps", info.pending_step_count, pool)
