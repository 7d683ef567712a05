"""Is everything told, at least once, and does the telling go wrong as ordered?"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

from plms_pipeline.pas.protocol import RunCompleted, TaskCompleted
from plms_pipeline.pas.reference.actions.telling import (
    HINT_PATH,
    RUN_PATH,
    TASK_PATH,
    Delivery,
    due_deliveries,
    record_deliveries,
)
from plms_pipeline.pas.reference.store import Event, events_by_state
from plms_pipeline_tests.pas.reference.conftest import Bench


def one_good_run(bench: Bench) -> None:
    bench.start()
    bench.card("a")
    bench.work(101)


def due(bench: Bench) -> list[Event]:
    return due_deliveries(bench.world, 100)


def test_the_end_of_a_task_and_of_a_run_is_told(bench: Bench) -> None:
    """The stub told nobody: its only notice was refused as malformed, every time."""
    one_good_run(bench)
    events = {event.path: json.loads(event.body) for event in due(bench)}
    assert set(events) == {TASK_PATH, RUN_PATH, HINT_PATH}
    task = TaskCompleted.model_validate(events[TASK_PATH])
    assert task.receipt is not None
    assert (task.status, task.attempt, task.metrics.time_ms) == ("succeeded", 1, 100_000)
    run = RunCompleted.model_validate(events[RUN_PATH])
    assert run.validation_pass
    assert (run.summary.tasks_succeeded, run.summary.tasks_failed) == (1, 0)
    assert events[HINT_PATH] == {"project_id": 1, "run_id": "r"}


def test_the_same_end_has_the_same_event_id(bench: Bench) -> None:
    """The receiver tells a repetition by its id; a new id each time would count the receipt again."""
    one_good_run(bench)
    first = [event.event_id for event in due(bench)]
    assert len(set(first)) == 3
    record_deliveries(bench.world, [Delivery(event, 503) for event in due(bench)])
    bench.clock.at += timedelta(hours=1)
    assert {event.event_id for event in due(bench)} == set(first)


def test_an_event_is_repeated_until_somebody_took_it(bench: Bench) -> None:
    """At least once: an outage of the receiver, whatever it answers meanwhile, loses nothing."""
    one_good_run(bench)
    waits = []
    for status in (None, 500, 503, 429, 401, 404, None):
        before = bench.world.now()
        record_deliveries(bench.world, [Delivery(event, status, "ConnectError") for event in due(bench)])
        assert due(bench) == []
        while len(due(bench)) < 3:
            bench.clock.at += timedelta(seconds=0.25)
        waits.append(bench.world.now() - before)
    assert max(waits) <= 30.25
    record_deliveries(bench.world, [Delivery(event, 202) for event in due(bench)])
    bench.clock.at += timedelta(days=1)
    assert due(bench) == []
    assert events_by_state(bench.world.db) == {"delivered": 3}


def test_what_the_receiver_refuses_for_good_is_not_repeated_for_ever(bench: Bench) -> None:
    """A 409 or 422 is the same tomorrow; the event stays in the store as refused."""
    one_good_run(bench)
    record_deliveries(bench.world, [Delivery(event, 422) for event in due(bench)])
    assert events_by_state(bench.world.db) == {"refused": 3}


def test_somebody_who_asks_for_time_gets_it(bench: Bench) -> None:
    """Retry-After is a floor, not a hint."""
    one_good_run(bench)
    record_deliveries(bench.world, [Delivery(event, 503, retry_after_s=120) for event in due(bench)])
    bench.clock.at += timedelta(seconds=119)
    assert due(bench) == []
    bench.clock.at += timedelta(seconds=2)
    assert len(due(bench)) == 3


def test_each_event_fault_does_what_it_says(bench: Bench) -> None:
    """A fault switch that does nothing makes the proof that uses it worthless."""
    bench.faults(lost=1.0)
    one_good_run(bench)
    assert Counter(state for _, state in bench.events()) == {"lost": 3}
    assert bench.status().tasks[0].receipt is not None

    bench.faults(duplicate=1.0)
    bench.start("r2")
    bench.card("a", "r2")
    bench.work(200)
    by_id = Counter(event.event_id for event in due(bench))
    assert set(by_id.values()) == {2}
    assert len({(event.event_id, event.body) for event in due(bench)}) == len(by_id)


def test_late_and_reordered_events_come_later(bench: Bench) -> None:
    """Late: ten virtual minutes; reordered: overtaken within two."""
    bench.faults(late=1.0)
    one_good_run(bench)
    bench.clock.at += timedelta(seconds=590)
    assert due(bench) == []
    bench.clock.at += timedelta(seconds=20)
    assert len(due(bench)) == 3
    bench.faults(reordered=1.0)
    for number in range(20):
        bench.start(f"q{number}")
        bench.card("a", f"q{number}")
    bench.work(600)
    paths = [event.path for event in due(bench) if b'"q' in event.body]
    assert paths != sorted(paths, key=[TASK_PATH, RUN_PATH, HINT_PATH].index)


def test_a_forged_event_stands_beside_the_true_one(bench: Bench) -> None:
    """Under another id, so that it cannot spoil the true one, and sent only once."""
    bench.faults(forged=1.0)
    one_good_run(bench)
    forged = [event for event in due(bench) if event.is_forged]
    true = [event for event in due(bench) if not event.is_forged]
    assert len(forged) == len(true) == 3
    assert not {event.event_id for event in forged} & {event.event_id for event in true}
    claims = {json.loads(event.body).get("status") for event in forged if event.path == TASK_PATH}
    assert claims == {"failed"}
    record_deliveries(bench.world, [Delivery(event, 401) for event in forged])
    bench.clock.at += timedelta(hours=1)
    assert not [event for event in due(bench) if event.is_forged]


def test_spoilt_receipts_are_spoilt_in_the_event_only(bench: Bench) -> None:
    """Whoever reconciles finds the truth in the status."""
    bench.faults(negative=1.0)
    one_good_run(bench)
    [told] = [json.loads(event.body) for event in due(bench) if event.path == TASK_PATH]
    assert told["receipt"]["cost_usd"] == -1
    [task] = bench.status().tasks
    assert task.receipt is not None
    assert task.receipt.cost_usd == 1

    bench.faults(partial=1.0)
    bench.start("r2")
    bench.card("a", "r2")
    bench.work(101)
    [told] = [json.loads(e.body) for e in due(bench) if e.path == TASK_PATH and b'"r2"' in e.body]
    assert TaskCompleted.model_validate(told).receipt is not None
    assert told["receipt"]["cost_usd"] is None
