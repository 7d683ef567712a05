"""Is what ended at the executor found without any event, and nothing made up beside it?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from plms_pipeline.pas.client import PasUnavailable
from plms_pipeline.pas.protocol import RunStatus
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import InboxEvent, JobCard, OutboxEvent, ProjectRun, RunAlias, RunTask, TaskReceipt
from plms_pipeline.runs.actions.reconcile import ReconcileResult, reconcile_runs
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.store import outbox, words
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.commits import commits
from plms_pipeline_tests.runs.worked import AT, Planned, Worked, ended, outcomes, rows


class Executor:
    """An executor that knows some runs; `None` for a run that it does not know, `away` when it does not answer."""

    def __init__(self) -> None:
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.paused: set[str] = set()
        self.away = False

    def run_status(self, run_id: str) -> RunStatus | None:
        self.asked.append(run_id)
        if self.away:
            raise PasUnavailable("nobody there")
        tasks = self.runs.get(run_id)
        if tasks is None:
            return None
        status = "paused" if run_id in self.paused else "executing"
        return RunStatus.model_validate(
            {"run_id": run_id, "status": status, "tasks_total": len(tasks), "tasks_completed": 0, "tasks_failed": 0,
             "spend_usd": 0, "tasks": tasks}
        )  # fmt: skip

    def knows(self, run_id: str, task_id: str, status: str, **more: Any) -> None:
        task = {"task_id": task_id, "attempt": 1, "lane": 6100, "status": status, **more}
        self.runs.setdefault(run_id, []).append(task)


@pytest.fixture
def worked(registry: Registry, settings: Settings) -> Iterator[Worked]:
    return Worked(registry, settings)


@pytest.fixture
def executor() -> Executor:
    return Executor()


def compare(worked: Worked, executor: Executor, **more: Any) -> ReconcileResult:
    return reconcile_runs(
        worked.registry, settings=worked.settings, clock=worked.clock, pas=executor, elapsed=time.monotonic, **more
    )


def receipt(run_id: str, task_id: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = ended(run_id, task_id, **more)["receipt"]
    return found


def test_a_lost_event_is_found_in_the_status_and_counts_once(worked: Worked, executor: Executor) -> None:
    """Otherwise a lost event keeps its run open for ever; and when it comes after all it must not count again."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "succeeded", receipt=receipt(run_id, "a"))
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).told == 1
    assert compare(worked, executor).told == 0
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "task_id") == [("a",)]
    assert outcomes(worked.registry)[-1] == ("ignored", "this attempt is booked already")


def test_young_runs_are_left_to_their_events(worked: Worked, executor: Executor) -> None:
    """Every run would be asked about all the time."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "succeeded")
    worked.clock.passes(seconds=59)
    assert compare(worked, executor).compared == 0
    assert compare(worked, executor, only={run_id}).told == 1


def test_a_run_that_the_executor_does_not_know_ends_with_that_reason_after_a_while(
    worked: Worked, executor: Executor
) -> None:
    """An executor that lost its disk never tells; one that was asked too early has not been told yet."""
    run_id = worked.run([Planned("a"), Planned("b", depends_on=["a"], is_submitted=False)])
    worked.clock.passes(seconds=30)
    assert compare(worked, executor, only={run_id}).lost == 0
    worked.clock.passes(seconds=31)
    assert compare(worked, executor).lost == 1
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("FAIL", "failed")]
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "FAIL"), ("b", "FAIL")]
    assert rows(worked.registry, JobCard, "state") == [("CANCELLED",), ("CANCELLED",)]
    assert outcomes(worked.registry)[0][1] == "the executor does not know this run (any more)"


def test_an_executor_that_does_not_answer_has_said_nothing(worked: Worked, executor: Executor) -> None:
    """All runs would fail while the executor restarts."""
    worked.run([Planned("a")])
    executor.away = True
    worked.clock.passes(days=1)
    found = compare(worked, executor)
    assert (found.lost, found.away) == (0, "nobody there")
    assert rows(worked.registry, InboxEvent, "id") == []


def test_a_receipt_that_cannot_be_believed_is_left_out_and_the_end_is_told(worked: Worked, executor: Executor) -> None:
    """The run would hang on a receipt that no repetition makes better; that it ended is true all the same."""
    run_id = worked.run([Planned("a"), Planned("b")])
    executor.knows(run_id, "a", "succeeded", receipt={**receipt(run_id, "a"), "cost_usd": -1})
    executor.knows(run_id, "b", "succeeded", receipt={**receipt(run_id, "b"), "cost_usd": 1_000_000})
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).told == 2
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]
    assert rows(worked.registry, TaskReceipt, "task_id", "cost_usd", "status") == [
        ("a", None, "SUCCESS"),
        ("b", None, "SUCCESS"),
    ]


def test_what_was_cancelled_over_there_ends_without_a_receipt(worked: Worked, executor: Executor) -> None:
    """Nothing was done, so nothing was spent."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "cancelled")
    worked.clock.passes(minutes=2)
    compare(worked, executor)
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, RunTask, "status") == [("FAIL",)]
    assert rows(worked.registry, TaskReceipt, "id") == []


