"""Does a card count once, and is nonsense refused before it waits for ever?"""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.errors import Conflict, NotFound, PlmsError
from plms_pipeline.pas.protocol import CardReference, RunReference
from plms_pipeline.pas.reference.actions.cards import cancel_card, pause_task, resume_task, submit_card
from plms_pipeline.pas.reference.actions.runs import pause_run, resume_run
from plms_pipeline_tests.pas.reference.conftest import Bench, card_message, usd


def reference(task: str, attempt: int = 1) -> CardReference:
    return CardReference(run_id="r", task_id=task, attempt=attempt)


def test_a_card_counts_once_however_often_it_comes(bench: Bench) -> None:
    """After an ambiguous timeout the same card comes again; it must not be worked and paid twice."""
    bench.start(tasks=2)
    first = submit_card(bench.world, card_message("a"))
    bench.work(101)
    again = submit_card(bench.world, card_message("a"))
    assert (again.pas_task_id, again.duplicate) == (first.pas_task_id, True)
    assert bench.status().spend_usd == usd("1")


def test_a_known_key_with_another_body_is_refused(bench: Bench) -> None:
    """Answering "duplicate" to another task would lose it without a word."""
    bench.start()
    submit_card(bench.world, card_message("a"))
    with pytest.raises(Conflict) as raised:
        submit_card(bench.world, card_message("a", budget_usd=3))
    assert raised.value.code == "card_exists"
    with pytest.raises(Conflict) as raised:
        submit_card(bench.world, card_message("a", card_key="another"))
    assert raised.value.code == "attempt_exists"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"lane": 4999}, "unknown_lane"), ({"deps": ["z"]}, "unknown_dependency"), ({"deps": ["b"]}, "cycle"),
        ({"run_id": "other"}, "run_not_found"), ({"payload": {"artifacts_dir": "/etc/x"}}, "bad_artifacts_dir"),
        ({"payload": {"artifacts_dir": "relative"}}, "bad_artifacts_dir"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(bench: Bench, more: dict[str, Any], code: str) -> None:
    """The stub accepted unknown lanes and dependencies; such cards stayed queued for ever."""
    bench.start(tasks=2)
    with pytest.raises(PlmsError) as raised:
        submit_card(bench.world, card_message("b", **more))
    assert raised.value.code == code


def test_a_cycle_through_a_second_attempt_is_found(bench: Bench) -> None:
    """a depends on b; a new attempt at b that depends on a would wait for itself."""
    bench.start(tasks=2)
    bench.faults(failed=1.0)
    bench.card("b")
    bench.work(101)
    bench.faults()
    bench.card("a", deps=["b"])
    with pytest.raises(PlmsError) as raised:
        bench.card("b", attempt=2, deps=["a"])
    assert raised.value.code == "cycle"


def test_dependencies_are_kept(bench: Bench) -> None:
    """The stub worked in order of submission, whatever depended on what."""
    bench.start(tasks=3)
    bench.card("a")
    bench.card("b", deps=["a"])
    bench.card("c", deps=["a", "b"], priority=1.0)
    seen = []
    for _ in range(60):
        bench.work(5)
        seen.append([task for task, state in bench.states().items() if state in ("running", "succeeded")])
    assert [names for n, names in enumerate(seen) if n == 0 or names != seen[n - 1]] == [
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
    ]


def test_what_depends_on_a_failure_is_skipped(bench: Bench) -> None:
    """Left waiting, it holds the run open for ever."""
    bench.start(tasks=3)
    bench.faults(failed=1.0)
    bench.card("a")
    bench.card("b", deps=["a"])
    bench.card("c", deps=["b"])
    bench.work(101)
    assert bench.states() == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert bench.status().status == "needs_review"


def test_a_lane_works_on_no_more_than_its_cap(bench: Bench) -> None:
    """The stub ignored caps; a lane of four that runs twenty is what caps are there to prevent."""
    bench.start(tasks=10)
    for number in range(10):
        bench.card(str(number), priority=number / 10)
    bench.work(1)
    running = [task for task, state in bench.states().items() if state == "running"]
    assert sorted(running) == ["6", "7", "8", "9"]


def test_a_full_run_takes_no_further_task(bench: Bench) -> None:
    """tasks_total is what completion is counted by; one task more would never be waited for."""
    bench.start(tasks=1)
    bench.card("a")
    with pytest.raises(Conflict) as raised:
        bench.card("b")
    assert raised.value.code == "too_many_tasks"


def test_a_new_attempt_needs_the_old_one_to_have_failed(bench: Bench) -> None:
    """Two attempts at once do the same work twice."""
    bench.start(tasks=2)
    bench.card("a")
    with pytest.raises(Conflict) as raised:
        bench.card("a", attempt=2)
    assert raised.value.code == "attempt_open"
    bench.work(101)
    with pytest.raises(Conflict):
        bench.card("a", attempt=2)


def test_the_cards_cap_is_hard(bench: Bench) -> None:
    """The work stops at the moment its cost reaches the cap, charged exactly that, failed for that reason."""
    bench.start(tasks=1)
    bench.card("a", budget_usd=0.3)
    bench.work(29)
    assert bench.states() == {"a": "running"}
    bench.work(2)
    [task] = bench.status().tasks
    assert task.status == "failed"
    assert task.receipt is not None
    assert (task.receipt.cost_usd, task.receipt.time_ms) == (usd("0.3"), 30_000)
    assert "budget" in (task.receipt.error or "")


def test_a_single_card_can_be_cancelled(bench: Bench) -> None:
    """One task that runs away must not cost the whole run; those that wait for it are skipped."""
    bench.start(tasks=3)
    bench.card("a")
    bench.card("b", deps=["a"])
    bench.card("c")
    bench.work(50)
    assert not cancel_card(bench.world, reference("a")).duplicate
    assert cancel_card(bench.world, reference("a")).duplicate
    assert bench.states() == {"a": "cancelled", "b": "skipped", "c": "running"}
    assert bench.status().spend_usd == usd("0.5")
    bench.work(51)
    assert bench.status().status == "needs_review"
    with pytest.raises(NotFound):
        cancel_card(bench.world, reference("z"))


def test_a_single_task_can_be_paused(bench: Bench) -> None:
    """Preemption needs it: one card waits while the run and its other cards go on."""
    bench.start(tasks=2)
    bench.card("a")
    bench.card("b")
    bench.work(30)
    pause_task(bench.world, reference("a"))
    assert pause_task(bench.world, reference("a")).duplicate
    bench.work(500)
    assert bench.states() == {"a": "paused", "b": "succeeded"}
    resume_task(bench.world, reference("a"))
    bench.work(69)
    assert bench.states()["a"] == "running"
    bench.work(2)
    assert bench.status().status == "completed"
    with pytest.raises(Conflict):
        pause_task(bench.world, reference("a"))


def test_a_task_paused_before_it_starts_does_not_start(bench: Bench) -> None:
    """A pause that only reaches what runs lets the queued card through a moment later."""
    bench.start(tasks=1)
    bench.card("a")
    pause_task(bench.world, reference("a"))
    bench.work(500)
    assert bench.states() == {"a": "queued"}
    resume_task(bench.world, reference("a"))
    bench.work(101)
    assert bench.states() == {"a": "succeeded"}


def test_a_task_paused_by_itself_stays_so_when_its_run_goes_on(bench: Bench) -> None:
    """Somebody stopped this one task for a reason; pausing and resuming the run must not forget it."""
    bench.start(tasks=1)
    bench.card("a")
    bench.work(10)
    pause_task(bench.world, reference("a"))
    pause_run(bench.world, RunReference(run_id="r"))
    resume_run(bench.world, RunReference(run_id="r"))
    bench.work(500)
    assert bench.states() == {"a": "paused"}
