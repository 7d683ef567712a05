"""Is what the executor says true at that moment?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from plms_pipeline.errors import NotFound
from plms_pipeline.pas.reference.actions.showing import CAPABILITIES, health, portfolio, provider_state, run_status
from plms_pipeline_tests.pas.reference.conftest import Bench


def test_an_unknown_run_is_said_to_be_unknown(bench: Bench) -> None:
    """An empty status would be read as a run that works."""
    with pytest.raises(NotFound) as raised:
        run_status(bench.world, "nobody")
    assert (raised.value.code, raised.value.http_status) == ("run_not_found", 404)


def test_a_working_task_beats_every_thirty_seconds(bench: Bench) -> None:
    """Two missed beats are an alarm; a task that works must not raise it."""
    bench.start()
    bench.card("a")
    bench.work(0.5)
    started = bench.status().tasks[0].last_heartbeat_at
    assert started is not None
    for seconds in range(1, 99, 7):
        bench.work(7)
        [task] = bench.status().tasks
        if task.status == "running":
            assert task.last_heartbeat_at is not None
            assert bench.clock.at - task.last_heartbeat_at <= timedelta(seconds=30)
            assert task.progress == pytest.approx((seconds + 7 - 1 + 0.5) / 100, abs=0.02)


def test_missed_heartbeats_stop_at_the_first(bench: Bench) -> None:
    """The fault that the supervision of stuck work is tried with."""
    bench.faults(missed_heartbeats=1.0)
    bench.start()
    bench.card("a")
    bench.work(95)
    [task] = bench.status().tasks
    assert task.last_heartbeat_at is not None
    assert bench.clock.at - task.last_heartbeat_at > timedelta(seconds=90)


def test_receipts_agree_with_themselves(bench: Bench) -> None:
    """An importer refuses a receipt whose moments contradict its duration, or that ends in the future."""
    bench.start()
    bench.card("a", provider_version="v9")
    bench.work(150)
    receipt = bench.status().tasks[0].receipt
    assert receipt is not None
    assert receipt.completed_at <= bench.clock.at
    assert (receipt.completed_at - receipt.started_at) == timedelta(milliseconds=receipt.time_ms or 0)
    assert receipt.provider_version == "v9"
    assert receipt.echo_cos is not None
    assert receipt.echo_cos >= 0.82


def test_providers_are_known_from_starts_and_keep_their_version(bench: Bench) -> None:
    """A start that claims another version than the router's is the drift that snapshots are there to find."""
    bench.start("r1", provider_matrix={"p": "v1"})
    bench.start("r2", provider_matrix={"p": "v2", "q": "w"})
    state = provider_state(bench.world, 1)
    assert state.providers == {"p": "v1", "q": "w"}
    assert state.taken_at == bench.clock.at


def test_a_wrong_version_shows_in_state_and_receipt(bench: Bench) -> None:
    """Both sides of the comparison must be able to go wrong."""
    bench.faults(wrong_version=1.0)
    bench.start()
    bench.card("a")
    bench.work(101)
    assert provider_state(bench.world, 1).providers == {"p": "v1.drift"}
    receipt = bench.status().tasks[0].receipt
    assert receipt is not None
    assert receipt.provider_version == "v1.drift"


def test_outliers_cost_a_multiple(bench: Bench) -> None:
    """Robust estimates are tried with them."""
    bench.faults(outlier=1.0)
    bench.start()
    bench.card("a")
    bench.work(999)
    assert bench.states() == {"a": "running"}
    bench.work(2)
    receipt = bench.status().tasks[0].receipt
    assert receipt is not None
    assert (receipt.cost_usd, receipt.time_ms) == (20, 1_000_000)


def test_health_and_portfolio_count_what_is_there(bench: Bench) -> None:
    """The stub's utilisation was a constant."""
    bench.start(tasks=6)
    for number in range(6):
        bench.card(str(number), lane=4200 if number < 5 else 5100)
    bench.work(1)
    shown = portfolio(bench.world)
    assert shown["lane_utilization"]["4200"] == 1.0
    assert shown["lane_utilization"]["5100"] == 0.5
    assert (shown["active_runs"], shown["queued_tasks"]) == (1, 1)
    assert shown["fairness_weights"] == {"r": 1.0}
    bench.work(1000)
    told = health(bench.world)
    assert (told.status, told.active_runs, told.total_tasks, told.total_receipts) == ("ok", 0, 6, 6)
    assert {"pause_task", "cancel_card"} <= set(told.capabilities) == set(CAPABILITIES)
