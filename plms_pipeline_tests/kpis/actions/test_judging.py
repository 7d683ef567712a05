"""Is work judged once per bytes and gates, and never by another task's answer?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, update

from plms_pipeline.kpis.actions.evaluate import rows_of
from plms_pipeline.kpis.actions.judging import Judge, Judgement, Work
from plms_pipeline.kpis.store import receipts
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lane, LaneGate, TaskEstimate, TaskPlan
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worked import Planned, Worked

PROSE = "The cat sat on the mat. " * 40
HARD = (
    "Notwithstanding considerable organisational heterogeneity, interdepartmental prioritisation remains problematic. "
    * 20
)


@pytest.fixture
def worked(sqlite_registry: Registry, settings: Settings) -> Iterator[Worked]:
    return Worked(sqlite_registry, settings)


def made(worked: Worked, *, lane: int = 4202, text: str = PROSE, manifest: dict[str, object] | None = None) -> Work:
    run_id = worked.run([Planned("a", lane_id=lane)])
    files = {"generated_docs.md": text}
    if manifest is not None:
        files["plms_artifact.json"] = json.dumps(manifest)
    return Work(run_id, "a", 1, lane, worked.stage(run_id, "a", files))


def kept(worked: Worked, found: Judgement) -> Judgement:
    """Record a judgement as a settlement does."""
    assert found.evaluation is not None
    with worked.registry.writing() as session:
        receipts.insert(session, rows_of(found.evaluation))
    return found


def test_good_work_passes_and_bad_work_fails(worked: Worked) -> None:
    """The gates are those of the lane."""
    assert Judge(worked.world).judge(made(worked)).verdict == "passed"
    assert Judge(worked.world).judge(made(worked, text=HARD)).verdict == "failed"


def test_the_same_bytes_are_not_measured_again_whoever_made_them(worked: Worked) -> None:
    """Thousands of tasks a day hand in the same files; a test suite takes minutes."""
    first = kept(worked, Judge(worked.world).judge(made(worked)))
    other = made(worked)
    judge = Judge(worked.world)
    again = judge.known(other)
    assert again is not None
    assert again.verdict == "passed"
    assert first.evaluation is not None
    assert again.evaluation is not None
    assert again.evaluation.run_id == other.run_id
    assert again.evaluation.evaluation_id != first.evaluation.evaluation_id
    assert again.evaluation.kpis[0].value == first.evaluation.kpis[0].value


def test_other_gates_are_another_question(worked: Worked) -> None:
    """A stricter gate must not be answered by a judgement of yesterday."""
    kept(worked, Judge(worked.world).judge(made(worked)))
    with worked.registry.writing() as session:
        session.execute(update(LaneGate).where(LaneGate.lane_id == 4202).values(threshold=-50.0))
    assert Judge(worked.world).known(made(worked)) is None
    assert Judge(worked.world).judge(made(worked)).verdict == "failed"


def test_the_tasks_own_formula_makes_its_gates_stricter(worked: Worked) -> None:
    """In a run a task goes by the name that its plan gives it."""
    work = made(worked)
    with worked.registry.writing() as session:
        planned = TaskEstimate(project_id=1, task_name="a", tmd_lane=4202, kpi_formula='{"readability": {"<=": -50}}')
        session.add(planned)
        session.flush()
        session.add(TaskPlan(task_estimate_id=planned.id, project_id=1, task_key="a", provider="p"))
    assert Judge(worked.world).judge(work).verdict == "failed"


def test_a_lane_without_gates_asks_nothing(worked: Worked) -> None:
    """Work that nobody asked about is not good, it is ungated; and nothing is measured for it."""
    found = Judge(worked.world).known(made(worked, lane=6100))
    assert found == Judgement("ungated")


@pytest.mark.parametrize(
    ("manifest", "why"),
    [({"lane": 4200}, "lane 4200"), ({"task_id": "other"}, "task 'other'"), ({"run_id": "other"}, "run 'other'"),
     ({"thresholds": 1}, "thresholds")],
)  # fmt: skip
def test_work_that_says_it_is_somebody_elses_fails_with_that_reason(
    worked: Worked, manifest: dict[str, object], why: str
) -> None:
    """Nobody may choose an easier lane, or hand in another task's work."""
    found = Judge(worked.world).judge(made(worked, manifest=manifest))
    assert found.verdict == "failed"
    assert found.evaluation is not None
    assert why in str(found.evaluation.kpis[0].reason)


