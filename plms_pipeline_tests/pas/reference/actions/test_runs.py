"""Do runs begin once, end when their work has, and stay ended?"""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.errors import Conflict, NotFound, Unprocessable
from plms_pipeline.pas.protocol import ArchitectSubmission, RunReference
from plms_pipeline.pas.reference.actions.runs import pause_run, resume_run, start_run, submit_whole, terminate_run
from plms_pipeline_tests.pas.reference.conftest import Bench, card_message, start_message, usd

REFERENCE = RunReference(run_id="r", reason="why")


def test_a_run_without_cards_is_not_complete(bench: Bench) -> None:
    """The stub completed it with validation_pass=true after no work at all, while its cards were still under way."""
    bench.start(tasks=2)
    bench.work(1000)
    assert bench.status().status == "executing"
    bench.card("a")
    bench.work(101)
    assert bench.states() == {"a": "succeeded"}
    assert bench.status().status == "executing"
    bench.card("b")
    bench.work(101)
    assert bench.status().status == "completed"


def test_the_same_start_again_changes_nothing_and_another_body_is_refused(bench: Bench) -> None:
    """A start whose answer was lost is repeated; a run id that was used twice must not mix two runs."""
    assert not start_run(bench.world, start_message(tasks=2)).duplicate
    assert start_run(bench.world, start_message(tasks=2)).duplicate
    with pytest.raises(Conflict, match="already started"):
        start_run(bench.world, start_message(tasks=3))


def test_a_terminated_run_is_not_completed_later(bench: Bench) -> None:
    """The stub's worker went on and wrote "completed" over "terminated"."""
    bench.start(tasks=1)
    bench.card("a")
    bench.work(10)
    assert terminate_run(bench.world, REFERENCE).status == "terminated"
    bench.work(1000)
    status = bench.status()
    assert (status.status, status.reason) == ("terminated", "why")
    assert bench.states() == {"a": "cancelled"}
    with pytest.raises(Conflict, match="terminated"):
        bench.card("b")


def test_what_a_terminated_run_has_taken_is_billed(bench: Bench) -> None:
    """Half of the work costs half of the money; a kill that looks free hides where the budget went."""
    bench.start(tasks=2)
    bench.card("a")
    bench.card("b", deps=["a"])
    bench.work(25)
    terminate_run(bench.world, REFERENCE)
    [first, second] = bench.status().tasks
    assert first.receipt is not None
    assert first.receipt.cost_usd == usd("0.25")
    assert first.receipt.time_ms == 25_000
    assert first.receipt.status == "failed"
    assert second.receipt is None
    assert bench.status().spend_usd == usd("0.25")


def test_asking_for_an_end_that_is_there_is_answered_with_it(bench: Bench) -> None:
    """Two operators press kill: the second must not get an error, nor change how it ended."""
    bench.start()
    bench.card("a")
    bench.work(101)
    assert terminate_run(bench.world, REFERENCE).status == "completed"
    assert bench.status().reason is None


def test_a_paused_run_does_no_work_and_loses_none(bench: Bench) -> None:
    """In the stub pause had no effect; here the clock of the work stands still and goes on."""
    bench.start(tasks=2)
    bench.card("a")
    bench.work(40)
    assert pause_run(bench.world, REFERENCE).status == "paused"
    assert pause_run(bench.world, REFERENCE).status == "paused"
    bench.card("b")
    bench.work(10_000)
    assert bench.states() == {"a": "paused", "b": "queued"}
    assert bench.status().tasks[0].progress == pytest.approx(0.4)
    assert resume_run(bench.world, REFERENCE).status == "executing"
    bench.work(59)
    assert bench.states() == {"a": "running", "b": "running"}
    bench.work(2)
    assert bench.states()["a"] == "succeeded"
    bench.work(41)
    assert bench.status().status == "completed"


def test_an_ended_or_unknown_run_cannot_be_paused(bench: Bench) -> None:
    """A pause that "worked" on a dead run is believed by whoever reads the answer."""
    with pytest.raises(NotFound):
        pause_run(bench.world, REFERENCE)
    bench.start()
    bench.card("a")
    bench.work(101)
    for verb in (pause_run, resume_run):
        with pytest.raises(Conflict, match="completed"):
            verb(bench.world, REFERENCE)


def test_a_failed_task_can_be_tried_again_and_the_run_recovers(bench: Bench) -> None:
    """`needs_review` is an end for the moment: a new attempt opens the run, a good end completes it."""
    bench.faults(failed=1.0)
    bench.start(tasks=1)
    bench.card("a")
    bench.work(101)
    assert (bench.status().status, bench.status().tasks_failed) == ("needs_review", 1)
    bench.faults()
    bench.card("a", attempt=2)
    assert bench.status().status == "executing"
    bench.work(101)
    assert (bench.status().status, bench.status().tasks_failed, bench.status().tasks_completed) == ("completed", 0, 1)


def test_the_runs_cap_is_hard(bench: Bench) -> None:
    """One cent above what was approved is a breach; the run stops exactly at its cap."""
    bench.start(tasks=4, budget=2.5)
    for task in "abcd":
        bench.card(task)
    bench.work(1000)
    status = bench.status()
    assert (status.status, status.spend_usd) == ("terminated", usd("2.5"))
    assert sorted(bench.states().values()) == ["cancelled", "failed", "succeeded", "succeeded"]
    charged = [task.receipt.cost_usd for task in status.tasks if task.receipt is not None]
    assert sum(cost for cost in charged if cost is not None) == usd("2.5")


def whole(**more: Any) -> ArchitectSubmission:
    tasks = [card_message("a", "ours", deps=["b"]), card_message("b", "ours")]
    return ArchitectSubmission.model_validate(
        {
            "project_id": 1,
            "run_kind": "baseline",
            "provider_matrix": {"p": "v1"},
            "run_id": "ours",
            "tasks": tasks,
            **more,
        }
    )


def test_a_whole_run_gets_an_id_of_the_executors_own(bench: Bench) -> None:
    """The guide expects the executor to mint the id, and a repetition to find the same one."""
    first = submit_whole(bench.world, whole(), "key")
    assert first.run_id != "ours"
    again = submit_whole(bench.world, whole(), "key")
    assert (again.run_id, again.duplicate) == (first.run_id, True)
    with pytest.raises(Conflict):
        submit_whole(bench.world, whole(run_kind="replay"), "key")
    bench.work(250)
    assert bench.states(first.run_id) == {"b": "succeeded", "a": "succeeded"}
    assert bench.status(first.run_id).status == "completed"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([card_message("a", deps=["b"]), card_message("b", deps=["a"])], "cycle"),
        ([card_message("a", deps=["z"])], "unknown_dependency"),
        ([card_message("a"), card_message("a", card_key="other")], "task_twice"),
        ([card_message("a", lane=7)], "unknown_lane"),
    ],
)
def test_a_whole_run_that_cannot_work_leaves_nothing_behind(bench: Bench, tasks: list[Any], code: str) -> None:
    """Half a run in the store would run."""
    with pytest.raises(Unprocessable) as raised:
        submit_whole(bench.world, whole(tasks=tasks), "key")
    assert raised.value.code == code
    assert bench.world.db.execute("SELECT count(*) FROM runs").fetchone()[0] == 0
