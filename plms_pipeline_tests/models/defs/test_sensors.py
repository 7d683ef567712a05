"""Does what nobody launches happen once, by facts, and never past a person?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.models.actions.deciding import lift_halt
from plms_pipeline.models.dataset.actions import Source, import_prices, prepare
from plms_pipeline.models.defs import sensors, summary
from plms_pipeline.models.defs.retraining import DATA_TAG, JOB
from plms_pipeline.models.defs.telling import CANDIDATES
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.records import MARKET
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LiveSnapshot
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.candidates import REVIEWER, House
from plms_pipeline_tests.models.candidates import house as house_of
from plms_pipeline_tests.models.defs.worlds import Ours, house, later, set_up
from plms_pipeline_tests.models.worlds import market


@pytest.fixture
def instance(sqlite_registry: Registry, settings: Settings, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    set_up(house_of(sqlite_registry, tmp_path), settings)
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def tick(sensor: Any, instance: dg.DagsterInstance) -> Any:
    with dg.build_sensor_context(instance=instance, resources={"plms": Ours()}) as context:
        return sensor(context)


def config_of(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = request.run_config["ops"]["train_and_judge"]["config"]
    return found


def requests(sensor: Any, instance: dg.DagsterInstance) -> list[Any]:
    return list(getattr(tick(sensor, instance), "run_requests", None) or [])


def import_market(folder: Path, *, bars: int) -> str:
    write_prices(folder / "market.csv", market(3, bars).raw)
    done = import_prices(
        prepare(Source(folder / "market.csv"), clock=house().clock),
        root=house().root,
        clock=house().clock,
        replace=True,
    )
    return done.digest


def launched(instance: dg.DagsterInstance, request: Any, status: dg.DagsterRunStatus) -> None:
    """As the daemon creates the run of a request."""
    instance.add_run(
        dg.DagsterRun(job_name=JOB, run_id=f"run-{instance.get_runs_count()}", tags=request.tags, status=status)
    )


def test_data_that_change_are_asked_for_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Without prices there is nothing to train; with a run under way there is nothing to ask for."""
    assert requests(sensors.dataset_changed, instance) == []
    digest = import_market(tmp_path, bars=200)
    (request,) = requests(sensors.dataset_changed, instance)
    assert request.tags == {DATA_TAG: digest}
    launched(instance, request, dg.DagsterRunStatus.STARTING)
    assert requests(sensors.dataset_changed, instance) == []


