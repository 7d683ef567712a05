"""Does a run that is called off come to its end, whatever its tasks were waiting for?"""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, ProjectRun, RunTask
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worked import Planned, Worked, ended

OWNER = Actor("ana@example.com", is_verified=True)


@pytest.fixture
def worked(registry: Registry, settings: Settings) -> Worked:
    return Worked(registry, settings)


def test_a_task_that_waits_for_its_second_attempt_ends_with_its_run(worked: Worked) -> None:
    """Its card was cancelled and the task stayed RUNNING for ever: the run never ended, and its project with it."""
    run_id = worked.run([Planned("a"), Planned("b")], max_attempts=2)
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b", ok=False))
    settle_due(worked.world, holder="here")
    with worked.registry.reading() as session:
        cards = session.execute(select(JobCard.attempt, JobCard.state).where(JobCard.task_id == "b")).all()
    assert sorted(tuple(card) for card in cards) == [(1, "ENDED"), (2, "WAITING")]

    cancel_run(worked.registry, clock=worked.clock, actor=OWNER, run_id=run_id, reason="enough")
    settle_due(worked.world, holder="here")

    with worked.registry.reading() as session:
        tasks = {row[0]: row[1] for row in session.execute(select(RunTask.task_id, RunTask.status))}
        status = session.scalars(select(ProjectRun.status).where(ProjectRun.run_id == run_id)).one()
    assert tasks == {"a": "SUCCESS", "b": "FAIL"}
    assert status == "FAIL"


def test_a_task_whose_card_the_executor_lost_ends_with_its_run(worked: Worked) -> None:
    """Its card waited to go again, and was cancelled; the task stayed RUNNING for ever, and with it run and project."""
    run_id = worked.run([Planned("a")])
    with worked.registry.writing() as session:
        # As the reconciliation leaves it.
        session.execute(update(JobCard).where(JobCard.run_id == run_id).values(state="WAITING"))
        session.execute(update(RunTask).where(RunTask.run_id == run_id).values(status="RUNNING"))

    cancel_run(worked.registry, clock=worked.clock, actor=OWNER, run_id=run_id, reason="enough")
    settle_due(worked.world, holder="here")

    with worked.registry.reading() as session:
        tasks = {row[0]: row[1] for row in session.execute(select(RunTask.task_id, RunTask.status))}
        status = session.scalars(select(ProjectRun.status).where(ProjectRun.run_id == run_id)).one()
    assert tasks == {"a": "FAIL"}
    assert status == "FAIL"
