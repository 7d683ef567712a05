"""Do events become receipts, verdicts, ended runs and moved priors, each once, on both databases?"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import select

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    EstimateVersion,
    JobCard,
    KpiReceipt,
    Project,
    ProjectRun,
    ReceiptDay,
    RunTask,
    TaskReceipt,
)
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worked import AT, Planned, Worked, ended, outcomes, rows


@pytest.fixture
def worked(registry: Registry, settings: Settings, caplog: pytest.LogCaptureFixture) -> Iterator[Worked]:
    """A registry to work in; a batch that had to be split hid an error, and fails the test."""
    yield Worked(registry, settings)
    hidden = [record.exc_text or record.message for record in caplog.records if record.name.startswith("plms_pipeline")]
    assert not [text for text in hidden if "batch_split" in text or "Traceback" in text]


def test_a_run_whose_tasks_succeed_ends_and_moves_the_priors(worked: Worked) -> None:
    """Otherwise finished work would stay open for ever, and nothing would be learnt from it."""
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b", cost=0.5))
    result = settle_due(worked.world, holder="here")
    assert (result.settled, result.receipts, result.ended_runs) == (2, 2, (run_id,))
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "ungated")]
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "SUCCESS"), ("b", "SUCCESS")]
    assert rows(worked.registry, JobCard, "state") == [("ENDED",), ("ENDED",)]
    assert rows(worked.registry, Project, "status", "actual_cost_usd", "actual_tokens", "token_error_pct") == [
        ("completed", Decimal("0.75"), 3000, 200.0)
    ]
    assert rows(worked.registry, ReceiptDay, "day", "summarised_seq") == [(AT.date(), 0)]
    with worked.registry.reading() as session:
        found = session.scalars(
            select(EstimateVersion.n_observations).where(
                EstimateVersion.basis == "spend",
                EstimateVersion.lane_id == 6100,
                EstimateVersion.provider_name == "maker/one",
            )
        ).all()
    assert found == [2]
    assert not settle_due(worked.world, holder="here").did_something


def test_a_failed_task_fails_its_run_and_what_waits_for_it_is_skipped(worked: Worked) -> None:
    """A task that waits for one that failed would otherwise keep its run open for ever."""
    tasks = [Planned("a"), Planned("b", depends_on=["a"], is_submitted=False)]
    run_id = worked.run([*tasks, Planned("c", depends_on=["b"], is_submitted=False)])
    worked.tell(ended(run_id, "a", ok=False))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "FAIL"), ("b", "SKIPPED"), ("c", "SKIPPED")]
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("FAIL", "failed")]
    assert rows(worked.registry, Project, "status") == [("needs_review",)]
    assert rows(worked.registry, TaskReceipt, "task_id", "status") == [("a", "FAIL")]


def test_an_artifact_that_fails_its_gate_ends_well_and_is_not_good(worked: Worked) -> None:
    """Whether work ended and whether it was good are two questions."""
    run_id = worked.run([Planned("guide", lane_id=4202)])
    worked.stage(run_id, "guide", {"generated_docs.md": "The cat sat on the mat. " * 40})
    worked.tell(ended(run_id, "guide"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "passed")]
    other = worked.run([Planned("nothing", lane_id=4202)])
    worked.tell(ended(other, "nothing"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "failed"), ("SUCCESS", "passed")]
    kpis = rows(worked.registry, KpiReceipt, "task_id", "kpi_name", "pass_")
    assert kpis == [("guide", "readability", True), ("nothing", "readability", False)]
    assert rows(worked.registry, Project, "status") == [("completed",), ("needs_review",)]


def test_a_repeated_event_counts_once(worked: Worked) -> None:
    """At least once is all that an executor can promise."""
    run_id = worked.run([Planned("a"), Planned("b")])
    assert not worked.tell(ended(run_id, "a"), event_id="one").duplicate
    assert worked.tell(ended(run_id, "a"), event_id="one").duplicate
    worked.tell(ended(run_id, "a"), event_id="two")
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "task_id", "attempt") == [("a", 1)]
    assert outcomes(worked.registry) == [
        ("settled", "succeeded, ungated"),
        ("ignored", "this attempt is booked already"),
    ]


def test_a_failed_attempt_is_tried_again_as_often_as_the_project_allows(worked: Worked) -> None:
    """A card of its own, so that the executor cannot take the second attempt for the first."""
    run_id = worked.run([Planned("a")], max_attempts=2)
    worked.tell(ended(run_id, "a", ok=False))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, JobCard, "attempt", "state") == [(1, "ENDED"), (2, "WAITING")]
    assert rows(worked.registry, RunTask, "status") == [("RUNNING",)]
    worked.tell(ended(run_id, "a", ok=False, attempt=2))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("FAIL",)]
    assert rows(worked.registry, TaskReceipt, "attempt", "status") == [(1, "FAIL"), (2, "FAIL")]


@pytest.mark.parametrize(
    "wrong",
    [{"cost_usd": -1}, {"cost_usd": float("nan")}, {"time_ms": 10**40}, {"tokens_in": 2**62}, {"cost_usd": 99_999}],
)
def test_impossible_numbers_are_refused_with_their_reason_and_never_booked(
    worked: Worked, wrong: dict[str, float]
) -> None:
    """A NaN in the books would poison every prior that it touches."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a", **wrong))
    settle_due(worked.world, holder="here")
    ((state, said),) = outcomes(worked.registry)
    assert state == "refused"
    assert said.startswith("receipt.")
    assert rows(worked.registry, TaskReceipt, "id") == []
    assert rows(worked.registry, RunTask, "status") == [("RUNNING",)]


def test_a_late_event_books_what_was_spent_and_moves_no_state(worked: Worked) -> None:
    """Money that was spent is a fact, and an ended run never changes."""
    run_id = worked.run([Planned("a")])
    worked.tell({"run_id": run_id, "reason": "the executor does not know this run"}, endpoint="run_lost")
    settle_due(worked.world, holder="here")
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("FAIL",)]
    assert rows(worked.registry, RunTask, "status") == [("FAIL",)]
    assert rows(worked.registry, TaskReceipt, "task_id") == [("a",)]
    assert outcomes(worked.registry)[1][0] == "settled"


def test_an_event_faster_than_the_note_of_the_submission_is_booked_all_the_same(worked: Worked) -> None:
    """The executor may end a task before the process that submitted it has written so down."""
    run_id = worked.run([Planned("a")], status="QUEUED")
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]
