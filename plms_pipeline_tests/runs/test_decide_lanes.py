"""Lane overrides teach, and lanes without gates teach only by decision: in both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.estimates.actions.believing import facts_at
from plms_pipeline.estimates.store.receipts import accepting_lanes
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lane, ReceiptDay
from plms_pipeline.runs.actions.decide_lanes import (
    LaneAccepted,
    LaneOverridden,
    accept_ungated_lane,
    lane_overrides,
    override_lane,
)
from plms_pipeline.runs.actions.lane_learning import corrections
from plms_pipeline.runs.actions.projects import project, terms_of
from plms_pipeline.runs.project_view import evidence_of
from plms_pipeline_tests.runs.desk import ANN, BEN, Desk


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


def override(desk: Desk, task_id: int, lane: str, project_id: int | None = None) -> LaneOverridden:
    return override_lane(
        desk.registry, task_id, lane, clock=desk.clock, ids=desk.ids, actor=BEN, reason="it fetches", alpha=0.3,
        project_id=project_id,
    )  # fmt: skip


def accept(desk: Desk, lane: str, accept: bool = True) -> LaneAccepted:
    return accept_ungated_lane(
        desk.registry, lane, clock=desk.clock, ids=desk.ids, actor=ANN, reason="looked at", accept=accept
    )


def test_a_corrected_lane_is_kept_priced_and_learnt_from(desk: Desk) -> None:
    """The plan follows the correction, and so does what an approver signs."""
    view = desk.submitted(gates={"5101": {"row_count_delta": {"<=": 0.05}}})
    before, task = evidence_of(view), view.tasks[0]
    done = override(desk, task.id, "Data-Ingest")
    assert (done.predicted_lane, done.corrected_lane, done.project_id) == (4200, 5101, view.id)
    after = project(desk.registry, view.id)
    moved = after.tasks[0]
    assert (moved.lane_id, moved.lane_source, moved.lane_confidence) == (5101, "override", None)
    assert moved.kpi_formula == '{"row_count_delta":{"<=":0.05}}'
    assert moved.forecast is not None
    assert after.is_estimated
    assert evidence_of(after) != before
    [row] = lane_overrides(desk.registry, view.id)
    assert (row.task_id, row.predicted_lane, row.corrected_lane, row.corrected_by) == (task.id, 4200, 5101, "ben")
    assert row.task_description == "An endpoint"
    [correction] = corrections(desk.registry)
    assert (correction.text, correction.lane_id, correction.keywords) == ("An endpoint", 5101, 4200)
    assert desk.decided(f"task:{task.id}")[0].payload["corrected_lane"] == 5101


def test_the_newest_correction_of_a_task_is_the_one_that_teaches(desk: Desk) -> None:
    """Whoever corrects the correction is right."""
    task = desk.planned().tasks[0]
    override(desk, task.id, "5101")
    desk.later()
    override(desk, task.id, "5102")
    [correction] = corrections(desk.registry)
    assert correction.lane_id == 5102
    assert [row.corrected_lane for row in lane_overrides(desk.registry, 1)] == [5102, 5101]


def test_an_approved_plan_keeps_its_total_when_a_lane_is_corrected(desk: Desk) -> None:
    """The approver signed the total; the task's own cap follows its lane."""
    view = desk.approved()
    override(desk, view.tasks[0].id, "5101")
    after = project(desk.registry, view.id)
    assert after.estimated_cost_usd == view.estimated_cost_usd
    assert after.status == "approved"
    assert after.tasks[0].lane_id == 5101


def test_what_cannot_be_corrected_is_said(desk: Desk) -> None:
    """A script that corrects the wrong project's task must not succeed."""
    view = desk.planned()
    other = desk.planned()
    for call, code in (
        (lambda: override(desk, view.tasks[0].id, "4200"), "same_lane"),
        (lambda: override(desk, view.tasks[0].id, "Code-APl"), "unknown_lane"),
        (lambda: override(desk, 999, "4201"), "unknown_task"),
        (lambda: override(desk, view.tasks[0].id, "4201", other.id), "unknown_task"),
        (lambda: lane_overrides(desk.registry, 99), "unknown_project"),
    ):
        with pytest.raises((Conflict, NotFound)) as error:
            call()
        assert error.value.code == code
    assert lane_overrides(desk.registry, view.id) == []


