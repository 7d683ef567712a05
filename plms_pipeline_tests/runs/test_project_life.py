"""Holding and ending projects in both databases: safe to repeat, and nothing goes out afterwards."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update

from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Hold, JobCard, OutboxEvent, ProjectRun, RunTask
from plms_pipeline.runs.actions.project_life import Changed, cancel_project, pause_project, resume_project
from plms_pipeline.runs.actions.projects import project, projects
from plms_pipeline.runs.store import outbox
from plms_pipeline_tests.runs.desk import ANN, Desk


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


def pause(desk: Desk, project_id: int, reason: str = "wait") -> Changed:
    return pause_project(desk.registry, project_id, clock=desk.clock, ids=desk.ids, actor=ANN, reason=reason)


def resume(desk: Desk, project_id: int) -> Changed:
    return resume_project(desk.registry, project_id, clock=desk.clock, ids=desk.ids, actor=ANN)


def cancel(desk: Desk, project_id: int) -> Changed:
    return cancel_project(desk.registry, project_id, clock=desk.clock, actor=ANN, reason="not needed")


def test_a_pause_is_a_row_and_no_state(desk: Desk) -> None:
    """What was approved stays approved while it waits."""
    project_id = desk.approved().id
    done = pause(desk, project_id)
    assert (done.view.status, done.view.paused, done.is_new) == ("approved", "wait", True)
    assert [view.id for view in projects(desk.registry, status="paused")] == [project_id]
    again = pause(desk, project_id, "another reason")
    assert (again.view.paused, again.is_new) == ("wait", False)
    after = resume(desk, project_id)
    assert (after.view.paused, after.is_new) == (None, True)
    assert not resume(desk, project_id).is_new
    assert desk.states(project_id) == ["planning", "pending_approval", "approved"]
    with desk.registry.reading() as session:
        [hold] = session.scalars(select(Hold))
    assert (hold.placed_by, hold.lifted_by) == ("ann", "ann")


def test_running_runs_are_told_each_time(desk: Desk) -> None:
    """PAS must hear of the second pause as well as of the first."""
    project_id = desk.approved().id
    desk.run(project_id, "r1", status="RUNNING")
    desk.run(project_id, "r2", status="QUEUED")
    for _ in range(2):
        assert pause(desk, project_id).runs_told == 1
        assert resume(desk, project_id).runs_told == 1
    assert desk.effects() == [("pause_run", "r1"), ("resume_run", "r1")] * 2


def test_pausing_at_once_holds_once(desk: Desk) -> None:
    """Two holds would need two people to lift them."""
    project_id = desk.approved().id
    threads = [threading.Thread(target=pause, args=(desk, project_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with desk.registry.reading() as session:
        assert len(list(session.scalars(select(Hold)))) == 1


def test_cancelling_ends_what_has_not_gone_out_and_stops_the_rest(desk: Desk) -> None:
    """A card that waits must never be handed over for a project that nobody wants."""
    project_id = desk.approved().id
    desk.run(project_id, "running", status="RUNNING")
    desk.run(project_id, "queued", status="QUEUED")
    desk.put(project_id, "executing")
    pause(desk, project_id)
    done = cancel(desk, project_id)
    assert (done.view.status, done.view.paused, done.is_new, done.runs_told) == ("cancelled", None, True, 1)
    assert ("terminate_run", "running") in desk.effects()
    with desk.registry.reading() as session:
        runs = {row.run_id: row.status for row in session.scalars(select(ProjectRun))}
        tasks = {row.run_id: row.status for row in session.scalars(select(RunTask))}
        cards = {row.run_id: row.state for row in session.scalars(select(JobCard))}
    assert runs == {"running": "RUNNING", "queued": "SKIPPED"}
    assert tasks == {"running": "RUNNING", "queued": "SKIPPED"}
    assert cards == {"running": "SUBMITTED", "queued": "CANCELLED"}
    assert not cancel(desk, project_id).is_new


def test_what_the_executor_may_have_heard_of_is_ended_there_too(desk: Desk) -> None:
    """A run whose announcement may have arrived would go on at the executor for a project that nobody wants; and effects that
    nobody wants any more would be due for ever."""
    project_id = desk.approved().id
    desk.run(project_id, "announced", status="QUEUED")
    desk.run(project_id, "unknown", status="QUEUED")
    with desk.registry.writing() as session:
        for run_id in ("announced", "unknown"):
            outbox.ask(session, "start_run", run_id, now=desk.clock.at)
        session.execute(update(OutboxEvent).where(OutboxEvent.subject_id == "announced").values(attempts=1))
    assert cancel(desk, project_id).runs_told == 1
    assert desk.effects() == [("start_run", "announced"), ("start_run", "unknown"), ("terminate_run", "announced")]
    with desk.registry.reading() as session:
        states = {row.event_key: row.state for row in session.scalars(select(OutboxEvent))}
    assert states == {
        "start_run:announced": "failed", "start_run:unknown": "failed", "terminate_run:announced": "pending",
    }  # fmt: skip


def test_a_task_between_two_attempts_ends_with_its_project(desk: Desk) -> None:
    """Its next card is called off, so nobody would ever tell of its end, and its run would stay open for ever."""
    project_id = desk.approved().id
    desk.run(project_id, "running", status="RUNNING")
    with desk.registry.writing() as session:
        session.execute(update(JobCard).values(state="ENDED"))
        session.add(
            JobCard(
                card_key=desk.ids(), run_id="running", task_id="api", attempt=2, lane_id=4200, provider="m",
                state="WAITING", created_at=desk.clock.at,
            )
        )  # fmt: skip
    cancel(desk, project_id)
    with desk.registry.reading() as session:
        assert [(row.status) for row in session.scalars(select(RunTask))] == ["FAIL"]
        assert [row.state for row in session.scalars(select(JobCard).order_by(JobCard.attempt))] == [
            "ENDED",
            "CANCELLED",
        ]


@pytest.mark.parametrize("state", ["planning", "pending_approval", "approved", "executing", "needs_review"])
def test_any_open_project_can_be_cancelled(desk: Desk, state: str) -> None:
    """There is no state that somebody is locked into."""
    if state == "planning":
        project_id = desk.planned().id
    elif state == "pending_approval":
        project_id = desk.submitted().id
    else:
        project_id = desk.approved().id
        if state != "approved":
            desk.put(project_id, state)
    assert cancel(desk, project_id).view.status == "cancelled"
    assert desk.states(project_id)[-1] == "cancelled"


def test_what_is_over_stays_over(desk: Desk) -> None:
    """Terminal states never change."""
    project_id = desk.approved().id
    desk.put(project_id, "completed")
    for call in (cancel, pause, resume):
        with pytest.raises(Conflict) as error:
            call(desk, project_id)
        assert error.value.code == "project_is_over"
    assert project(desk.registry, project_id).status == "completed"
    with pytest.raises(NotFound):
        cancel(desk, 99)
    with pytest.raises(BadInput, match="needs a reason"):
        pause(desk, desk.planned().id, " ")


def test_a_pause_that_nobody_has_told_never_comes_after_a_resume(desk: Desk) -> None:
    """The executor was away when it should have paused: told later, it paused a run that nobody holds, for ever."""
    project_id = desk.approved().id
    desk.run(project_id, "r1", status="RUNNING")
    for first, second, dropped in ((pause, resume, "pause_run"), (resume, pause, "resume_run")):
        first(desk, project_id)
        second(desk, project_id)
        with desk.registry.reading() as session:
            kinds = select(OutboxEvent.kind).where(OutboxEvent.state == "pending")
            assert dropped not in set(session.scalars(kinds))


def test_what_a_kill_switch_holds_stays_paused_when_its_project_is_resumed(desk: Desk) -> None:
    """Lifting a project's own hold let its runs work on under a kill switch that was on."""
    project_id = desk.approved().id
    desk.run(project_id, "stopped", status="RUNNING")
    desk.run(project_id, "free", status="RUNNING")
    pause(desk, project_id)
    with desk.registry.writing() as session:
        session.add(
            Hold(
                subject_type="run", subject_id="stopped", reason="smoke", placed_by="killswitch:1",
                placed_at=desk.clock.at,
            )
        )  # fmt: skip
    assert resume(desk, project_id).runs_told == 1
    assert [subject for kind, subject in desk.effects() if kind == "resume_run"] == ["free"]
