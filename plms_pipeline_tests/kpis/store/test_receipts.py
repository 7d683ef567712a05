"""What the books know, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.store import receipts
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    KpiReceipt,
    LaneGate,
    LaneOverride,
    Project,
    ProjectRun,
    RunTask,
    TaskEstimate,
    TaskPlan,
)

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def row(
    evaluation: str,
    kpi: str = "test_pass_rate",
    *,
    lane: int = 4200,
    value: float | None = 1.0,
    minutes: int = 0,
    **more: Any,
) -> KpiReceipt:
    given: dict[str, Any] = {
        "evaluation_id": evaluation, "lane_id": lane, "kpi_name": kpi, "kpi_value": value, "kpi_threshold": {">=": 0.9},
        "pass_": value is not None and value >= 0.9, "blocks": True, "reason": None if value is not None else "why",
        "artifact_name": "a", "artifact_sha256": "aa", "gates_sha256": "gg", "measured_at": T0 + timedelta(minutes=minutes),
    }  # fmt: skip
    return KpiReceipt(**{**given, **more})


def test_lanes_answer_to_number_name_and_alias(registry: Registry) -> None:
    """Other vocabularies map onto ours."""
    with registry.reading() as session:
        assert receipts.find_lane(session, 4201).name == "Code-Test"
        assert receipts.find_lane(session, "4201").lane_id == 4201
        assert receipts.find_lane(session, "code-test").lane_id == 4201
        assert receipts.find_lane(session, "Documentation").lane_id == 4202
        assert [lane.lane_id for lane in receipts.active_lanes(session)] == [
            4200,
            4201,
            4202,
            5100,
            5101,
            5102,
            6100,
            6101,
        ]


@pytest.mark.parametrize("word", [9999, "Nonsense", "", "' OR 1=1 --", "4200.0", "٤٢٠٠", "9" * 40, "-4200"])
def test_an_unregistered_lane_is_refused(registry: Registry, word: int | str) -> None:
    """In the original an unknown lane passed on its echo alone."""
    with registry.reading() as session, pytest.raises(BadInput) as caught:
        receipts.find_lane(session, word)
    assert caught.value.code == "unknown_lane"


def test_the_seeded_gates_are_those_of_the_guides(registry: Registry) -> None:
    """Lanes 4200 and 4201 are gated on their tests: the original's skipped gate."""
    with registry.reading() as session:
        found = {lane: {gate.kpi: gate.as_json() for gate in receipts.lane_gates(session, lane)} for lane in
                 (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)}  # fmt: skip
    assert found == {
        4200: {"test_pass_rate": {">=": 0.9}, "linter_pass": {"==": True}},
        4201: {"test_pass_rate": {">=": 0.95}, "linter_pass": {"==": True}},
        4202: {"readability": {"<=": 10.0}},
        5100: {"schema_diff": {"==": 0}, "row_count_delta": {"<=": 0.05}},
        5101: {"row_count_delta": {"<=": 0.1}},
        5102: {"row_count_delta": {"<=": 0.05}},
        6100: {}, 6101: {},
    }  # fmt: skip


def test_a_gate_that_cannot_be_judged_is_an_error_and_not_skipped(registry: Registry) -> None:
    """Defect 2 of the original: a gate named `code_tests` was dropped without a word."""
    with registry.writing() as session:
        session.add(LaneGate(lane_id=6100, kpi_name="code_tests", operator=">=", threshold=0.9))
    with registry.reading() as session, pytest.raises(BadInput) as caught:
        receipts.lane_gates(session, 6100)
    assert caught.value.code == "unknown_kpi"


def test_a_gate_that_was_switched_off_does_not_apply(registry: Registry) -> None:
    """Lanes are edited by decision."""
    with registry.writing() as session:
        session.scalars(select(LaneGate).where(LaneGate.lane_id == 4202)).one().active = False
    with registry.reading() as session:
        assert receipts.lane_gates(session, 4202) == ()


def plan(registry: Registry) -> tuple[int, int]:
    """A project with a run, a planned task in lane 4200 and one moved to 4202; their ids."""
    with registry.writing() as session:
        projects = [Project(name="p", created_at=T0), Project(name="q", created_at=T0)]
        session.add_all(projects)
        session.flush()
        tasks = [
            TaskEstimate(
                project_id=projects[0].id, task_name="a", tmd_lane=4200, kpi_formula='{"readability": {"<=": 8}}'
            ),
            TaskEstimate(project_id=projects[0].id, task_name="b", tmd_lane=4200),
        ]
        session.add_all([*tasks, ProjectRun(run_id="r1", project_id=projects[0].id, created_at=T0)])
        session.add(ProjectRun(run_id="r2", project_id=projects[1].id, created_at=T0))
        session.flush()
        session.add(RunTask(run_id="r1", task_id="card-7", lane_id=5101, provider="m"))
        for corrected, hour in ((4201, 1), (4202, 2)):
            session.add(LaneOverride(task_estimate_id=tasks[1].id, predicted_lane=4200, corrected_lane=corrected,
                                     corrected_by="x", corrected_at=T0 + timedelta(hours=hour)))  # fmt: skip
        return tasks[0].id, tasks[1].id


