"""Does a run that failed in passing come back once, as a new run, and everything else stay where it is?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import Conflict
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.actions.deciding import mark_permanent, quarantine, reset_retries
from plms_pipeline.letters.actions.retrying import LEASE, Round, retry_due
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, Hold, JobCard, Project, ProjectRun, RunLineage, RunTask
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.letters.actions import Retries, learn
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.store.sessions import facts_of
from plms_pipeline.runs.store.transitions import move_project, move_run, move_task
from plms_pipeline_tests.runs.worlds import AT, OWNER, WORLD, planned_project


@dataclass
class Shop:
    """A project whose runs fail, and a retrier."""

    registry: Registry
    at: datetime = AT
    stopped: Callable[[], str | None] = lambda: None
    world: Any = field(default=WORLD)

    def now(self) -> datetime:
        return self.at

    def later(self, **span: float) -> None:
        self.at += timedelta(**(span or {"minutes": 1}))

    def start(self, project_id: int = 42, kind: str = "baseline", *, sandbox: bool = False) -> str:
        request = StartRequest(project_id, str(uuid4()), run_kind=kind, write_sandbox=sandbox)
        return start_run(
            self.registry, clock=self, ids=lambda: str(uuid4()), actor=OWNER, request=request, world=WORLD, stopped=None
        ).run_id  # fmt: skip

    def end(self, run_id: str, status: str = "FAIL", reason: str | None = "connection reset", **why: str) -> None:
        """End a run as settlement does: tasks, then the run, then its project."""
        said: dict[str, Any] = {"at": self.at, "actor": "settlement"}
        with self.registry.writing() as session:
            move_run(session, run_id, expected="QUEUED", new="RUNNING", **said)
            for task in session.scalars(select(RunTask.task_id).where(RunTask.run_id == run_id)).all():
                move_task(session, run_id, task, expected="QUEUED", new="RUNNING", **said)
                fails = status == "FAIL" and (not why or task in why)
                move_task(
                    session, run_id, task, expected="RUNNING", new="FAIL" if fails else "SUCCESS",
                    reason=why.get(task, reason) if fails else None, **said,
                )  # fmt: skip
            move_run(session, run_id, expected="RUNNING", new=status, reason="4 of 4 tasks did not succeed", **said)
            project = session.scalars(
                select(Project).join(ProjectRun, ProjectRun.project_id == Project.id).where(ProjectRun.run_id == run_id)
            ).one()
            way = ["executing", "validating", "needs_review" if status == "FAIL" else "completed"]
            if project.status in ("approved", "executing", "needs_review"):
                before = project.status
                for state in way if before != "executing" else way[1:]:
                    assert move_project(session, project.id, expected=before, new=state, **said)
                    before = state

    def failed(self, reason: str = "connection reset", project_id: int = 42) -> str:
        run_id = self.start(project_id)
        self.end(run_id, reason=reason)
        return run_id

    @property
    def retries(self) -> Retries:
        return Retries(self.registry, self, lambda: str(uuid4()), lambda: self.world, self.stopped)

    def retry(self, holder: str = "here", **how: Any) -> Round:
        learn(self.registry, clock=self)
        return retry_due(self.registry, clock=self, holder=holder, handlers=self.retries.handlers(), **how)

    def letters(self) -> list[Letter]:
        with self.registry.reading() as session:
            return letters.listed(session, limit=None)

    @property
    def letter(self) -> Letter:
        (one,) = self.letters()
        return one

    def runs(self) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.execute(select(ProjectRun.run_id, ProjectRun.status).order_by(ProjectRun.id))
            return [(run_id, status) for run_id, status in rows]

    def lineage(self) -> list[tuple[str, str, str]]:
        with self.registry.reading() as session:
            rows = session.execute(select(RunLineage.run_id, RunLineage.parent_run_id, RunLineage.relation))
            return [(run_id, parent, relation) for run_id, parent, relation in rows]


@pytest.fixture
def shop(registry: Registry) -> Shop:
    planned_project(registry)
    return Shop(registry)


def test_a_run_that_failed_in_passing_is_retried_as_a_new_run(shop: Shop) -> None:
    """A run that ended never changes: the retry is another one, QUEUED, and says whose retry it is."""
    first = shop.failed()
    assert (shop.letter.state, shop.letter.subject_id, shop.letter.run_id) == ("ready", first, first)
    assert (shop.letter.project_id, shop.letter.lane_id, shop.letter.reason) == (42, 4200, "connection reset")
    shop.later()
    (line,) = shop.retry().lines
    again = line.run_id
    assert again is not None
    assert shop.runs() == [(first, "FAIL"), (again, "QUEUED")]
    assert shop.lineage() == [(again, first, "retry")]
    assert (shop.letter.state, shop.letter.attempts, shop.letter.run_id) == ("processing", 1, again)
    with shop.registry.reading() as session:
        cards = session.scalars(select(JobCard.task_id).where(JobCard.run_id == again)).all()
        noted = session.scalars(select(AuditEntry).where(AuditEntry.action == "run.retry")).one()
    assert sorted(cards) == ["a", "b", "c", "d"]
    assert noted.details_json == {"parent_run_id": first, "letter_id": shop.letter.letter_id, "attempt": 1}
    shop.later()
    assert not shop.retry().lines


def test_a_retry_that_succeeds_ends_the_letter(shop: Shop) -> None:
    """A count that never falls tells nobody when it is over."""
    first = shop.failed()
    with shop.registry.reading() as session:
        told = facts_of(session, first)
    assert told is not None
    assert (told.dlq_count, told.last_dlq_run_id) == (1, first)
    shop.later()
    again = shop.retry().lines[0].run_id
    assert again is not None
    shop.end(again, "SUCCESS")
    assert (shop.letter.state, shop.letter.attempts) == ("done", 1)
    with shop.registry.reading() as session:
        told = facts_of(session, again)
    assert told is not None
    assert (told.dlq_count, told.last_dlq_run_id, told.parent_relation) == (0, again, "retry")
    shop.later(hours=1)
    assert not shop.retry(is_forced=True).lines


def test_retries_that_fail_come_back_to_one_letter_and_end_after_three(shop: Shop) -> None:
    """In the sources each failed retry made a new entry with count zero, and retried for ever."""
    shop.failed()
    for number in (1, 2, 3):
        shop.later(minutes=5)
        again = shop.retry().lines[0].run_id
        assert again is not None
        assert shop.letter.attempts == number
        shop.end(again, reason="HTTP 503")
    assert (shop.letter.state, shop.letter.attempts, shop.letter.reason) == ("permanent", 3, "HTTP 503")
    shop.later(hours=1)
    assert not shop.retry(is_forced=True).lines
    assert Counter(status for _, status in shop.runs()) == {"FAIL": 4}
    assert len(shop.lineage()) == 3


@pytest.mark.parametrize(
    "reason", ["contains pii", "licence violation", "3 of 40 tests fail", "budget: the cap was reached", None]
)
def test_a_run_that_failed_for_good_is_put_aside_and_never_retried(shop: Shop, reason: str | None) -> None:
    """PERMANENT and POLICY were retried like timeouts in the sources."""
    run_id = shop.start()
    shop.end(run_id, reason=reason)
    assert shop.letter.state == "permanent"
    shop.later(days=1)
    assert not shop.retry(is_forced=True).lines
    assert shop.runs() == [(run_id, "FAIL")]


def test_one_hopeless_task_makes_the_run_hopeless(shop: Shop) -> None:
    """Paying for three more runs does not make a licence violation go away."""
    run_id = shop.start()
    shop.end(run_id, a="timeout", b="copyright of the input")
    assert (shop.letter.error_class, shop.letter.state) == ("POLICY", "permanent")
    assert "timeout" in shop.letter.reason
    assert shop.letter.payload["failed_tasks"] == ["a", "b"]


def test_two_retriers_start_one_run(shop: Shop) -> None:
    """Counted before the start, without a lock, the sources' two retriers ran it twice."""
    for project_id in range(43, 49):
        planned_project(shop.registry, project_id=project_id)
        shop.failed(project_id=project_id)
    shop.later()
    start = Barrier(3)

    def retrier(number: int) -> int:
        start.wait()
        return shop.retry(holder=f"retrier-{number}").count("begun")

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(retrier, range(3))) == 6
    assert Counter(status for _, status in shop.runs()) == {"FAIL": 6, "QUEUED": 6}
    assert {(letter.state, letter.attempts) for letter in shop.letters()} == {("processing", 1)}


