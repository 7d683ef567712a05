"""Which Dagster home belongs to these settings, and is it ready?

Every `plms` command calls `prepare_instance` before it touches Dagster. The obvious version, exporting DAGSTER_HOME in
the Makefile, breaks as soon as somebody starts a command from another directory or keeps two data directories: two
histories grow apart, and each looks complete.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.config import STATE_FOLDERS, instance_yaml
from plms_pipeline.instance.files.atomic import write_if_different
from plms_pipeline.settings import Settings, project_root

CONFIG_FILE = "dagster.yaml"


@dataclass(frozen=True, slots=True)
class DagsterHome:
    """A Dagster instance on disk: `home` holds `dagster.yaml`, `state_dir` everything that Dagster stores."""

    home: Path
    state_dir: Path
    is_default: bool

    @property
    def config_file(self) -> Path:
        """The instance's `dagster.yaml`."""
        return self.home / CONFIG_FILE


def dagster_state_dir(settings: Settings) -> Path:
    """Where Dagster stores runs, events, ticks and logs for these settings."""
    return settings.data_dir / "dagster"


def dagster_home(settings: Settings) -> Path:
    """The DAGSTER_HOME of these settings: the checkout for its own `data/`, otherwise `<data_dir>/dagster`.

    Both name the same storage for the checkout's own data directory, because `PlmsInstance` looks for it there.
    """
    root = project_root()
    if root is not None and settings.data_dir == (root / "data").resolve() and (root / CONFIG_FILE).is_file():
        return root
    return dagster_state_dir(settings)


def prepare_instance(settings: Settings, environ: MutableMapping[str, str] | None = None) -> DagsterHome:
    """Make the Dagster instance of these settings ready, and make it the one of this process and its children.

    Writes `<data_dir>/dagster/dagster.yaml` when it is missing or differs (the checkout's own file is never written),
    creates the storage folders, and sets DAGSTER_HOME. PLMS_DATA_DIR, PLMS_REPORTS_DIR and PLMS_DATABASE_URL, where
    they are set, are replaced by what this process settled on, so that a child with another current directory agrees.

    Args:
        settings: the settings of this process.
        environ: the environment to change; `os.environ` when omitted.

    Raises:
        BadInput: a folder or file cannot be written (`instance_not_writable`).
    """
    home = dagster_home(settings)
    state_dir = dagster_state_dir(settings)
    prepared = DagsterHome(home=home, state_dir=state_dir, is_default=home != state_dir)
    try:
        for folder in STATE_FOLDERS:
            (state_dir / folder).mkdir(parents=True, exist_ok=True)
        if not prepared.is_default:
            write_if_different(prepared.config_file, instance_yaml(str(state_dir)))
    except OSError as error:
        raise BadInput(
            f"Dagster's home {state_dir} cannot be written ({error.strerror or error}); "
            "make it a writable directory or set PLMS_DATA_DIR to one.",
            code="instance_not_writable",
        ) from error
    target = os.environ if environ is None else environ
    target["DAGSTER_HOME"] = str(home)
    target.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    for variable, value in (
        ("PLMS_DATA_DIR", settings.data_dir),
        ("PLMS_REPORTS_DIR", settings.reports_dir),
        ("PLMS_DATABASE_URL", settings.database_url),
    ):
        if target.get(variable, "").strip():
            target[variable] = str(value)
    return prepared
