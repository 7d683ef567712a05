"""Does the one Definitions object load, and does everything in it tell a person what it is?"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from plms_pipeline.definitions import defs
from plms_pipeline.monitoring.defs import NIGHTLY_ASSETS, nightly_books
from plms_pipeline.resources import AS_OF_TAG, parse_as_of
from plms_pipeline.settings import project_root

RECOMMENDED = dg.AssetKey("promotion_recommendation")
NEW_YORK = ZoneInfo("America/New_York")


def specs() -> list[dg.AssetSpec]:
    return list(defs.resolve_all_asset_specs())


def test_the_definitions_load() -> None:
    """A code location that does not load is an empty UI and a night that never comes."""
    dg.Definitions.validate_loadable(defs)
    assert {"kpi_evaluations", "calibration_backtest"} <= {spec.key.to_user_string() for spec in specs()}


@pytest.mark.live
def test_the_command_line_of_dagster_agrees() -> None:
    """`dagster definitions validate` is what a deployment pipeline runs."""
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "plms_pipeline.definitions"],
        capture_output=True, text=True, cwd=project_root(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stdout + done.stderr


def test_every_asset_says_what_it_is_and_whose() -> None:
    """Somebody who opens the asset at three in the morning must not have to read the source."""
    for spec in specs():
        name = spec.key.to_user_string()
        assert len(spec.description or "") > 40, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.code_version, name
        assert spec.group_name in {
            "intake",
            "estimates",
            "kpis",
            "runs",
            "invariants",
            "monitoring",
            "letters",
            "portfolio",
            "evidence",
            "models",
        }, name


def test_the_assets_of_the_night_exist_and_are_the_job() -> None:
    """A job that silently lost an asset still ends green."""
    job = defs.resolve_job_def("nightly")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(NIGHTLY_ASSETS)


NIGHTS = ("nightly", "tell_money_and_risk", "champion_summary", "watch_estimates")


def test_every_invariant_is_checked_by_a_schedule() -> None:
    """An asset check that no job runs shows the verdict of the day it was last clicked."""
    from dagster._core.definitions.dependency import NodeHandle

    # What is told every hour is checked every hour, and what is told of a champion every night.
    jobs = [defs.resolve_job_def(name) for name in NIGHTS]
    planned = {
        key
        for job in jobs
        for node in job.nodes
        for key in job.asset_layer.get_selected_entity_keys_for_node(NodeHandle(node.name, None))
        if isinstance(key, dg.AssetCheckKey)
    }
    # What keeps a candidate back is asked at its training, at each decision and before it is promoted, and of no night.
    asked = {key for key in defs.resolve_asset_graph().asset_check_keys if key.asset_key == RECOMMENDED}
    assert planned == set(defs.resolve_asset_graph().asset_check_keys) - asked


def test_every_job_ends_by_itself() -> None:
    """A hung run holds the lease of the night."""
    for name in ("nightly",):
        assert int(defs.resolve_job_def(name).tags["dagster/max_runtime"]) <= 7200


@pytest.mark.parametrize(
    ("wall", "as_of"),
    [
        (datetime(2026, 3, 8, 3, 0, tzinfo=NEW_YORK), "2026-03-08T07:00:00+00:00"),
        (datetime(2026, 11, 1, 2, 0, tzinfo=NEW_YORK), "2026-11-01T07:00:00+00:00"),
        (datetime(2026, 7, 1, 2, 0, tzinfo=NEW_YORK), "2026-07-01T06:00:00+00:00"),
    ],
)
def test_a_scheduled_night_stands_for_its_scheduled_instant(wall: datetime, as_of: str) -> None:
    """A daemon that comes an hour late must not move the night."""
    context = dg.build_schedule_context(scheduled_execution_time=wall)
    request = nightly_books(context)
    assert request.tags[AS_OF_TAG] == as_of
    assert request.run_key == str(wall.date())
    assert parse_as_of(request.tags[AS_OF_TAG]) == wall.astimezone(UTC)


@pytest.mark.parametrize("before", [datetime(2026, 3, 6, 12, tzinfo=UTC), datetime(2026, 10, 30, 12, tzinfo=UTC)])
def test_the_schedule_fires_once_a_night_when_the_clocks_change(before: datetime) -> None:
    """02:00 in New York happens never on one night of the year, and the hour before it twice on another."""
    from dagster._utils.schedules import schedule_execution_time_iterator

    ticks = schedule_execution_time_iterator(
        before.timestamp(), nightly_books.cron_schedule, nightly_books.execution_timezone
    )
    nights = [next(ticks).astimezone(NEW_YORK).date() for _ in range(4)]
    assert nights == [before.date() + timedelta(days=days) for days in range(1, 5)]