def test_a_retrier_that_dies_before_or_after_the_start_starts_one_run(shop: Shop) -> None:
    """Before: nothing happened, and the letter is due when the lease ends. After: the letter knows the run."""
    shop.failed()
    shop.later()
    with shop.registry.writing() as session:
        dead = letters.claim(session, shop.letter.letter_id, holder="dead", now=shop.at, lease_until=shop.at + LEASE)
    assert dead is not None
    assert not shop.retry().lines
    shop.later(seconds=LEASE.total_seconds() + 1)
    assert shop.retry().count("begun") == 1
    # The one that was thought dead wakes up and goes on.
    assert shop.retries.retry_run(dead).word == "overtaken"
    shop.later(seconds=LEASE.total_seconds() + 1)
    assert not shop.retry(is_forced=True).lines
    assert len(shop.runs()) == 2


def test_what_a_person_stops_while_it_is_claimed_starts_nothing(shop: Shop) -> None:
    """The decision wins against the retrier that was about to start."""
    shop.failed()
    shop.later()
    with shop.registry.writing() as session:
        claimed = letters.claim(session, shop.letter.letter_id, holder="here", now=shop.at, lease_until=shop.at + LEASE)
    assert claimed is not None
    mark_permanent(shop.registry, claimed.letter_id, clock=shop, actor=OWNER, reason="no")
    assert shop.retries.retry_run(claimed).word == "overtaken"
    assert len(shop.runs()) == 1