def test_a_card_that_the_executor_never_got_is_handed_over_again(worked: Worked, executor: Executor) -> None:
    """Its key makes that safe; without it the task would wait for ever."""
    run_id = worked.run([Planned("a"), Planned("b")])
    beat = (AT + timedelta(seconds=90)).isoformat()
    executor.knows(run_id, "a", "running", last_heartbeat_at=beat)
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).again == 1
    assert rows(worked.registry, JobCard, "task_id", "state", "last_heartbeat_at") == [
        ("a", "SUBMITTED", AT + timedelta(seconds=90)),
        ("b", "WAITING", None),
    ]


def test_an_attempt_that_the_executor_has_left_behind_has_failed(worked: Worked, executor: Executor) -> None:
    """Books that were restored are behind the executor, which tells of the newest attempt: the task stayed RUNNING for ever,
    its card handed over again and again."""
    run_id = worked.run([Planned("a")], max_attempts=2)
    executor.knows(run_id, "a", "succeeded", attempt=2, receipt=receipt(run_id, "a", attempt=2))
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).told == 1
    assert compare(worked, executor).told == 0
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "attempt", "status", "cost_usd") == [(1, "FAIL", None)]
    assert rows(worked.registry, JobCard, "attempt", "state") == [(1, "ENDED"), (2, "WAITING")]
    assert rows(worked.registry, ProjectRun, "status") == [("RUNNING",)]


def test_the_executor_is_asked_by_the_name_it_gave_the_run(worked: Worked, executor: Executor) -> None:
    """One dialect mints its own ids, and its events bear them."""
    run_id = worked.run([Planned("a")])
    with worked.registry.writing() as session:
        session.execute(insert(RunAlias).values(alias="theirs-7", run_id=run_id, vocabulary="pas", created_at=AT))
    executor.knows("theirs-7", "a", "succeeded", receipt=receipt("theirs-7", "a"))
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).told == 1
    assert executor.asked == ["theirs-7"]
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "run_id") == [(run_id,)]
    worked.tell(ended("theirs-7", "a"))
    settle_due(worked.world, holder="here")
    assert outcomes(worked.registry)[-1][0] == "ignored"


def test_an_event_that_waits_is_not_told_a_second_time(worked: Worked, executor: Executor) -> None:
    """The inbox would fill while nobody settles."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "succeeded", receipt=receipt(run_id, "a"))
    worked.tell(ended(run_id, "a"))
    worked.clock.passes(minutes=2)
    assert compare(worked, executor).told == 0


def test_hints_name_the_runs_to_look_at_and_change_nothing(worked: Worked) -> None:
    """`run_completed` says whether the executor thinks the run was good; our tasks and gates decide."""
    run_id = worked.run([Planned("a")])
    worked.tell({"run_id": run_id, "project_id": 1}, endpoint="completion")
    summary = {"tasks_total": 1, "tasks_succeeded": 1, "tasks_failed": 0, "spend_usd": 1}
    worked.tell({"run_id": run_id, "validation_pass": True, "summary": summary}, endpoint="run_completed")
    found = settle_due(worked.world, holder="here")
    assert (found.settled, found.hinted) == (2, (run_id,))
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("RUNNING", "pending")]


def test_many_runs_are_compared_in_few_transactions(worked: Worked, executor: Executor) -> None:
    """One per run and event held up every event that came in, just when many were late."""
    for n in range(8):
        run_id = worked.run([Planned("a"), Planned("b"), Planned("c")])
        executor.knows(run_id, "a", "succeeded", receipt=receipt(run_id, "a"))
        executor.knows(run_id, "b", "running", last_heartbeat_at=(AT + timedelta(seconds=90 + n)).isoformat())
    worked.clock.passes(minutes=2)
    with commits(worked.registry) as counted:
        found = compare(worked, executor)
    assert (found.compared, found.told, found.again) == (8, 8, 8)
    assert len(counted) == 1
    with commits(worked.registry) as counted:
        compare(worked, executor)
    assert counted == []  # nothing new, nothing written: a heartbeat of the same minute is none


def test_what_was_found_before_the_executor_went_away_is_kept(worked: Worked, executor: Executor) -> None:
    """It would be asked for again at each restart, and never be told while the executor comes and goes."""
    first, second = worked.run([Planned("a")]), worked.run([Planned("a")])
    for run_id in (first, second):
        executor.knows(run_id, "a", "succeeded", receipt=receipt(run_id, "a"))
    ask = executor.run_status

    def once(run_id: str) -> RunStatus | None:
        executor.away = bool(executor.asked)
        return ask(run_id)

    executor.run_status = once  # type: ignore[method-assign] - an executor that dies after its first answer
    worked.clock.passes(minutes=2)
    found = compare(worked, executor)
    assert (found.told, found.away) == (1, "nobody there")


def test_a_receipt_of_an_executor_whose_clock_runs_ahead_is_believed_as_from_an_event(
    worked: Worked, executor: Executor
) -> None:
    """An event may be five minutes ahead; the same receipt, found in the status, was thrown away for one second."""
    run_id = worked.run([Planned("a")])
    worked.clock.passes(minutes=2)
    at = worked.clock.now() + timedelta(seconds=30)
    times = {"started_at": (at - timedelta(seconds=60)).isoformat(), "completed_at": at.isoformat()}
    executor.knows(run_id, "a", "succeeded", receipt={**receipt(run_id, "a"), **times})
    compare(worked, executor)
    settle_due(worked.world, holder="here")
    assert [cost is not None for (cost,) in rows(worked.registry, TaskReceipt, "cost_usd")] == [True]


def test_an_answer_about_another_run_ends_nothing(worked: Worked, executor: Executor) -> None:
    """A proxy that mixes up answers ended tasks with the work, and at the cost, of another project's run."""
    mine, other = worked.run([Planned("a")]), worked.run([Planned("a")])
    executor.knows(other, "a", "succeeded", receipt=receipt(other, "a"))
    ask = executor.run_status
    executor.run_status = lambda _: ask(other)  # type: ignore[method-assign] - it answers the same to everybody
    worked.clock.passes(minutes=2)
    found = compare(worked, executor)
    assert (found.compared, found.told) == (1, 1)
    assert rows(worked.registry, InboxEvent, "run_id") == [(other,)]
    executor.runs = {mine: [], other: []}
    executor.run_status = ask  # type: ignore[method-assign] - as it was
    executor.knows(mine, "a", "succeeded", receipt=receipt(other, "a"))
    compare(worked, executor, only={mine})
    settle_due(worked.world, holder="here")
    costs = dict(rows(worked.registry, TaskReceipt, "run_id", "cost_usd"))
    assert (costs[mine], costs[other] is None) == (None, False)


