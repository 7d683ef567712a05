"""Is the family of estimates trained by itself, once per new receipts, and never past a person?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.actions.candidates import register
from plms_pipeline.models.actions.resembling import experiment_like_or_default
from plms_pipeline.models.defs import JOBS, SCHEDULES, outlook
from plms_pipeline.models.defs.estimates import retrain_estimates, weekly_estimates_retraining, weekly_request
from plms_pipeline.models.defs.sensors import estimates_drifted
from plms_pipeline.models.estimating.actions import nothing_new
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.store import candidates
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.models.candidates import LAUNCHER, NOW, train_on_disk
from plms_pipeline_tests.models.candidates import house as house_of
from plms_pipeline_tests.models.defs.worlds import Ours, house, set_up
from plms_pipeline_tests.models.estimating.test_life import Life, fill

WEEKLY: dict[str, Any] = {"reason": "weekly", "only_if_changed": True}


@pytest.fixture
def instance(sqlite_registry: Registry, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    settings = load_settings({"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path / "reports")})
    set_up(house_of(sqlite_registry, tmp_path), settings)
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def launched(instance: dg.DagsterInstance, config: dict[str, Any]) -> Any:
    return retrain_estimates.execute_in_process(
        instance=instance, run_config={"ops": {"train_estimates": {"config": config}}}, resources={"plms": Ours()},
        raise_on_error=False,
    )  # fmt: skip


def said(done: Any) -> str:
    return "".join(
        str(event.event_specific_data.error) for event in done.all_events if event.event_type_value == "STEP_FAILURE"
    )


def waiting() -> list[str]:
    with house().registry.reading() as session:
        return [one.candidate_id for one in candidates.waiting(session, "estimates")]


@pytest.mark.usefixtures("instance")
def test_the_week_asks_for_what_the_job_understands() -> None:
    """A schedule whose form the job refuses fails every Sunday, when nobody looks."""
    assert retrain_estimates in JOBS
    assert weekly_estimates_retraining in SCHEDULES
    fill(house().registry)
    request: Any = weekly_request(Ours(), NOW)
    assert request.run_key == str(NOW.date())
    assert request.run_config == {"ops": {"train_estimates": {"config": WEEKLY}}}
    assert dg.validate_run_config(retrain_estimates, request.run_config)
    assert retrain_estimates.tags["dagster/max_runtime"] == "3600"


def test_a_house_without_enough_receipts_trains_nothing_and_does_not_fail(instance: dg.DagsterInstance) -> None:
    """A new house had a failed run every week; a person who asks is told why nothing comes of it."""
    assert "No receipt is in the books yet" in skipped(weekly_request(Ours(), NOW))
    fill(house().registry, n=20)
    assert "20 know their cost_usd" in skipped(weekly_request(Ours(), NOW))
    assert launched(instance, WEEKLY).success
    assert waiting() == []
    by_hand = launched(instance, {})
    assert not by_hand.success
    assert "needs 200" in said(by_hand)


def skipped(found: Any) -> str:
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def asked(instance: dg.DagsterInstance) -> list[Any]:
    with dg.build_sensor_context(instance=instance, resources={"plms": Ours()}) as context:
        return list(getattr(estimates_drifted(context), "run_requests", None) or [])


@pytest.mark.live
def test_a_candidate_that_was_sent_back_is_trained_again_with_its_own_experiment(instance: dg.DagsterInstance) -> None:
    """The decision `request_retrain` was only recorded: whoever made it waited for a training that nobody launched."""
    life = Life(house())
    fill(life.home.registry)
    assert asked(instance) == []
    life.train("est-1")
    life.home.decide("est-1", "request_retrain", role="ml_engineer")
    (request,) = asked(instance)
    assert request.run_key == "requested:est-1"
    form = request.run_config["ops"]["train_estimates"]["config"]
    assert (form["start_from"], form["cold_if_lost"]) == ("est-1", True)
    done = launched(instance, form)
    assert done.success, said(done)
    with life.home.registry.reading() as session:
        was, new = (candidates.find(session, name) for name in ("est-1", done.run_id))
    assert was is not None
    assert new is not None
    assert new.bytes.experiment == was.bytes.experiment
    # Answered: the newest candidate waits, and nobody asks for another.
    assert asked(instance) == []


def test_a_house_without_receipts_says_so(instance: dg.DagsterInstance) -> None:
    """Nothing to train on is no fault of the night."""
    assert launched(instance, WEEKLY).success
    assert waiting() == []
    by_hand = launched(instance, {})
    assert not by_hand.success
    assert "No receipt is in the books yet" in said(by_hand)


@pytest.mark.usefixtures("instance")
def test_a_candidate_whose_folder_is_gone_is_answered_with_the_default_experiment() -> None:
    """Its training would fail once a night for ever, or never be launched again."""
    own = house()
    found = own.candidate("c1")
    with pytest.raises(BadInput, match="of the family market"):
        experiment_like_or_default(own.registry, "c1", root=own.root)
    estimates = replace(train_on_disk(own.root, "e1", clock=own.clock, seed=8), family="estimates")
    register(own.registry, estimates, actor=LAUNCHER, clock=own.clock, expiry=timedelta(days=14))
    shutil.rmtree(own.root / estimates.folder)
    assert estimates.folder != found.folder
    experiment, lost = experiment_like_or_default(own.registry, "e1", root=own.root)
    assert experiment == EstimatesExperiment()
    assert "with the default experiment" in lost


@pytest.mark.live
def test_the_same_receipts_are_trained_on_once_a_person_may_ask_again(instance: dg.DagsterInstance) -> None:
    """Every Sunday another candidate of the same receipts is a trial more against all of them, and a decision more."""
    registry = house().registry
    fill(registry)
    assert nothing_new(registry, until=house().clock.now()) is None
    first = launched(instance, WEEKLY)
    assert first.success, said(first)
    assert waiting() == [first.run_id]
    assert instance.get_dynamic_partitions("model_candidates") == [first.run_id]
    with registry.reading() as session:
        found = candidates.find(session, first.run_id)
        assert found is not None
        assert (found.family, found.reason) == ("estimates", "weekly")
    assert launched(instance, WEEKLY).success
    assert waiting() == [first.run_id]
    again = launched(instance, {"reason": "a new provider"})
    assert again.success, said(again)
    assert set(waiting()) == {first.run_id, again.run_id}


@pytest.mark.live
def test_a_promotion_is_read_once_by_itself_and_told(instance: dg.DagsterInstance) -> None:
    """A promotion that waits for the night is one that every forecast of the day passes by."""

    def due() -> list[Any]:
        with dg.build_sensor_context(instance=instance, resources={"plms": Ours()}) as context:
            return list(getattr(outlook.estimates_unread(context), "run_requests", None) or [])

    life = Life(house())
    assert due() == []
    fill(life.home.registry)
    life.train("est-1")
    life.home.decide("est-1", "approve")
    life.home.promote("est-1")
    (request,) = due()
    assert request.run_key.startswith("promoted:")
    done = dg.materialize([outlook.estimates_monitor], instance=instance, resources={"plms": Ours()})
    (told,) = done.asset_materializations_for_node("estimates_monitor")
    assert told.metadata["heard"].value == "cost_usd effort, cost_usd spend"
    assert all(one.passed for one in done.get_asset_check_evaluations())
    assert len(done.get_asset_check_evaluations()) == 2
    assert due() == []