def test_a_letter_whose_retry_has_a_run_is_not_put_aside_before_that_run_is_cancelled(shop: Shop) -> None:
    """It said "done", and the retry went out and spent."""
    shop.failed()
    shop.later()
    again = shop.retry().lines[0].run_id
    assert again is not None
    with pytest.raises(Conflict, match=f"run cancel {again}") as refused:
        mark_permanent(shop.registry, again, clock=shop, actor=OWNER, reason="no")
    assert (refused.value.code, shop.letter.state) == ("retry_under_way", "processing")
    cancel_run(shop.registry, clock=shop, actor=OWNER, run_id=again, reason="no")
    assert shop.letter.state == "permanent"


def test_a_retry_under_way_that_was_set_apart_stays_apart_when_it_fails(shop: Shop) -> None:
    """Quarantine would otherwise last until the next failure."""
    shop.failed()
    shop.later()
    again = shop.retry().lines[0].run_id
    assert again is not None
    quarantine(shop.registry, clock=shop, actor=OWNER, reason="look", name=again)
    shop.end(again)
    assert shop.letter.state == "quarantined"
    reset_retries(shop.registry, again, clock=shop, actor=OWNER, reason="looked")
    assert shop.retry().count("begun") == 1
    assert {parent for _, parent, _ in shop.lineage()} == {shop.letter.subject_id, again}


def test_the_kill_switch_and_a_hold_put_retries_off_and_use_none_up(shop: Shop) -> None:
    """Three retries used up while everything was stopped on purpose would make every passing failure permanent."""
    shop.failed()
    shop.stopped = lambda: "fire"
    for _ in range(5):
        shop.later()
        assert shop.retry().count("postponed") == 1
    assert (shop.letter.state, shop.letter.attempts) == ("ready", 0)
    assert "killswitch_on" in shop.letter.payload["waits_because"]
    shop.stopped = lambda: None
    with shop.registry.writing() as session:
        session.add(Hold(subject_type="project", subject_id="42", reason="look", placed_by="ann", placed_at=shop.at))
    shop.later()
    assert shop.retry().count("postponed") == 1
    with shop.registry.writing() as session:
        session.execute(update(Hold).values(lifted_by="ann", lifted_at=shop.at))
    shop.later()
    assert shop.retry().count("begun") == 1
    assert shop.letter.attempts == 1


def test_a_retry_never_passes_the_budget(shop: Shop) -> None:
    """A retry is a start like any other: it is refused where a person's would be, and says so."""
    planned_project(shop.registry, project_id=50, forecast={"cost_usd": {"mean": 3.0}})
    run_id = shop.failed(project_id=50)
    with shop.registry.writing() as session:
        session.execute(update(Project).where(Project.id == 50).values(budget_cost_usd_max=Decimal("0.000001")))
    shop.later()
    done = shop.retry()
    assert done.lines[0].word == "given_up"
    assert "budget_exceeded" in shop.letter.reason
    assert (shop.letter.state, shop.runs()) == ("permanent", [(run_id, "FAIL")])


