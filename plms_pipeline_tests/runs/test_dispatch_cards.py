"""Do many cards go out in few transactions, and is none held by a process that is gone?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from plms_pipeline.clock import FrozenClock
from plms_pipeline.pas.client import PasRefused, PasUnavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Lane, OutboxEvent, RunTask, Slot
from plms_pipeline.runs.actions import dispatch_cards
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.commits import commits
from plms_pipeline_tests.runs.test_dispatch import Bench
from plms_pipeline_tests.runs.worlds import planned_project

WIDE = {f"t{n}": () for n in range(30)}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; slow enough that nothing ends while a test looks."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


def test_dispatchers_begin_with_lanes_of_their_own_and_leave_none_out() -> None:
    """Four that begin with the same lane wait for each other there, and then in the next."""
    lanes = [4200, 4202, 5100, 6101]
    begun = {tuple(dispatch_cards._from_another(f"dispatcher:{n}", lanes)) for n in range(20)}
    assert {order[0] for order in begun} == set(lanes)
    assert all(sorted(order) == lanes for order in begun)
    assert dispatch_cards._from_another("anybody", []) == []


@pytest.fixture
def bench(registry: Registry, executor: ReferencePas) -> Iterator[Bench]:
    with registry.writing() as session:
        # That caps hold is tested where slots are.
        session.execute(update(Lane).values(cap=1000))
    with executor.client() as pas:
        yield Bench(registry, pas, str(executor.data_dir))


def dead(*holders: str) -> Any:
    return {"is_dead": holders.__contains__}


def tick(bench: Bench, holder: str, **more: Any) -> Any:
    return dispatch_due(
        bench.registry, clock=FrozenClock(bench.now), pas=bench.pas, holder=holder, data_dir=bench.data_dir, **more
    )


def test_thirty_cards_hold_the_books_a_few_times_and_not_sixty(bench: Bench) -> None:
    """While cards went out one transaction at a time, every event that came in waited behind two of them."""
    bench.start(planned_project(bench.registry, project_id=50, tasks=WIDE))
    with commits(bench.registry) as counted:
        assert bench.tick().submitted == 30
    assert set(bench.cards().values()) == {"SUBMITTED"}
    assert len(counted) <= 12


def test_what_a_dead_process_had_claimed_goes_out_at_once(bench: Bench) -> None:
    """After kill -9 a run stood still for the minute of the lease, though everybody could see that nobody held it."""
    run_id = bench.start(planned_project(bench.registry, project_id=51))
    lease = {"lease_holder": "victim", "lease_expires_at": bench.now + timedelta(seconds=60)}
    with bench.registry.writing() as session:
        session.execute(
            update(OutboxEvent).where(OutboxEvent.subject_id == run_id).values(attempts=1, **lease)
        )  # the run's announcement was in its hands
    assert tick(bench, "other", **dead("somebody else")).announced == 0
    assert tick(bench, "other", **dead("victim")).announced == 1
    with bench.registry.writing() as session:
        session.execute(update(JobCard).where(JobCard.task_id == "a").values(state="WAITING", **lease))
        session.execute(update(RunTask).where(RunTask.task_id == "a").values(status="QUEUED"))
    assert tick(bench, "other", **dead("somebody else")).submitted == 0
    assert tick(bench, "other", **dead("victim")).submitted == 1


def test_a_dispatcher_that_slept_over_its_lease_takes_no_slot_from_the_other(bench: Bench) -> None:
    """A laptop was closed in the middle of a tick: on waking it gave back the slot of a card that another had handed over, and
    the lane had one place too many."""
    bench.start(planned_project(bench.registry, project_id=56, tasks={"a": ()}))
    tick(bench, "slow", limit=0)  # announces the run only

    class Moving:
        def now(self) -> Any:
            return bench.now

    def held_by() -> Any:
        with bench.registry.reading() as session:
            return session.execute(select(JobCard.state, JobCard.lease_holder)).one()

    def asleep() -> None:
        if tuple(held_by()) == ("WAITING", "slow"):
            bench.later(600)
            assert tick(bench, "other").submitted == 1

    result = dispatch_due(
        bench.registry, clock=Moving(), pas=bench.pas, holder="slow", data_dir=bench.data_dir, stopped=asleep
    )
    assert result.submitted == 0
    assert tuple(held_by()) == ("SUBMITTED", None)
    with bench.registry.reading() as session:
        assert session.scalars(select(Slot.state)).all() == ["HELD"]


def test_cards_that_the_kill_switch_caught_in_hand_were_never_sent(bench: Bench) -> None:
    """It is asked before every single card; what was claimed by then waits as if nobody had touched it."""
    bench.start(planned_project(bench.registry, project_id=52, tasks=WIDE))
    tick(bench, "here", limit=0)  # announces the run only
    asked = iter([None] * 4)
    bench.stopped = lambda: next(asked, "incident")
    result = bench.tick()
    assert (result.submitted, result.stopped) == (3, "incident")
    with bench.registry.reading() as session:
        rows = session.execute(
            select(JobCard.state, JobCard.submissions, func.count())
            .where(JobCard.lease_holder.is_(None))
            .group_by(JobCard.state, JobCard.submissions)
        ).all()
    assert sorted(map(tuple, rows)) == [("SUBMITTED", 1, 3), ("WAITING", 0, 27)]
    bench.stopped = lambda: None
    assert bench.tick().submitted == 27


def test_a_clock_that_goes_back_holds_nothing_up(bench: Bench) -> None:
    """What was asked for, claimed or put off just before would wait for as long as the clock went back."""
    run_id = bench.start(planned_project(bench.registry, project_id=53))
    lease = {"lease_holder": "victim", "lease_expires_at": bench.now + timedelta(seconds=60)}
    with bench.registry.writing() as session:
        session.execute(update(OutboxEvent).where(OutboxEvent.subject_id == run_id).values(attempts=1, **lease))
    bench.later(-3600)
    assert bench.tick().announced == 1
    with bench.registry.writing() as session:
        session.execute(
            update(JobCard)
            .where(JobCard.task_id == "a")
            .values(state="WAITING", lease_holder="victim", lease_expires_at=bench.now + timedelta(seconds=60))
        )
        session.execute(update(RunTask).where(RunTask.task_id == "a").values(status="QUEUED"))
    assert bench.tick().submitted == 0
    bench.later(-3600)
    assert bench.tick().submitted == 1


def test_what_a_wrong_clock_put_off_for_years_is_done_now(bench: Bench) -> None:
    """A machine that believed it was 2030 found the executor away: the run would have been announced in 2030."""
    bench.start(planned_project(bench.registry, project_id=55))
    with bench.registry.writing() as session:
        session.execute(update(OutboxEvent).values(attempts=1, due_at=bench.now + timedelta(days=1500)))
    assert bench.tick().announced == 1


def test_an_executor_that_asks_for_years_is_asked_again_in_minutes(bench: Bench) -> None:
    """`Retry-After: 999999999` of a proxy in between put a start off until after everybody's retirement."""

    class Busy:
        takes_whole_runs = False

        def submit_run(self, *_: object) -> None:
            raise PasUnavailable("busy", code="pas_busy", retry_after_s=999_999_999)

    real, bench.pas = bench.pas, Busy()
    bench.start(planned_project(bench.registry, project_id=54))
    assert bench.tick().away == "busy"
    bench.pas = real
    assert bench.tick().announced == 0
    bench.later(301)
    assert bench.tick().announced == 1


