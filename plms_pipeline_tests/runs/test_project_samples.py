"""The sample projects that ship: their ids, what they show, and that what their commands make passes its gates."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.kpis.actions.evaluate import evaluate_artifact
from plms_pipeline.kpis.actions.warehouse import load_warehouse
from plms_pipeline.kpis.files.warehouse import shipped_script
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.project_samples import make_samples
from plms_pipeline.runs.actions.projects import project
from plms_pipeline.runs.files.task_files import read_task_file, sample_files
from plms_pipeline.runs.money import no_room
from plms_pipeline.runs.store.start import plan_of
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.kpis.conftest import make_world
from plms_pipeline_tests.runs.desk import ANN, NOON, Desk


def made(registry: Registry, *, any_id: bool = False) -> dict[int, str]:
    found = make_samples(registry, sample_files(), clock=FrozenClock(NOON), actor=ANN, any_id=any_id)
    return {one.view.id: one.view.name for one in found}


def test_the_samples_have_the_ids_of_the_guides_examples(registry: Registry) -> None:
    """A copied example that starts project 42 must find it."""
    names = {1: "Roman numerals library", 2: "Costs of agents", 3: "Small model", 42: "Calculator API"}
    assert made(registry) == names
    assert made(registry) == names
    assert Desk(registry).planned().id == 43


def test_an_id_that_somebody_else_has_is_said(registry: Registry) -> None:
    """Nothing is made then, unless any id will do."""
    other = Desk(registry).planned().id
    with pytest.raises(Conflict, match="Other projects have the ids 1 of the samples"):
        made(registry)
    found = made(registry, any_id=True)
    assert set(found) > {2, 3, 42}
    assert other not in found
    assert made(registry, any_id=True) == found


def test_every_sample_can_be_estimated_submitted_and_approved(sqlite_registry: Registry) -> None:
    """Nobody should have to mend what ships before trying it."""
    desk = Desk(sqlite_registry)
    for project_id in made(sqlite_registry):
        desk.estimated(project_id)
        from plms_pipeline.runs.actions.decide_project import submit_project

        submit_project(sqlite_registry, project_id, clock=desk.clock, ids=desk.ids, actor=ANN)
        assert desk.approve(project_id).view.status == "approved"


@pytest.mark.live
def test_what_the_commands_of_project_1_make_passes_its_gates(
    sqlite_registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    """The demonstration rests on it: real commands, real artifacts, measured by the real validators."""
    made(sqlite_registry)
    world = make_world(sqlite_registry, settings, FrozenClock(NOON))
    for task in project(sqlite_registry, 1).tasks:
        folder = tmp_path / task.key
        folder.mkdir()
        assert task.command is not None
        assert task.command[0] == "python"
        subprocess.run([sys.executable, *task.command[1:]], cwd=folder, check=True, timeout=60)
        found = evaluate_artifact(folder, world=world, lane=task.lane_id, task_id=str(task.id))
        assert found.verdict == "passed", [result.as_json() for result in found.kpis]


def test_project_2_fails_for_a_reason_that_is_really_there(
    sqlite_registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    """It is what a review and an override are shown on."""
    load_warehouse(shipped_script(), settings.data_dir / "kpi_warehouse.db")
    given = {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir)}
    made(sqlite_registry)
    world = make_world(sqlite_registry, load_settings(given), FrozenClock(NOON))
    [task] = [task for task in project(sqlite_registry, 2).tasks if task.command is not None]
    subprocess.run([sys.executable, *(task.command or ())[1:]], cwd=tmp_path, check=True, timeout=60)
    found = evaluate_artifact(tmp_path, world=world, lane=task.lane_id, task_id=str(task.id))
    assert found.verdict == "failed"
    [kpi] = found.kpis
    assert kpi.value == pytest.approx(6 / 36)


def test_the_canary_of_project_42_can_be_representative(sqlite_registry: Registry) -> None:
    """One task of each kind must fit into 5 % of them."""
    made(sqlite_registry)
    tasks = project(sqlite_registry, 42).tasks
    strata = {(task.kind, task.complexity, task.lane_id) for task in tasks}
    assert len(strata) <= 0.05 * len(tasks)


def test_project_3_shows_suggested_lanes_and_lanes_without_gates(sqlite_registry: Registry) -> None:
    """It is what `accept-ungated` and the keywords are tried on."""
    made(sqlite_registry)
    tasks = project(sqlite_registry, 3).tasks
    assert {task.lane_id for task in tasks} == {5102, 6100, 6101, 4202}
    assert [task.lane_source for task in tasks if task.key == "card"] == ["keywords"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """In one sentence, with the path."""
    binary = tmp_path / "plan.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no UTF-8 text"):
        read_task_file(binary)
    with pytest.raises(BadInput, match="cannot be read"):
        read_task_file(tmp_path / "nowhere.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        read_task_file(tmp_path)
    bom = tmp_path / "plan.CSV"
    bom.write_bytes(b"\xef\xbb\xbfkey\n")
    assert (read_task_file(bom).text, read_task_file(bom).is_csv) == ("key\n", True)


def test_a_file_without_an_end_is_read_no_further_than_the_limit() -> None:
    """A device or a pipe tells no size beforehand: the command would fill the memory of the machine."""
    with pytest.raises(BadInput, match="is larger than"):
        read_task_file(Path("/dev/zero"))


def test_every_sample_starts_in_an_empty_registry(sqlite_registry: Registry) -> None:
    """Where no receipt is known a task reserves what ignorance asks for; a sample whose budget is less would stand still."""
    made(sqlite_registry)
    desk = Desk(sqlite_registry)
    for number in (1, 2, 3, 42):
        desk.estimated(number)
    with sqlite_registry.reading() as session:
        for number in (1, 2, 3, 42):
            plan = plan_of(session, number)
            budget = project(sqlite_registry, number).budget_cost_usd_max
            assert budget is not None
            assert min(cap for cap in plan.caps if cap is not None) > 10
            assert no_room(plan, spent=Decimal(0), budget=budget) is None