def test_a_cancelled_project_is_not_brought_back_to_life(shop: Shop) -> None:
    """Money for what nobody wants any more."""
    run_id = shop.failed()
    with shop.registry.writing() as session:
        move_project(session, 42, expected="needs_review", new="cancelled", at=shop.at, actor="ann")
    shop.later()
    assert shop.retry().count("given_up") == 1
    assert (shop.letter.state, shop.runs()) == ("permanent", [(run_id, "FAIL")])


def test_a_project_that_a_person_completed_owes_nothing(shop: Shop) -> None:
    """Somebody overrode the failure: a retry would do the work again."""
    shop.failed()
    with shop.registry.writing() as session:
        move_project(session, 42, expected="needs_review", new="completed", at=shop.at, actor="ann")
    shop.later()
    assert shop.retry().count("recovered") == 1
    assert shop.letter.state == "done"


@pytest.mark.parametrize(("status", "word"), [(None, "postponed"), ("FAIL", "recovered")])
def test_a_run_that_a_person_started_instead_stands_for_the_retry(shop: Shop, status: str | None, word: str) -> None:
    """Both at once would pay twice for the same work."""
    shop.failed()
    shop.later()
    mine = shop.start()
    if status:
        shop.end(mine, status)
    done = shop.retry()
    by_run = {line.subject_id: line.word for line in done.lines}
    first = shop.runs()[0][0]
    assert by_run[first] == word
    assert len(shop.runs()) == 2


def test_two_runs_that_failed_side_by_side_are_both_retried(shop: Shop) -> None:
    """One's retry is no reason to take the other's for done."""
    one, other = shop.start(), shop.start()
    for run_id in (one, other):
        shop.end(run_id)
    shop.later()
    assert shop.retry().count("begun") == 2
    assert sorted(parent for _, parent, _ in shop.lineage()) == sorted([one, other])


def test_what_a_person_stopped_is_no_dead_letter(shop: Shop) -> None:
    """Retrying what somebody cancelled undoes a decision."""
    run_id = shop.start()
    cancel_run(shop.registry, clock=shop, actor=OWNER, run_id=run_id, reason="wrong branch")
    assert shop.letters() == []
    shop.failed()
    shop.later()
    again = shop.retry().lines[0].run_id
    assert again is not None
    cancel_run(shop.registry, clock=shop, actor=Actor("ann"), run_id=again, reason="enough")
    assert shop.letter.state == "permanent"
    shop.later(hours=1)
    assert not shop.retry(is_forced=True).lines


@pytest.mark.parametrize(("kind", "sandbox"), [("rehearsal", True), ("replay", False), ("hotfix", True)])
def test_runs_that_somebody_waits_for_are_put_aside_not_repeated(shop: Shop, kind: str, sandbox: bool) -> None:
    """Whoever asked for a rehearsal or a replay has its answer; another one would belong to nobody."""
    run_id = shop.start(kind=kind, sandbox=sandbox)
    shop.end(run_id)
    assert (shop.letter.error_class, shop.letter.state) == ("TRANSIENT", "permanent")
    # Not even when a person asks: the whole plan would run where a sample was wanted.
    reset_retries(shop.registry, run_id, clock=shop, actor=OWNER, reason="again")
    assert shop.retry().count("given_up") == 1
    assert (shop.letter.state, len(shop.runs())) == ("permanent", 1)


def test_a_hotfix_is_retried_as_a_hotfix(shop: Shop) -> None:
    """Its receipts count as what they are."""
    run_id = shop.start(kind="hotfix")
    shop.end(run_id)
    shop.later()
    again = shop.retry().lines[0].run_id
    assert again is not None
    with shop.registry.reading() as session:
        assert session.scalar(select(ProjectRun.run_kind).where(ProjectRun.run_id == again)) == "hotfix"
    assert shop.lineage() == [(again, run_id, "retry")]


def test_the_end_of_a_retry_that_nobody_told_is_found(shop: Shop) -> None:
    """An end written by hand, or by a version that knew no letters, must not leave a letter waiting for ever."""
    shop.failed()
    shop.later()
    again = shop.retry().lines[0].run_id
    with shop.registry.writing() as session:
        session.execute(
            update(ProjectRun).where(ProjectRun.run_id == again).values(status="RUNNING", started_at=shop.at)
        )
        session.execute(
            update(ProjectRun).where(ProjectRun.run_id == again).values(status="SUCCESS", completed_at=shop.at)
        )
    assert shop.letter.state == "processing"
    assert learn(shop.registry, clock=shop) == 1
    assert shop.letter.state == "done"