def test_work_that_names_its_task_answers_for_no_other(worked: Worked) -> None:
    """The same bytes are right for the task that they name and wrong for all others."""
    named = made(worked, manifest={"task_id": "a"})
    assert kept(worked, Judge(worked.world).judge(named)).verdict == "passed"
    run_id = worked.run([Planned("b", lane_id=4202)])
    files = {path.name: path.read_text() for path in named.directory.iterdir()}
    other = Work(run_id, "b", 1, 4202, worked.stage(run_id, "b", files))
    judge = Judge(worked.world)
    assert judge.known(other) is None
    failed = kept(worked, judge.judge(other))
    assert failed.verdict == "failed"
    assert Judge(worked.world).judge(made(worked, manifest={"task_id": "a"})).verdict == "passed"


@pytest.mark.parametrize("kind", ["missing", "file", "link"])
def test_no_artifact_is_a_failed_gate_with_that_reason(worked: Worked, tmp_path: Path, kind: str) -> None:
    """Missing work must neither pass nor stop the settlement."""
    work = made(worked)
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind == "link":
        place.symlink_to(work.directory)
    found = Judge(worked.world).known(Work(work.run_id, "a", 1, 4202, place))
    assert found is not None
    assert found.verdict == "failed"
    assert found.evaluation is not None
    assert "folder" in str(found.evaluation.kpis[0].reason)
    assert found.evaluation.artifact_sha256 == ""


def test_a_formula_that_cannot_be_judged_fails_and_says_so(worked: Worked) -> None:
    """A gate that is skipped because nobody understands it is the failure that this product promises to stop."""
    work = made(worked)
    with worked.registry.writing() as session:
        planned = TaskEstimate(project_id=1, task_name="a", tmd_lane=4202, kpi_formula='{"code_tests": {">=": 1}}')
        session.add(planned)
        session.flush()
        session.add(TaskPlan(task_estimate_id=planned.id, project_id=1, task_key="a", provider="p"))
    found = Judge(worked.world).judge(work)
    assert found.verdict == "failed"
    assert found.evaluation is not None
    assert "code_tests" in str(found.evaluation.kpis[0].reason)


def test_a_system_that_is_away_is_neither_good_nor_bad(worked: Worked) -> None:
    """The caller tries again; the work did nothing wrong."""
    settings = worked.settings.model_copy(update={"kpi_database_url": "postgresql+psycopg://127.0.0.1:1/none"})
    run_id = worked.run([Planned("a", lane_id=5102)])
    counts = json.dumps({"table_fq": "x.y", "row_count": 3})
    folder = worked.stage(run_id, "a", {"expected_row_count.json": counts})
    found = Judge(Worked(worked.registry, settings, worked.clock).world).judge(Work(run_id, "a", 1, 5102, folder))
    assert found.is_away
    assert found.verdict == "failed"


def test_a_lane_that_was_closed_since_still_judges_what_was_begun_in_it(worked: Worked) -> None:
    """Otherwise closing a lane would stop the settlement of its running work."""
    work = made(worked)
    with worked.registry.writing() as session:
        session.execute(update(Lane).where(Lane.lane_id == 4202).values(active=False))
    assert Judge(worked.world).judge(work).verdict == "passed"


def test_a_gate_that_cannot_be_judged_fails_the_work_and_stops_nothing(worked: Worked) -> None:
    """A row that somebody edited wrongly must neither pass the work nor hold up everybody else's."""
    work = made(worked)
    with worked.registry.writing() as session:
        session.execute(update(LaneGate).where(LaneGate.lane_id == 4202).values(threshold="ten"))
    found = Judge(worked.world).judge(work)
    assert found.verdict == "failed"
    assert found.evaluation is not None
    assert "threshold must be a finite number" in str(found.evaluation.recorded[0].reason)


def test_the_questions_of_a_run_are_read_once_for_all_its_tasks(worked: Worked) -> None:
    """A settlement of 200 events asked the database 200 times for the formulas of ten runs."""
    run_id = worked.run([Planned(name, lane_id=4202) for name in "abcdef"])
    judge = Judge(worked.world)
    asked: list[str] = []
    listener = lambda _connection, _cursor, statement, *_: asked.append(statement)  # noqa: E731 - one line says it
    event.listen(worked.registry.engine, "before_cursor_execute", listener)
    try:
        for name in "abcdef":
            judge.ask(Work(run_id, name, 1, 4202, worked.settings.data_dir))
    finally:
        event.remove(worked.registry.engine, "before_cursor_execute", listener)
    assert len([statement for statement in asked if "kpi_formula" in statement]) == 1
