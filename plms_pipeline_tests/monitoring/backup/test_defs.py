"""Can a person back up from the Dagster UI, and see what was kept?"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from plms_pipeline.definitions import defs
from plms_pipeline.monitoring.backup.actions.verifying import verify
from plms_pipeline_tests.monitoring.backup.conftest import Installation


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, sqlite_installation: Installation) -> None:
    for variable in ("PLMS_DATABASE_URL", "PLMS_BACKUP_TO"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PLMS_DATA_DIR", str(sqlite_installation.settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(sqlite_installation.settings.reports_dir))


def test_the_job_makes_a_backup_and_shows_where_it_lies(sqlite_installation: Installation) -> None:
    """On call, with a browser and no shell."""
    config = {"ops": {"make_backup": {"config": {"to": str(sqlite_installation.backups)}}}}
    with dg.instance_for_test() as instance:
        result = defs.resolve_job_def("back_up").execute_in_process(instance=instance, run_config=config)
    shown = {
        name: value.value
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT"
        for name, value in event.step_output_data.metadata.items()
    }
    assert verify(str(shown["backup"])).is_whole
    assert Path(str(shown["backup"])).parent == sqlite_installation.backups
    assert shown["files"] > 10


def test_a_job_that_knows_no_place_says_what_to_set() -> None:
    """A schedule that somebody turned on before PLMS_BACKUP_TO was set must not look like a backup."""
    with dg.instance_for_test() as instance:
        result = defs.resolve_job_def("back_up").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    told = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    assert "PLMS_BACKUP_TO" in str(told)
    assert defs.resolve_schedule_def("daily_backup").default_status is dg.DefaultScheduleStatus.STOPPED