def test_a_task_that_goes_again_and_is_refused_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card ended and the task stayed RUNNING, so that the run waited for ever for somebody to tell of its end."""
    run_id = bench.start(planned_project(bench.registry, project_id=57, tasks={"a": (), "b": ("a",)}))
    assert bench.tick().submitted == 1
    with bench.registry.writing() as session:
        # As the reconciliation leaves a card that the executor lost.
        session.execute(update(JobCard).where(JobCard.task_id == "a").values(state="WAITING", submitted_at=None))

    def refuse(_card: object) -> None:
        raise PasRefused("The run was ended", status=409, pas_code="run_ended")

    monkeypatch.setattr(bench.pas, "submit_card", refuse)
    bench.later(1)
    assert bench.tick().refused == 1
    assert bench.tick().skipped == 1
    with bench.registry.reading() as session:
        rows = session.execute(select(RunTask.task_id, RunTask.status).where(RunTask.run_id == run_id)).all()
    assert {row.task_id: row.status for row in rows} == {"a": "FAIL", "b": "SKIPPED"}


def test_a_card_that_may_have_arrived_before_keeps_its_slot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line broke after it was told; told again, the executor was not there at all; its slot was given to another card while
    the executor worked on the first."""
    bench.start(planned_project(bench.registry, project_id=58, tasks={"a": ()}))
    submit = bench.pas.submit_card

    def broken(card: Any) -> None:
        submit(card)
        raise PasUnavailable("the connection broke after the request", is_ambiguous=True)

    def away(_card: Any) -> None:
        raise PasUnavailable("nobody listens", is_ambiguous=False)

    for answer in (broken, away):
        monkeypatch.setattr(bench.pas, "submit_card", answer)
        bench.tick()
        bench.later(120)
        with bench.registry.reading() as session:
            assert list(session.scalars(select(Slot.state))) == ["HELD"]
