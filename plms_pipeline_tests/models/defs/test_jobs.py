"""Does one run of the Launchpad lead from prices to a candidate, and another from a decision to what serves?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.models.dataset.actions import Source, import_prices, prepare
from plms_pipeline.models.defs import ASSETS
from plms_pipeline.models.defs.promotion import decide_candidate_job, promote_candidate_job, rollback_champion_job
from plms_pipeline.models.defs.retraining import retrain_models
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.records import MARKET
from plms_pipeline.models.stages import names
from plms_pipeline.models.store import candidates, champions, looks
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.models.candidates import house as house_of
from plms_pipeline_tests.models.defs.worlds import Ours, house, later, set_up
from plms_pipeline_tests.models.worlds import market

EXPERIMENT = "name: quick\nwalk_forward: {train: 150, test: 40}\n"
TOLD = (
    names.MARKET_BARS, names.DATASET_SNAPSHOT, names.FEATURE_MATRIX, names.CANDIDATE_MODEL, names.CANDIDATE_PREDICTIONS,
    names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY, names.CANDIDATE_REPORT, names.PROMOTION_RECOMMENDATION,
)  # fmt: skip
PERSON = {
    "plms/actor": "bob", "plms/actor_verified": "yes", "plms/launched_from": "ui",
}  # fmt: skip


@pytest.fixture
def instance(sqlite_registry: Registry, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    settings = load_settings({"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path / "reports")})
    set_up(house_of(sqlite_registry, tmp_path), settings)
    write_prices(house().root / "prices.csv", market().raw)
    (house().root / "quick.yaml").write_text(EXPERIMENT, encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def launched(job: Any, instance: dg.DagsterInstance, config: dict[str, Any], **tags: str) -> Any:
    (op,) = job.graph.node_dict
    return job.execute_in_process(
        instance=instance, run_config={"ops": {op: {"config": config}}}, resources={"plms": Ours()}, tags=tags,
        raise_on_error=False,
    )  # fmt: skip


def told(done: Any) -> dict[str, str | None]:
    return {
        event.asset_key.to_user_string(): event.partition
        for event in done.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }


def why(done: Any) -> str:
    return "".join(
        str(event.event_specific_data.error) for event in done.all_events if event.event_type_value == "STEP_FAILURE"
    )


@pytest.mark.live
def test_a_candidate_is_trained_told_and_found_again(instance: dg.DagsterInstance, settings: Settings) -> None:
    """What a run tells must be what the partition says when somebody looks again."""
    assert settings.data_dir
    asked = {"dataset": "prices.csv", "experiment_file": "quick.yaml", "reason": "a test"}
    done = launched(retrain_models, instance, asked)
    assert done.success, why(done)
    assert set(told(done)) == set(TOLD)
    assert {one for name, one in told(done).items() if name in TOLD[3:]} == {done.run_id}
    assert instance.get_dynamic_partitions("model_candidates") == [done.run_id]
    with house().registry.reading() as session:
        found = candidates.find(session, done.run_id)
    assert found is not None
    assert (found.state, found.reason) == ("waiting", "a test")
    checks = [
        event.event_specific_data for event in done.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    assert {(one.asset_key.to_user_string(), one.check_name) for one in checks} == {
        (one.asset, one.name) for one in names.CHECKS if one.asset not in {names.LIVE_MONITOR, names.ESTIMATES_MONITOR}
    }
    again = dg.materialize(
        ASSETS, selection=[names.CANDIDATE_MODEL, names.CANDIDATE_PREDICTIONS, names.CANDIDATE_EVALUATION,
                           names.OPERATIONS_SUMMARY, names.CANDIDATE_REPORT],
        partition_key=done.run_id, instance=instance, resources={"plms": Ours(), "documents": dg.mem_io_manager},
    )  # fmt: skip
    first = {one.check_name: one.passed for one in checks}
    assert all(first[one.check_name] == one.passed for one in again.get_asset_check_evaluations())


@pytest.mark.live
def test_a_dry_run_trains_nothing_and_a_form_reads_no_file_elsewhere(instance: dg.DagsterInstance) -> None:
    """A form that reads any file of the machine shows secrets in its error."""
    done = launched(retrain_models, instance, {"dataset": "prices.csv", "dry_run": True})
    assert set(told(done)) == set(TOLD[:3])
    assert instance.get_dynamic_partitions("model_candidates") == []
    for outside in ({"dataset": "../../etc/passwd"}, {"dataset": "prices.csv", "experiment_file": "/etc/passwd"}):
        refused = launched(retrain_models, instance, outside)
        assert not refused.success
        assert "does not lie below" in why(refused)
    nothing = launched(retrain_models, instance, {})
    assert "plms import prices" in why(nothing)
    orphan = launched(retrain_models, instance, {"dataset": "prices.csv", "start_from": "champion"})
    assert "no champion to start from" in why(orphan)


@pytest.mark.live
def test_a_form_starts_from_the_champion(instance: dg.DagsterInstance) -> None:
    """A drifted champion was answered with the default ridge, which is another model."""
    house().champion("c1")
    later(hours=1)
    done = launched(retrain_models, instance, {"dataset": "prices.csv", "start_from": "champion"})
    assert done.success, why(done)
    with house().registry.reading() as session:
        parent, found = (candidates.find(session, name) for name in ("c1", done.run_id))
    assert parent is not None
    assert found is not None
    assert (found.started_from, found.bytes.experiment) == ("c1", parent.bytes.experiment)
    # The folder of the champion is lost: who asked by hand is told, what asks by itself answers the drift all the same.
    (house().root / parent.folder).rename(house().root / "lost")
    again = {"dataset": "prices.csv", "experiment_file": "quick.yaml", "start_from": "champion", "reason": "it drifts"}
    refused = launched(retrain_models, instance, again)
    assert "There is no file" in why(refused)
    cold = launched(retrain_models, instance, again | {"cold_if_lost": True})
    assert cold.success, why(cold)
    with house().registry.reading() as session:
        born = candidates.find(session, cold.run_id)
    assert born is not None
    assert born.started_from is None
    assert born.reason is not None
    assert born.reason.startswith(
        "it drifts; from nothing and with another experiment, because champion cannot be read"
    )


def test_a_decision_is_recorded_carried_out_and_taken_back(instance: dg.DagsterInstance) -> None:
    """The Launchpad must neither promise what it does not do nor sign for somebody else."""
    for name in ("c1", "c2"):
        house().candidate(name, seed=int(name[1:]))
    form = {"decision": "approve", "role": "risk_lead", "rationale": "after costs"}
    other = launched(decide_candidate_job, instance, {**form, "candidate": "c1", "reviewer": "carol"}, **PERSON)
    assert "bob is signed in" in why(other)
    own = launched(decide_candidate_job, instance, {**form, "candidate": "c1"}, **{**PERSON, "plms/actor": "ann"})
    assert "same_person" in why(own)
    bad = launched(decide_candidate_job, instance, {**form, "candidate": "../c1"}, **PERSON)
    assert "no id of a candidate" in why(bad)
    for name in ("c1", "c2"):
        decided = launched(decide_candidate_job, instance, {**form, "candidate": name}, **PERSON)
        assert decided.success, why(decided)
        assert told(decided) == {names.PROMOTION_RECOMMENDATION: name}
        promoted = launched(promote_candidate_job, instance, {})
        assert promoted.success, why(promoted)
        assert told(promoted) == {names.PROMOTED_MODEL: name}
    assert serving() == "c2"
    back = launched(rollback_champion_job, instance, {"reason": "it was worse"}, **PERSON)
    assert told(back) == {names.PROMOTED_MODEL: "c1"}
    assert serving() == "c1"


def serving() -> str | None:
    with house().registry.reading() as session:
        champion = champions.current(session, MARKET)
    return None if champion is None else champion.candidate_id


def test_a_partition_promotes_nothing_that_nobody_approved(instance: dg.DagsterInstance) -> None:
    """Whoever may materialize an asset may not, by that, promote a model."""
    house().candidate("c1")
    instance.add_dynamic_partitions("model_candidates", ["c1"])
    done = dg.materialize(
        ASSETS, selection=[names.PROMOTED_MODEL], partition_key="c1", instance=instance,
        resources={"plms": Ours(), "documents": dg.mem_io_manager}, raise_on_error=False,
    )  # fmt: skip
    assert not done.success
    assert "not_approved" in why(done)
    assert serving() is None


def test_a_champion_is_watched_as_an_asset(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Each look is a row that sensors and alerts read; without a champion there is nothing to look at."""
    write_prices(tmp_path / "market.csv", market().raw)
    prepared = prepare(Source(tmp_path / "market.csv"), clock=house().clock)
    import_prices(prepared, root=house().root, clock=house().clock)
    nobody = dg.materialize(
        ASSETS, selection=[names.LIVE_MONITOR], instance=instance, raise_on_error=False,
        resources={"plms": Ours(), "documents": dg.mem_io_manager},
    )  # fmt: skip
    assert "no_champion" in why(nobody)
    champion = house().champion("c1").champion
    done = dg.materialize(
        ASSETS, selection=[names.LIVE_MONITOR], instance=instance,
        resources={"plms": Ours(), "documents": dg.mem_io_manager},
    )  # fmt: skip
    found = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
    assert found == {names.LIVE_FEED: True, names.LIVE_DRIFT: True, names.LIVE_RISK: True}
    with house().registry.reading() as session:
        (look,) = looks.newest(session, MARKET)
    assert (look.action, look.promotion_id) == ("keep", champion.promotion_id)