def test_a_lane_that_is_switched_off_takes_no_new_tasks(desk: Desk) -> None:
    """Its work would never be dispatched."""
    with desk.registry.writing() as session:
        lane = session.get(Lane, 5102)
        assert lane is not None
        lane.active = False
    assert "5102" not in terms_of(desk.registry).lanes
    with pytest.raises(NotFound, match="not registered"):
        override(desk, desk.planned().tasks[0].id, "5102")


def changes(desk: Desk) -> dict[str, int]:
    with desk.registry.reading() as session:
        return {str(row.day): row.changed_seq for row in session.scalars(select(ReceiptDay))}


def effort(desk: Desk) -> int:
    with desk.registry.reading() as session:
        facts = facts_at(session, desk.clock.at, alpha=0.3)
        return sum(fact.n for fact in facts if fact.basis == "effort" and fact.measure == "duration_ms")


def test_accepting_a_lane_lets_its_ungated_work_teach_from_then_on(desk: Desk) -> None:
    """Without the mark the summaries of old days would never hear of the decision."""
    project_id = desk.approved().id
    passport = {"source_file_sha256": "ab" * 32, "verdict_by": "source"}
    desk.run(project_id, "trained", lane=6100, validation="ungated", kpis=(), **passport)
    desk.later(days=2)
    desk.run(project_id, "coded", lane=4200, validation="passed", kpis=(), **passport)
    before = changes(desk)
    assert effort(desk) == 0
    done = accept(desk, "Model-Train")
    assert (done.lane_id, done.lane_name, done.accepted, done.days_marked) == (6100, "Model-Train", True, 1)
    after = changes(desk)
    assert {day for day in after if after[day] != before[day]} == {"2026-03-01"}
    with desk.registry.reading() as session:
        assert accepting_lanes(session) == {6100}
    assert accept(desk, "6100", accept=False).days_marked == 1
    with desk.registry.reading() as session:
        assert accepting_lanes(session) == set()


def test_a_gated_lane_has_nothing_to_accept_and_nothing_is_decided_twice(desk: Desk) -> None:
    """A decision that changes nothing looks like one that did."""
    for call, code in (
        (lambda: accept(desk, "4200"), "lane_is_gated"),
        (lambda: accept(desk, "6100", accept=False), "already_decided"),
        (lambda: accept(desk, "9999"), "unknown_lane"),
    ):
        with pytest.raises((Conflict, NotFound)) as error:
            call()
        assert error.value.code == code
    accept(desk, "6100")
    with pytest.raises(Conflict, match="already"):
        accept(desk, "6100")
    assert len(desk.decided("lane:6100")) == 1


def at_once(*calls: Callable[[], object]) -> list[str]:
    """Make the calls at the same time; what came of each: `done` or the code of the refusal."""
    told: list[str] = []

    def one(call: Callable[[], object]) -> None:
        try:
            call()
        except Conflict as error:
            told.append(error.code)
        else:
            told.append("done")

    threads = [threading.Thread(target=one, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(told)


def test_two_people_who_decide_the_same_at_once_decide_once(desk: Desk) -> None:
    """The second is told, instead of writing a row that changes nothing."""
    task = desk.planned().tasks[0].id
    told = at_once(lambda: override(desk, task, "5101"), lambda: override(desk, task, "5101"))
    assert told == ["done", "same_lane"]
    assert len(lane_overrides(desk.registry, 1)) == 1
    assert at_once(lambda: accept(desk, "6100"), lambda: accept(desk, "6100")) == ["already_decided", "done"]
    assert len(desk.decided("lane:6100")) == 1