def test_the_books_know_a_tasks_lane_and_formula(registry: Registry) -> None:
    """A run's own card first, then the plan with its newest override."""
    first, second = plan(registry)
    with registry.reading() as session:
        assert receipts.task_facts(session, str(first), None) == receipts.TaskFacts(4200, '{"readability": {"<=": 8}}')
        assert receipts.task_facts(session, str(second), "r1") == receipts.TaskFacts(4202, None)
        assert receipts.task_facts(session, "card-7", "r1") == receipts.TaskFacts(5101, None)
        assert receipts.task_facts(session, "card-7", None) == receipts.TaskFacts(None, None)
        assert receipts.task_facts(session, None, "r1") == receipts.TaskFacts(None, None)


def test_a_task_of_a_run_is_found_by_its_key_in_the_plan(registry: Registry) -> None:
    """Runs name tasks by key; asked by number only, a task's own stricter gate was never put to its work."""
    first, _ = plan(registry)
    with registry.writing() as session:
        project_id = session.get_one(TaskEstimate, first).project_id
        session.add(TaskPlan(task_estimate_id=first, project_id=project_id, task_key="card-7", provider="m"))
    with registry.reading() as session:
        assert receipts.task_facts(session, "card-7", "r1") == receipts.TaskFacts(5101, '{"readability": {"<=": 8}}')


@pytest.mark.parametrize(
    ("task_id", "run_id"), [("card-8", "r1"), ("card-7", "r2"), ("typo", None), ("9" * 30, None), ("", None)]
)
def test_an_unknown_task_is_refused(registry: Registry, task_id: str, run_id: str | None) -> None:
    """A misspelt task was judged by its lane's gates alone, and its own stricter formula never asked."""
    plan(registry)
    with registry.reading() as session, pytest.raises(BadInput, match="name an existing one") as caught:
        receipts.task_facts(session, task_id, run_id)
    assert caught.value.code == "unknown_task"


def test_a_number_of_another_projects_plan_is_another_task(registry: Registry) -> None:
    """Run r2 belongs to project q; task 1 of project p is none of its tasks."""
    first, _ = plan(registry)
    with registry.reading() as session, pytest.raises(BadInput) as caught:
        receipts.task_facts(session, str(first), "r2")
    assert caught.value.code == "unknown_task"


def test_an_unknown_run_is_refused(registry: Registry) -> None:
    """The original's receipts could not be inserted at all; ours name a run that exists or none."""
    with registry.reading() as session, pytest.raises(BadInput) as caught:
        receipts.task_facts(session, None, "nothing")
    assert caught.value.code == "unknown_run"


def test_the_newest_evaluation_of_the_same_bytes_and_gates_is_found(registry: Registry) -> None:
    """The night skips what it judged before; only exactly that."""
    with registry.writing() as session:
        receipts.insert(
            session,
            [
                row("e1"),
                row("e1", "linter_pass"),
                row("e2", minutes=5, value=0.5),
                row("e3", minutes=9, artifact_sha256="bb"),
            ],
        )
    with registry.reading() as session:
        find = {"artifact_name": "a", "artifact_sha256": "aa", "gates_sha256": "gg"}
        assert [each.evaluation_id for each in receipts.last_evaluation(session, **find)] == ["e2"]
        for key in find:
            assert receipts.last_evaluation(session, **{**find, key: "other"}) == ()


def test_pass_rates_count_everything_once(registry: Registry) -> None:
    """By hand: 3 evaluations of 4200, one failed, one without a value; the newest decides `last`."""
    with registry.writing() as session:
        receipts.insert(
            session,
            [row("e1"), row("e2", value=0.5, minutes=9), row("e3", value=None, minutes=5), row("e4", lane=4201, value=0.95),
             row("e5", "readability", lane=4202, value=None)],
        )  # fmt: skip
    with registry.reading() as session:
        found = receipts.pass_rates(session)
    assert [(each.lane_id, each.kpi, each.n, each.passed, each.measured) for each in found] == [
        (4200, "test_pass_rate", 3, 1, 2), (4201, "test_pass_rate", 1, 1, 1), (4202, "readability", 1, 0, 0),
    ]  # fmt: skip
    assert found[0].mean_value == pytest.approx(0.75)
    assert (found[0].last_value, found[0].last_pass, found[0].last_at) == (0.5, False, T0 + timedelta(minutes=9))
    assert found[0].rate == pytest.approx(1 / 3)
    assert found[2].mean_value is None


def test_no_receipts_no_rates(registry: Registry) -> None:
    """The first night."""
    with registry.reading() as session:
        assert receipts.pass_rates(session) == []


def test_one_evaluation_has_one_row_per_kpi(registry: Registry) -> None:
    """The database refuses a second opinion under the same id."""
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), registry.writing() as session:
        receipts.insert(session, [row("e1"), row("e1")])


def test_a_receipt_needs_an_existing_run(registry: Registry) -> None:
    """With foreign keys on; in the original every insert failed with "foreign key mismatch"."""
    from sqlalchemy.exc import IntegrityError

    plan(registry)
    with registry.writing() as session:
        receipts.insert(session, [row("e1", run_id="r1")])
    with pytest.raises(IntegrityError), registry.writing() as session:
        receipts.insert(session, [row("e2", run_id="nothing")])
