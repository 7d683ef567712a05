"""The exporter itself, the machine, Redis, and Dagster."""

from __future__ import annotations

from typing import Final

from plms_pipeline.monitoring.exporter.series import PARTS, Label, Series

PART: Final = Label("part", PARTS)
RUN_STATES: Final = (
    "QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING", "SUCCESS", "FAILURE", "CANCELED",
)  # fmt: skip
PLACES: Final = ("data", "reports", "tmp")
_DF: Final = "Dagster facts, F"
_OPS: Final = "guide 003, Key metrics"
_CACHE: Final = "guide 000, 4"
_NO_REDIS: Final = "Redis is not used, or does not answer."

_ITSELF: Final = (
    Series("plms_exporter_up", "gauge", "exporter", "1: everything that is configured was read by this scrape."),
    Series("plms_registry_up", "gauge", "exporter", "1: the registry was read in time."),
    Series("plms_dagster_up", "gauge", "exporter", "1: Dagster's storage was read in time."),
    Series("plms_reports_up", "gauge", "exporter", "1: the nightly reports were read in time."),
    Series("plms_redis_up", "gauge", "exporter", "1: Redis answered in time.", _CACHE, absent="Redis is not used."),
    Series(
        "plms_exporter_collect_seconds", "gauge", "exporter", "How long reading a part took.", labels=(PART,),
        absent="The part is not configured.",
    ),
    Series(
        "plms_exporter_collect_errors_total", "counter", "exporter",
        "Readings of a part that failed or took too long, by this process.", labels=(PART,),
    ),
    Series("plms_exporter_collected_timestamp_seconds", "gauge", "exporter", "When what is shown was read."),
    Series(
        "plms_build_info", "gauge", "exporter", "1; which versions these are.",
        labels=(Label("version"), Label("dagster"), Label("database", ("sqlite", "postgresql"))),
    ),
)  # fmt: skip

_MACHINE: Final = (
    Series(
        "plms_disk_free_bytes", "gauge", "disk", "Free space for us.", _OPS, (Label("place", PLACES),),
        absent="The place cannot be read.",
    ),
    Series(
        "plms_disk_size_bytes", "gauge", "disk", "Size of the file system.", _OPS, (Label("place", PLACES),),
        absent="The place cannot be read.",
    ),
    Series("plms_registry_size_bytes", "gauge", "registry", "How large the registry's database is."),
)  # fmt: skip

_REDIS: Final = (
    Series("plms_redis_memory_used_bytes", "gauge", "redis", "Memory in use.", _CACHE, absent=_NO_REDIS),
    Series(
        "plms_redis_memory_limit_bytes", "gauge", "redis",
        "What Redis may use at most: its own limit, else the memory of its machine.", _CACHE, absent=_NO_REDIS,
    ),
    Series(
        "plms_redis_keyspace_hits_total", "counter", "redis", "Keys that were found (keyspace_hits).", _CACHE, absent=_NO_REDIS
    ),
    Series(
        "plms_redis_keyspace_misses_total", "counter", "redis", "Keys that were not there.", _CACHE, absent=_NO_REDIS
    ),
    Series(
        "plms_redis_evicted_keys_total", "counter", "redis", "Keys that made room for others.", _CACHE, absent=_NO_REDIS
    ),
    Series("plms_redis_expired_keys_total", "counter", "redis", "Keys whose time was over.", _CACHE, absent=_NO_REDIS),
)  # fmt: skip

_DAEMON: Final = (Label("daemon"),)
_SENSOR: Final = (Label("sensor"),)
_SCHEDULE: Final = (Label("schedule"),)
_POOL: Final = (Label("pool"),)
_DAGSTER: Final = (
    Series(
        "plms_dagster_runs", "gauge", "dagster", "Runs of Dagster by state.", f"{_DF}.11", (Label("status", RUN_STATES),)
    ),
    Series(
        "plms_dagster_queue_oldest_age_seconds", "gauge", "dagster", "How long the oldest queued run has waited.", f"{_DF}.11"
    ),
    Series(
        "plms_dagster_daemon_heartbeat_age_seconds", "gauge", "dagster", "Since a daemon's last heartbeat.", f"{_DF}.12",
        _DAEMON, absent="It never beat.",
    ),
    Series(
        "plms_dagster_daemon_alive", "gauge", "dagster",
        "1: a daemon that this instance needs beats in time, by Dagster's own limit.", f"{_DF}.12", _DAEMON,
    ),
    Series("plms_dagster_sensor_running", "gauge", "dagster", "1: the sensor is switched on.", f"{_DF}.11", _SENSOR),
    Series(
        "plms_dagster_sensor_lag_seconds", "gauge", "dagster",
        "How long ago a running sensor should have ticked again; 0: it is in time.", f"{_DF}.8", _SENSOR,
    ),
    Series(
        "plms_dagster_sensor_failed_ticks", "gauge", "dagster", "Ticks that failed since one that did not, at most 10.",
        f"{_DF}.13", _SENSOR,
    ),
    Series("plms_dagster_schedule_running", "gauge", "dagster", "1: the schedule is switched on.", f"{_DF}.11", _SCHEDULE),
    Series(
        "plms_dagster_schedule_failed_ticks", "gauge", "dagster", "Ticks that failed since one that did not, at most 10.",
        f"{_DF}.13", _SCHEDULE,
    ),
    Series(
        "plms_dagster_schedule_last_tick_timestamp_seconds", "gauge", "dagster", "When a schedule ticked last.", f"{_DF}.11",
        _SCHEDULE, absent="It never ticked.",
    ),
    Series("plms_dagster_pool_slots", "gauge", "dagster", "Slots of a pool.", f"{_DF}.11", _POOL),
    Series("plms_dagster_pool_slots_in_use", "gauge", "dagster", "Slots of a pool that steps hold.", f"{_DF}.11", _POOL),
    Series("plms_dagster_pool_pending_steps", "gauge", "dagster", "Steps that wait for a slot.", f"{_DF}.11", _POOL),
)  # fmt: skip

MACHINE: Final = (*_ITSELF, *_MACHINE, *_REDIS, *_DAGSTER)
