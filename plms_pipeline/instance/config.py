"""What is written in `dagster.yaml`?

One text for every instance, so that the instance of a test, of a second data directory and of the checkout behave
alike; only the place of the storage differs. The checkout's own `dagster.yaml` cannot hold absolute paths, and Dagster
resolves a relative `base_dir` against the current directory: started from elsewhere it would silently open a second,
empty history. There the storage is therefore found by `PlmsInstance`, relative to the file itself.
"""

from __future__ import annotations

_HEADER_DEFAULT = """\
# The default Dagster instance: DAGSTER_HOME is this directory, everything it stores lies under data/dagster.
# With another PLMS_DATA_DIR, `plms` writes and uses $PLMS_DATA_DIR/dagster/dagster.yaml, equal but for the paths.
# A test holds this file equal to plms_pipeline/instance/config.py.
"""

_HEADER_WRITTEN = """\
# Written by `plms` for this data directory; rewritten whenever it differs, so edits do not last.
"""

_STORAGE_BESIDE_THIS_FILE = """\
# Storage, compute logs and local artifacts: data/dagster beside this file, from whatever directory Dagster is started.
# A relative base_dir written here would mean "relative to the current directory"; PlmsInstance finds the place.
"""

_STORAGE_AT = """\
storage:
  sqlite:
    base_dir: {storage}
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {artifacts}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {compute_logs}
"""

_COMMON = """\
instance_class:
  module: plms_pipeline.dagster_internals
  class: PlmsInstance

# Nothing is sent anywhere. The daemon heeds only DAGSTER_DISABLE_TELEMETRY, which PlmsInstance sees to.
# Unless nux is off a dialog covers the UI on the first visit.
telemetry:
  enabled: false
nux:
  enabled: false

# Queues every run and stamps who launched it into the tag plms/actor.
run_coordinator:
  module: plms_pipeline.dagster_internals
  class: ActorRunCoordinator
  config:
    dequeue_interval_seconds: 1
    dequeue_use_threads: true
    dequeue_num_workers: 2

concurrency:
  runs:
    max_concurrent_runs: 4
    # Runs with the same value of plms/exclusive wait for each other, those with different values do not.
    tag_concurrency_limits:
      - key: plms/exclusive
        value:
          applyLimitPerUniqueValue: true
        limit: 1
  pools:
    # Only `op` also holds for `dagster asset materialize`, which bypasses the queue.
    granularity: op
    default_limit: 1
    op_granularity_run_buffer: 1

# The local launcher cannot tell a lost worker from a slow one: after max_runtime_seconds a run is failed.
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
  max_runtime_seconds: 7200
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 60

# Retries whole runs only after a crash of the worker; a failing step has its own retry policy.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false

# Ticks only; runs and events stay.
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      started: 7
      success: 30
      failure: 90

# Sized for two cores.
schedules:
  use_threads: true
  num_workers: 2
sensors:
  use_threads: true
  num_workers: 2
backfills:
  use_threads: true
  num_workers: 2
  num_submit_workers: 2

freshness:
  enabled: true

code_servers:
  local_startup_timeout: 120

# Our own logger only: managing the root logger can deadlock on SQLite.
python_logs:
  managed_python_loggers:
    - plms_pipeline
  python_log_level: INFO
"""


def quoted(text: str) -> str:
    """A YAML scalar that reads back as exactly this text. JSON's quoting does not: YAML takes the two halves of a
    surrogate pair for two characters."""
    return (
        '"'
        + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
        + '"'
    )


STATE_FOLDERS = ("storage", "artifacts", "compute_logs")


def state_paths(state_dir: str) -> dict[str, str]:
    """The three folders below an instance's state directory, by the name of their part of `dagster.yaml`."""
    return {name: f"{state_dir.rstrip('/')}/{name}" for name in STATE_FOLDERS}


def checkout_yaml() -> str:
    """The text of the checkout's own `dagster.yaml`: free of absolute paths."""
    return f"{_HEADER_DEFAULT}\n{_STORAGE_BESIDE_THIS_FILE}{_COMMON}"


def instance_yaml(state_dir: str) -> str:
    """The text of a `dagster.yaml` whose storage lies in `state_dir`.

    Args:
        state_dir: absolute path.
    """
    paths = {name: quoted(path) for name, path in state_paths(state_dir).items()}
    return f"{_HEADER_WRITTEN}\n{_STORAGE_AT.format(**paths)}\n{_COMMON}"
