"""Do the rules of settlement give the same books whatever order, and however often, the same completions come in?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.kpis.gates import Verdict
from plms_pipeline.runs.lifecycle import may_follow
from plms_pipeline.runs.settling import Attempt, Books, Completion, Project, Run, Task, verdict_of_run

VERDICTS: tuple[Verdict, ...] = ("passed", "failed", "ungated")


class Story:
    """What truly happened in a run: per task whether each attempt succeeded, and the verdict on its work."""

    def __init__(self, tasks: dict[str, tuple[list[bool], Verdict, list[str]]], max_attempts: int) -> None:
        self.tasks, self.max_attempts = tasks, max_attempts

    def books(self) -> Books:
        run = Run("r", 1, max_attempts=self.max_attempts)
        for name, (_, _, needs) in self.tasks.items():
            run.tasks[name] = Task(name, 4200, attempts={1: Attempt(f"{name}/1", 1, "WAITING", tuple(needs))})
        return Books({"r": run}, {1: Project(1, "executing", {"r"})})

    def oracle(self) -> dict[str, str]:
        """How each task must end, by recursion over what it needs; knows nothing of events."""
        found: dict[str, str] = {}

        def end(name: str) -> str:
            if name not in found:
                attempts, _, needs = self.tasks[name]
                if any(end(other) != "SUCCESS" for other in needs):
                    found[name] = "SKIPPED"
                else:
                    found[name] = "SUCCESS" if any(attempts[: self.max_attempts]) else "FAIL"
            return found[name]

        for name in self.tasks:
            end(name)
        return found

    def completions(self) -> list[Completion]:
        """What the executor tells: every attempt that was really made."""
        ends, told = self.oracle(), []
        for name, (attempts, _, _) in self.tasks.items():
            if ends[name] == "SKIPPED":
                continue
            for number, succeeded in enumerate(attempts[: self.max_attempts], start=1):
                told.append(Completion(len(told), "r", name, number, succeeded))
                if succeeded:
                    break
        return told


@st.composite
def stories(draw: st.DrawFn) -> Story:
    names = [f"t{n}" for n in range(draw(st.integers(1, 6)))]
    max_attempts = draw(st.integers(1, 3))
    tasks = {
        name: (
            draw(st.lists(st.booleans(), min_size=max_attempts, max_size=max_attempts)),
            draw(st.sampled_from(VERDICTS)),
            draw(st.lists(st.sampled_from(names[:place]), max_size=2, unique=True)) if place else [],
        )
        for place, name in enumerate(names)
    }
    return Story(tasks, max_attempts)


def work(story: Story, told: Sequence[Completion]) -> Books:
    """Hand over what is ready and deliver events in the order given; an event about a card that is not out yet waits."""
    books = story.books()
    waiting = list(told)
    while True:
        for task in books.runs["r"].tasks.values():
            for attempt in task.attempts.values():
                ready = all(books.runs["r"].tasks[name].status == "SUCCESS" for name in attempt.depends_on)
                if attempt.state == "WAITING" and ready and not task.has_ended:
                    attempt.state = "SUBMITTED"
                    if task.status == "QUEUED":
                        task.status = "RUNNING"
        out = [one for one in waiting if is_out(books, one)]
        if not out:
            return books
        waiting.remove(out[0])
        verdict = story.tasks[out[0].task_id][1] if books.needs_verdict(out[0]) else None
        books.complete(out[0], verdict)


def is_out(books: Books, told: Completion) -> bool:
    attempt = books.runs["r"].tasks[told.task_id].attempts.get(told.attempt)
    return attempt is not None and attempt.state != "WAITING"


@given(stories(), st.randoms(use_true_random=False), st.integers(0, 5))
def test_any_order_and_number_of_the_same_events_gives_the_same_books(story: Story, random: object, extra: int) -> None:
    """The executor delivers at least once and in any order; the books must not be able to tell."""
    told = story.completions()
    shuffled = [*told, *(random.choice(told) for _ in range(extra if told else 0))]  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    plain, mixed = work(story, told), work(story, shuffled)
    for books in (plain, mixed):
        run = books.runs["r"]
        assert {name: task.status for name, task in run.tasks.items()} == story.oracle()
        assert sorted((done.task_id, done.attempt) for done in books.effects.booked) == sorted(
            (done.task_id, done.attempt) for done in told
        )
        assert run.has_ended
        assert books.projects[1].status in ("completed", "needs_review")
    assert plain.runs["r"].validation == mixed.runs["r"].validation
    assert plain.projects[1].status == mixed.projects[1].status


@given(stories(), st.randoms(use_true_random=False))
def test_every_move_is_one_that_the_machine_knows_and_nothing_ends_twice(story: Story, random: object) -> None:
    """A step that the machine does not know would be refused by the database, and the batch with it."""
    told = [*story.completions(), *story.completions()]
    random.shuffle(told)  # type: ignore[attr-defined]
    books = work(story, told)
    ends: set[tuple[str, str, str]] = set()
    for move in books.effects.moves:
        assert may_follow(move.subject, move.old, move.new) or move.old == move.new
        if move.new in ("SUCCESS", "FAIL", "SKIPPED"):
            key = (move.subject, move.run_id, move.task_id)
            assert key not in ends
            ends.add(key)


@given(stories(), st.randoms(use_true_random=False))
def test_a_lost_run_fails_whatever_was_told_before_and_stays_so_whatever_comes_after(
    story: Story, random: object
) -> None:
    """The executor may remember a run that it had forgotten; its end here does not change."""
    told = story.completions()
    random.shuffle(told)  # type: ignore[attr-defined]
    half = len(told) // 2
    books = work(story, told[:half])
    before = books.runs["r"].status
    state, _ = books.lose("r", "gone")
    run = books.runs["r"]
    assert (state, run.status) == (("ignored", before) if before != "RUNNING" else ("settled", "FAIL"))
    statuses = {name: task.status for name, task in run.tasks.items()}
    for late in told[half:]:
        if late.attempt in run.tasks[late.task_id].attempts:
            books.complete(late, None)
    assert {name: task.status for name, task in run.tasks.items()} == statuses
    assert all(task.has_ended for task in run.tasks.values())


def test_what_somebody_cancelled_is_not_tried_again() -> None:
    """A second attempt would undo the cancellation and spend again."""
    story = Story({"t0": ([False, False], "passed", [])}, 2)
    books = story.books()
    books.runs["r"].tasks["t0"].attempts[1].state = "SUBMITTED"
    books.complete(Completion(1, "r", "t0", 1, succeeded=False, is_retryable=False), None)
    assert books.runs["r"].status == "FAIL"


def test_a_run_that_is_being_stopped_tries_nothing_again() -> None:
    """The failure may be the stopping."""
    story = Story({"t0": ([False, False], "passed", [])}, 2)
    books = story.books()
    books.runs["r"].is_stopping = True
    books.complete(Completion(1, "r", "t0", 1, succeeded=False), None)
    assert books.effects.next_attempts == []
    assert books.runs["r"].status == "FAIL"


def test_success_without_a_verdict_is_a_bug_that_is_said() -> None:
    """Work that nobody judged must never become good by default."""
    books = Story({"t0": ([True], "passed", [])}, 1).books()
    with pytest.raises(ValueError, match="judged before"):
        books.complete(Completion(1, "r", "t0", 1, succeeded=True), None)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([("SUCCESS", "passed"), ("SUCCESS", "passed")], ("SUCCESS", "passed")),
        ([("SUCCESS", "passed"), ("SUCCESS", "ungated")], ("SUCCESS", "passed")),
        ([("SUCCESS", "ungated")], ("SUCCESS", "ungated")),
        ([("SUCCESS", "passed"), ("SUCCESS", "failed")], ("SUCCESS", "failed")),
        ([("SUCCESS", "passed"), ("FAIL", "failed")], ("FAIL", "failed")),
        ([("SUCCESS", "passed"), ("SKIPPED", "pending")], ("FAIL", "failed")),
    ],
)
def test_the_verdict_of_a_run_follows_from_its_tasks(
    statuses: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    """Ended and good are two questions, and work that nobody asked about is not good."""
    tasks = [Task(f"t{n}", 4200, status, validation) for n, (status, validation) in enumerate(statuses)]
    assert verdict_of_run(tasks)[:2] == expected


def test_the_project_waits_for_its_last_run() -> None:
    """A project that completes while another of its runs works could not take that run's verdict."""
    books = Story({"t0": ([True], "passed", [])}, 1).books()
    books.projects[1].open_runs.add("other")
    books.complete(Completion(1, "r", "t0", 1, succeeded=True), "passed")
    assert books.projects[1].status == "executing"
    other = replace(books.runs["r"], run_id="other", status="RUNNING", tasks={"x": Task("x", 4200)})
    other.tasks["x"].attempts[1] = Attempt("x/1", 1, "SUBMITTED")
    books.runs["other"] = other
    books.complete(Completion(2, "other", "x", 1, succeeded=True), "failed")
    assert books.projects[1].status == "needs_review"