def test_a_file_that_is_only_touched_trains_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The source trained again after a bare `touch`."""
    digest = import_market(tmp_path, bars=400)
    assert len(requests(sensors.dataset_changed, instance)) == 1
    assert house().candidate("c1").bytes.data == digest
    later(days=2)
    import_market(tmp_path, bars=400)
    assert requests(sensors.dataset_changed, instance) == []
    import_market(tmp_path, bars=390)
    assert len(requests(sensors.dataset_changed, instance)) == 1


def test_a_recorded_approval_is_carried_out_in_the_tick_and_once(instance: dg.DagsterInstance) -> None:
    """A promotion that somebody has to remember is forgotten."""
    house().candidate("c1")
    assert tick(sensors.decision_recorded, instance).dynamic_partitions_requests[0].partition_keys == ["c1"]
    instance.add_dynamic_partitions(str(CANDIDATES.name), ["c1"])
    assert isinstance(tick(sensors.decision_recorded, instance), dg.SkipReason)
    house().decide("c1", "approve")
    told = tick(sensors.decision_recorded, instance)
    events = [(event.asset_key.to_user_string(), event.partition) for event in told.asset_events]
    assert events == [("promoted_model", "c1")]
    assert serving() == "c1"
    assert isinstance(tick(sensors.decision_recorded, instance), dg.SkipReason)


def serving() -> str | None:
    with house().registry.reading() as session:
        champion = champions.current(session, MARKET)
    return None if champion is None else champion.candidate_id


def test_nothing_goes_live_that_nobody_approved_or_that_somebody_halted(instance: dg.DagsterInstance) -> None:
    """A sensor that promotes what it likes is no gate."""
    own = house()
    for name in ("c1", "c2"):
        own.candidate(name, seed=int(name[1:]))
    instance.add_dynamic_partitions(str(CANDIDATES.name), ["c1", "c2"])
    tick(sensors.decision_recorded, instance)
    assert serving() is None
    own.decide("c1", "approve")
    own.decide("c2", "halt", role="compliance")
    told = tick(sensors.decision_recorded, instance)
    assert "promotion_halted" in told.skip_message
    assert serving() is None
    with own.registry.reading() as session:
        (halt,) = switches.open_halts(session, MARKET)
    lift_halt(
        own.registry, halt_id=halt.halt_id, reason="was a false alarm", actor=REVIEWER, places=own.places, clock=own.clock,
        ids=own.ids,
    )  # fmt: skip
    tick(sensors.decision_recorded, instance)
    assert serving() == "c1"


def test_a_candidate_that_was_changed_after_its_approval_stays_where_it_is(instance: dg.DagsterInstance) -> None:
    """Between the signature and the promotion lies a disk that many can write."""
    found = house().candidate("c1")
    instance.add_dynamic_partitions(str(CANDIDATES.name), ["c1"])
    house().decide("c1", "approve")
    summary = house().root / found.folder / "evaluation" / "operations_summary.json"
    summary.write_bytes(summary.read_bytes().replace(b"1.0", b"9.0"))
    assert "summary_altered" in tick(sensors.decision_recorded, instance).skip_message
    assert serving() is None


def test_candidates_whose_time_is_over_expire(instance: dg.DagsterInstance) -> None:
    """Time approves nothing."""
    house().candidate("c1")
    instance.add_dynamic_partitions(str(CANDIDATES.name), ["c1"])
    later(days=15)
    assert "c1 expired" in tick(sensors.decision_recorded, instance).skip_message
    with house().registry.reading() as session:
        found = candidates.find(session, "c1")
    assert found is not None
    assert found.state == "expired"


def look(own: House, promotion_id: str, action: str, hours: float) -> None:
    with own.registry.writing() as session:
        session.add(
            LiveSnapshot(
                family=MARKET, promotion_id=promotion_id, at=own.clock.now() + timedelta(hours=hours), rows=10,
                metrics_json={}, alerts_json=[], action=action,
            )
        )  # fmt: skip


def test_drift_asks_for_one_training_and_a_new_candidate_answers_it(instance: dg.DagsterInstance) -> None:
    """One drift that is answered every minute fills the disk by morning."""
    own = house()
    champion = own.champion("c1").champion
    assert requests(sensors.champion_drifted, instance) == []
    look(own, champion.promotion_id, "request_retrain", 1)
    look(own, champion.promotion_id, "request_retrain", 2)
    (request,) = requests(sensors.champion_drifted, instance)
    (again,) = requests(sensors.champion_drifted, instance)
    assert request.run_key == again.run_key
    # With its own experiment: the default one in its place is another model, and no answer to its drift.
    # Nobody is there to choose another parent when its files are gone.
    assert (config_of(request)["start_from"], config_of(request)["cold_if_lost"]) == ("c1", True)
    later(hours=3)
    house().candidate("c2", seed=2)
    assert requests(sensors.champion_drifted, instance) == []


def test_a_candidate_that_was_sent_back_is_trained_again_once(instance: dg.DagsterInstance) -> None:
    """Whoever decides `request_retrain` expects a training, and not to launch it."""
    house().candidate("c1")
    house().decide("c1", "request_retrain", role="ml_engineer")
    (request,) = requests(sensors.champion_drifted, instance)
    assert "c1" in request.run_key
    assert config_of(request)["start_from"] == "c1"
    launched(instance, request, dg.DagsterRunStatus.STARTED)
    assert requests(sensors.champion_drifted, instance) == []


def test_a_registry_that_is_away_is_told_and_asked_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sensor that raises is red for ever, and one that answers nothing is green."""
    from plms_pipeline.errors import Unavailable

    def away(_self: Any) -> Registry:
        raise Unavailable("The registry is away.")

    monkeypatch.setattr(Ours, "registry", away)
    for sensor in sensors.SENSORS:
        assert "unavailable" in tick(sensor, instance).skip_message


def night(instance: dg.DagsterInstance) -> Any:
    return summary.champion_request(instance, Ours(), house().clock.now())


def test_the_champion_is_told_every_night_whether_or_not_prices_were_imported(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A night that is red because there is no feed is red every night."""
    assert isinstance(night(instance), dg.SkipReason)
    house().champion("c1")
    alone = night(instance)
    assert (alone.partition_key, alone.run_key) == ("c1", "2026-03-01")
    assert {key.to_user_string() for key in alone.asset_selection} == set(summary.OF_CHAMPION)
    assert instance.get_dynamic_partitions(str(CANDIDATES.name)) == ["c1"]
    import_market(tmp_path, bars=200)
    assert len(night(instance).asset_selection) == len(summary.OF_CHAMPION) + len(summary.OF_PRICES)


def test_the_week_asks_whatever_the_cooldown_says(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Data that change every day would otherwise be trained on at the cooldown's hour for ever."""
    import_market(tmp_path, bars=400)
    house().candidate("c1")
    import_market(tmp_path, bars=390)
    assert requests(sensors.dataset_changed, instance) == []
    request: Any = sensors.weekly_request(instance, Ours(), house().clock.now())
    assert request.tags[DATA_TAG]
    assert request.run_config["ops"]["train_and_judge"]["config"]["only_if_changed"]
