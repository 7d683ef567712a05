"""Is everything that was done counted, once, by every look?"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.clock import FrozenClock
from plms_pipeline.monitoring.exporter.catalogue.work import RUN_EDGES_S, TASK_EDGES_S
from plms_pipeline.monitoring.exporter.series import spread_of
from plms_pipeline.monitoring.exporter.tally import Tally
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import KpiReceipt, Obligation, Observation, StateTransition
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import (
    NOW,
    add,
    ago,
    nonzero,
    plan,
    projects,
    reader,
    receipt,
    receipts,
    runs,
    spread,
    value,
)


def test_receipts_are_counted_by_lane_and_end(registry: Registry, settings: Settings) -> None:
    """Otherwise failure and retry rates, durations and spend of a lane are nobody's."""
    projects(registry, {1: "executing"})
    runs(registry, [("r1", 1, "RUNNING")])
    runs(registry, [("old", 1, "SUCCESS")], source="swebench", source_file_sha256="0" * 64)
    receipts(registry, [
        receipt("r1", 1, "d", ago(days=8)), receipt("r1", 1, "a", ago(hours=1)),
        receipt("r1", 1, "a", ago(minutes=50), attempt=2, duration_ms=90_000),
        receipt("r1", 1, "b", ago(minutes=1), status="FAIL", duration_ms=None, tokens=None, cost_usd=None),
        receipt("r1", 1, "c", ago(minutes=1), lane_id=6100, duration_ms=5_000),
        receipt("old", 1, "e", ago(hours=1), source="swebench"),
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_tasks_ended_total") == {
        ("4200", "SUCCESS"): 2, ("4200", "FAIL"): 1, ("6100", "SUCCESS"): 1,
    }  # fmt: skip
    assert nonzero(samples, "plms_tasks_retried_total") == {("4200",): 1}
    assert value(samples, "plms_task_cost_usd_total", "4200") == pytest.approx(0.2)
    assert value(samples, "plms_task_tokens_total", "4200") == 3000
    assert spread(samples, "plms_task_duration_seconds", "4200") == spread_of([60.0, 90.0], TASK_EDGES_S)
    assert spread(samples, "plms_task_duration_seconds", "6100") == spread_of([5.0], TASK_EDGES_S)


def test_a_second_look_counts_what_came_since_and_what_came_late(registry: Registry, settings: Settings) -> None:
    """Otherwise a receipt that was committed a moment after a newer one is never counted."""
    projects(registry, {1: "executing"})
    runs(registry, [("r1", 1, "RUNNING")])
    looks = reader(settings)
    receipts(registry, [receipt("r1", 1, "a", ago(hours=1), id=10), receipt("r1", 1, "b", ago(minutes=1), id=30)])
    assert value(looks.read(registry), "plms_tasks_ended_total", "4200", "SUCCESS") == 2
    receipts(registry, [receipt("r1", 1, "late", ago(minutes=2), id=20)])
    assert value(looks.read(registry), "plms_tasks_ended_total", "4200", "SUCCESS") == 3
    looks.clock = FrozenClock(NOW + timedelta(hours=1))
    assert value(looks.read(registry), "plms_tasks_ended_total", "4200", "SUCCESS") == 3
    receipts(registry, [receipt("r1", 1, "c", NOW + timedelta(minutes=50), id=40)])
    assert value(looks.read(registry), "plms_tasks_ended_total", "4200", "SUCCESS") == 4


def test_what_was_spent_today_begins_anew_with_the_day(sqlite_registry: Registry, settings: Settings) -> None:
    """Otherwise yesterday's money keeps the alert of the day's spend ringing."""
    projects(sqlite_registry, {1: "executing"})
    runs(sqlite_registry, [("r1", 1, "RUNNING")])
    looks = reader(settings)
    receipts(sqlite_registry, [receipt("r1", 1, "a", ago(hours=1), cost_usd=Decimal(5))])
    assert value(looks.read(sqlite_registry), "plms_daily_spend_usd") == 5
    looks.clock = FrozenClock(NOW + timedelta(hours=11))
    assert value(looks.read(sqlite_registry), "plms_daily_spend_usd") == 5
    looks.clock = FrozenClock(NOW + timedelta(hours=13))
    receipts(sqlite_registry, [receipt("r1", 1, "b", NOW + timedelta(hours=13), cost_usd=Decimal(2))])
    samples = looks.read(sqlite_registry)
    assert value(samples, "plms_daily_spend_usd") == 2
    assert value(samples, "plms_task_cost_usd_total", "4200") == 7


def test_gates_runs_and_observations_are_counted(registry: Registry, settings: Settings) -> None:
    """Otherwise the pass rate of a lane, the length of a run and late evidence are on no board."""
    projects(registry, {1: "executing"})
    runs(registry, [("r1", 1, "SUCCESS"), ("r2", 1, "FAIL"), ("r3", 1, "RUNNING")])
    gate = {"lane_id": 4200, "kpi_threshold": 1, "measured_at": ago(minutes=20)}
    add(registry, KpiReceipt, [
        {"evaluation_id": str(place), "kpi_name": "k", "pass_": passed, "blocks": blocks, **gate}
        for place, (passed, blocks) in enumerate([(True, True), (False, True), (False, True), (False, False)])
    ])  # fmt: skip
    move = {"subject_type": "run", "sequence": 2, "from_state": "RUNNING", "actor": "a", "is_terminal": True}
    add(registry, StateTransition, [
        {"subject_id": "r1", "to_state": "SUCCESS", "at": ago(minutes=30), **move},
        {"subject_id": "r2", "to_state": "FAIL", "at": ago(minutes=1), **move},
    ])  # fmt: skip
    owed = {"subject_type": "run", "evidence_kind": "heat", "obs_point": "after_completion", "lookup_ref": "l",
            "config_digest": "d", "accepted_at": ago(hours=1), "deadline_at": ago(hours=1), "state": "terminal"}  # fmt: skip
    add(registry, Obligation, [{"obligation_id": n, "subject_id": n, **owed} for n in "12"])
    seen = {"obs_point": "after_completion", "evidence_kind": "heat", "wait_ms": 1, "queue_ms": 1, "polls": 1, "errors": 0,
            "observer_id": "o", "config_digest": "d"}  # fmt: skip
    add(registry, Observation, [
        {"obligation_id": "1", "found": True, "reason": "ok", "at": ago(hours=1), **seen},
        {"obligation_id": "2", "found": False, "reason": "timeout", "at": ago(seconds=1), **seen},
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_kpi_gates_total") == {
        ("4200", "passed", "true"): 1, ("4200", "failed", "true"): 2, ("4200", "failed", "false"): 1,
    }  # fmt: skip
    assert nonzero(samples, "plms_runs_ended_total") == {("baseline", "SUCCESS"): 1, ("baseline", "FAIL"): 1}
    told = spread(samples, "plms_run_duration_seconds")
    assert told.counts == spread_of([1799.9, 1799.9], RUN_EDGES_S).counts
    assert told.total == pytest.approx(3600, abs=0.01)
    assert nonzero(samples, "plms_evidence_observations_total") == {
        ("after_completion", "ok"): 1, ("after_completion", "timeout"): 1,
    }  # fmt: skip


def test_the_error_of_estimates_is_told_per_lane(registry: Registry, settings: Settings) -> None:
    """Otherwise estimates drift by a third and nobody hears of it until the budgets are gone."""
    projects(registry, {1: "executing"})
    plan(registry, 1, ["a", "b", "c"], tokens=1000)
    runs(registry, [("r1", 1, "RUNNING")])
    receipts(registry, [
        receipt("r1", 1, "a", ago(hours=1), tokens=1500), receipt("r1", 1, "b", ago(hours=1), tokens=900),
        receipt("r1", 1, "c", ago(hours=1), tokens=9000, status="FAIL"),
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert value(samples, "plms_calibration_mae_ratio", "4200") == pytest.approx(600 / 2000)
    assert list(samples.cells["plms_calibration_mae_ratio"]) == [("4200",)]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from("ab"), st.integers(0, 5)), max_size=30, unique_by=lambda r: r[0]),
    st.lists(st.integers(0, 45), min_size=1, max_size=8).map(sorted),
)  # fmt: skip
def test_wherever_the_mark_moves_the_sums_are_those_of_all_rows(
    rows: list[tuple[int, str, int]], marks: list[int]
) -> None:
    """Otherwise the sums depend on how often somebody scrapes."""
    tally: Tally[str, int] = Tally()
    expected = {key: sum(amount for _, k, amount in rows if k == key) for key in {key for _, key, _ in rows}}
    for mark in marks:
        since = tally.mark or 0
        behind = [(number <= mark, key, (float(amount),)) for number, key, amount in rows if number > since]
        assert {key: total for key, (total,) in tally.move(mark, behind).items()} == expected


def test_a_reading_that_breaks_off_is_repeated_from_where_it_began() -> None:
    """Otherwise a registry that goes away in the middle of an answer leaves half of it counted twice."""
    tally: Tally[str, int] = Tally()

    def breaking() -> object:
        yield True, "a", (1.0,)
        raise OSError

    with pytest.raises(OSError):
        tally.move(5, breaking())  # type: ignore[arg-type]
    assert tally.mark is None
    assert tally.move(5, [(True, "a", (1.0,))]) == {"a": (1.0,)}
