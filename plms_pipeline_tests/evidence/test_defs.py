"""Does Dagster show how late evidence stands, and end what nobody ended?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.evidence import defs
from plms_pipeline.evidence.obligations import evidence_config, foreign_need
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import Plms
from plms_pipeline.settings import Settings
from plms_pipeline_tests.evidence.worlds import books


@pytest.fixture
def owed(sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """One obligation that is a minute overdue."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    config = evidence_config(settings)
    then = datetime.now(UTC) - timedelta(minutes=2)
    with sqlite_registry.writing() as session:
        store.accept(session, [foreign_need(config, "run-1").row(config, now=then)])
    return sqlite_registry


def materialized() -> tuple[dict[str, Any], bool]:
    done = dg.materialize([defs.late_evidence], resources={"plms": Plms()})
    [evaluation] = done.get_asset_check_evaluations()
    metadata = done.asset_materializations_for_node("late_evidence")[0].metadata
    return {key: value.value for key, value in metadata.items()}, evaluation.passed


def test_the_sensor_ends_what_is_overdue_and_launches_nothing(owed: Registry) -> None:
    """Without `plms serve` obligations would pend for ever; a hundred runs a day are all that may start at rest."""
    found, passed = materialized()
    assert (found["pending"], passed) == (1, False)
    with dg.build_sensor_context(resources={"plms": Plms()}) as context:
        said = defs.overdue_evidence(context)
        assert isinstance(said, dg.SkipReason)
        assert "timeout 1" in str(said.skip_message)
        again = defs.overdue_evidence(context)
        assert "Nothing is overdue" in str(again.skip_message)
    assert books(owed) == (1, 1, 0)
    found, passed = materialized()
    assert (found["observations"], found["heat_coverage"], passed) == (1, 0.0, True)


def test_the_golden_job_passes_where_evidence_is_observed(owed: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who promotes a model asks it first: it must be able to say yes."""
    monkeypatch.setenv("P28_LATE_OBS_MAX_WAIT_MS", "600")
    assert defs.verify_golden.execute_in_process(resources={"plms": Plms()}).success


def test_the_golden_job_fails_where_nothing_is_observed(owed: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof of nothing is none."""
    monkeypatch.setenv("P28_LATE_OBS_ENABLED", "false")
    done = defs.verify_golden.execute_in_process(resources={"plms": Plms()}, raise_on_error=False)
    assert not done.success