def say(worked: Worked, kind: str, run_id: str) -> None:
    """Somebody asks for a pause or a resumption."""
    now = worked.clock.now()
    with worked.registry.writing() as session:
        words.ask(
            session, kind, run_id, now=now, payload={"reason": "r"}, key=f"{kind}:{now}", reason="asked otherwise"
        )


def hear(worked: Worked, kind: str, *, holder: str) -> int:
    """The executor hears the word from `holder`, who writes nothing about it yet."""
    now = worked.clock.now()
    with worked.registry.writing() as session:
        (effect,) = outbox.claim(
            session, (kind,), holder=holder, now=now, lease_until=now + timedelta(seconds=15), limit=1
        )
    return effect.id


def done(worked: Worked, effect_id: int) -> None:
    with worked.registry.writing() as session:
        outbox.done(session, effect_id, now=worked.clock.now())


def pending(worked: Worked) -> list[str]:
    return [kind for kind, state in rows(worked.registry, OutboxEvent, "kind", "state") if state == "pending"]


@pytest.mark.parametrize(("first", "last"), [(words.PAUSE_RUN, words.RESUME_RUN), (words.RESUME_RUN, words.PAUSE_RUN)])
def test_a_withdrawn_word_that_a_dead_sender_said_is_found_and_the_last_is_said_again_once(
    worked: Worked, executor: Executor, first: str, last: str
) -> None:
    """A laptop closes with a pause in its hand, the owner resumes, the laptop opens, says it and dies: his run stood still for
    ever. And an executor that pauses again by itself is not told every half minute."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "running")
    say(worked, first, run_id)
    hear(worked, first, holder="sleeper")
    worked.clock.passes(seconds=20)
    say(worked, last, run_id)
    done(worked, hear(worked, last, holder="here"))
    executor.paused = {run_id} if first == words.PAUSE_RUN else set()
    worked.clock.passes(minutes=2)
    compare(worked, executor)
    assert pending(worked) == [last]
    done(worked, hear(worked, last, holder="here"))
    compare(worked, executor)
    assert pending(worked) == []


def test_a_run_that_the_executor_paused_by_itself_is_left_to_it(worked: Worked, executor: Executor) -> None:
    """Its people may have a reason that is not in our books."""
    run_id = worked.run([Planned("a")])
    executor.knows(run_id, "a", "running")
    for kind in (words.PAUSE_RUN, words.RESUME_RUN):
        say(worked, kind, run_id)
        done(worked, hear(worked, kind, holder="here"))
    executor.paused = {run_id}
    worked.clock.passes(minutes=2)
    compare(worked, executor)
    assert pending(worked) == []
