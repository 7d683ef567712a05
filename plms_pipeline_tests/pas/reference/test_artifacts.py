"""Do staged artifacts measure as ordered, and land whole where they may and nowhere else?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.actions.evaluate import evaluate_artifact
from plms_pipeline.kpis.actions.warehouse import load_warehouse
from plms_pipeline.kpis.files.warehouse import shipped_script
from plms_pipeline.pas.reference.artifacts import Recipe, recipe
from plms_pipeline.pas.reference.files import ArtifactRoot
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.kpis.conftest import make_world
from plms_pipeline_tests.pas.reference.conftest import SAMPLES, Bench

LANES = (4200, 4201, 4202, 5100, 5101, 5102)


@pytest.fixture
def kpi_world(sqlite_registry: Registry, settings: Settings, clock: object) -> Any:
    load_warehouse(shipped_script(), settings.data_dir / "kpi_warehouse.db")
    given = {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir)}
    return make_world(sqlite_registry, load_settings(given), clock)  # type: ignore[arg-type]  # a clock that stands still


@pytest.mark.live
@pytest.mark.parametrize("is_red", [False, True])
def test_green_passes_and_red_fails_in_every_gated_lane(kpi_world: Any, tmp_path: Path, is_red: bool) -> None:
    """Gates that see the same folder whatever the fault says prove nothing about gates."""
    root = ArtifactRoot(tmp_path, SAMPLES)
    verdicts = {}
    for lane in LANES:
        folder = tmp_path / "staged" / str(lane)
        root.stage(str(folder), recipe(lane, is_red=is_red))
        verdicts[lane] = evaluate_artifact(folder, world=kpi_world, lane=lane).verdict
    assert verdicts == dict.fromkeys(LANES, "failed" if is_red else "passed")


@pytest.mark.parametrize("lane", [6100, 6101])
def test_a_lane_without_gates_gets_a_folder_too(tmp_path: Path, lane: int) -> None:
    """An empty folder would be taken for work that was lost."""
    ArtifactRoot(tmp_path, SAMPLES).stage(str(tmp_path / "a"), recipe(lane, is_red=True))
    assert json.loads((tmp_path / "a" / "plms_artifact.json").read_text()) == {"lane": lane}


@pytest.mark.parametrize(
    "where",
    [
        "/etc/plms",
        "relative/x",
        "{root}",
        "{root}/../x",
        "{root}/link/x",
        "{root}/a\0b",
        "{root}/" + "n" * 300 + "/x",
        "{root}/loop/x",
    ],
)
def test_nothing_is_written_outside_of_the_root(tmp_path: Path, where: str) -> None:
    """The path comes from a card; whoever may submit cards must not write where they like."""
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root" / "loop")
    root = ArtifactRoot(tmp_path / "root", SAMPLES)
    with pytest.raises(BadInput) as raised:
        root.stage(where.format(root=tmp_path / "root"), recipe(4200, is_red=False))
    assert raised.value.code == "bad_artifacts_dir"
    assert list((tmp_path / "outside").iterdir()) == []


def test_staging_again_leaves_what_staging_once_leaves(tmp_path: Path) -> None:
    """After a crash the card is worked again; leftovers of the first time must not be measured."""
    root = ArtifactRoot(tmp_path, SAMPLES)
    target = tmp_path / "run" / "1"
    (tmp_path / "run" / ".1.pas-deadbeef").mkdir(parents=True)
    root.stage(str(target), Recipe(None, {"old.txt": "x"}))
    root.stage(str(target), Recipe(None, {"new/file.txt": "y"}))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "run/1/new/file.txt"
    ]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["1"]


def test_a_place_that_cannot_be_written_fails_the_task_not_the_executor(bench: Bench, tmp_path: Path) -> None:
    """One card with a bad path must not stop the work of all others."""
    (tmp_path / "file").write_text("in the way")
    bench.start(tasks=2)
    bench.card("a", payload={"artifacts_dir": str(tmp_path / "file" / "x")})
    bench.card("b", payload={"artifacts_dir": str(tmp_path / "good")})
    bench.work(101)
    assert bench.states() == {"a": "failed", "b": "succeeded"}
    assert (tmp_path / "good" / "src" / "token_bucket.py").is_file()


def test_a_sandboxed_run_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    """A rehearsal with writes suppressed that leaves artifacts was no rehearsal."""
    bench.start(write_sandbox=True, run_kind="rehearsal")
    bench.card("a", payload={"artifacts_dir": str(tmp_path / "x")})
    bench.work(101)
    assert bench.states() == {"a": "succeeded"}
    assert not (tmp_path / "x").exists()
    receipt = bench.status().tasks[0].receipt
    assert receipt is not None
    assert receipt.artifacts_path is None


def test_red_work_claims_to_be_green(bench: Bench, tmp_path: Path) -> None:
    """Echo green and KPI red is the failure that the product promises to stop: the claim must be there."""
    bench.faults(kpi_red=1.0)
    bench.start()
    bench.card("a", payload={"artifacts_dir": str(tmp_path / "x")})
    bench.work(101)
    [task] = bench.status().tasks
    assert task.status == "succeeded"
    assert task.receipt is not None
    assert (task.receipt.echo_cos or 0) >= 0.82
    assert (tmp_path / "x" / "tests" / "test_regression.py").is_file()


def test_an_unwritable_root_is_named(tmp_path: Path) -> None:
    """The error must say which folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="file/x"):
        ArtifactRoot(tmp_path, SAMPLES).stage(str(tmp_path / "file" / "x" / "y"), Recipe(None))
