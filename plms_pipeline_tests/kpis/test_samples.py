"""The shipped artifacts and the shipped database are what their README says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from plms_pipeline.kpis.actions.inbox import evaluate_inbox
from plms_pipeline.kpis.actions.warehouse import load_warehouse
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import InboxItem
from plms_pipeline.kpis.files.inbox import add
from plms_pipeline.kpis.files.warehouse import shipped_script
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.kpis.conftest import make_world

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
ARTIFACTS = SAMPLES / "artifacts"
FOLDERS = sorted(path for path in ARTIFACTS.iterdir() if path.is_dir())


@pytest.fixture
def world(sqlite_registry: Registry, settings: Settings, clock: object) -> World:
    target = settings.data_dir / "kpi_warehouse.db"
    load_warehouse(shipped_script(), target)
    given = {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir)}
    return make_world(sqlite_registry, load_settings(given), clock)  # type: ignore[arg-type]


@pytest.mark.live
def test_one_sample_per_gated_lane_two_of_them_failing_for_a_real_reason(world: World) -> None:
    """What `make run` shows a stranger must be measured, and must show both colours."""
    for folder in FOLDERS:
        add(folder, world.settings.artifacts_inbox)
    found = {item.name: item for item in evaluate_inbox(world)}
    assert {name: item.verdict for name, item in found.items()} == {
        "4200-token-bucket": "passed",
        "4201-delimited-text": "failed",
        "4202-operator-guide": "passed",
        "5100-agent-models": "passed",
        "5101-task-families": "failed",
        "5102-repository-costs": "passed",
    }
    assert _values(found["4200-token-bucket"]) == {"linter_pass": True, "test_pass_rate": 1.0}
    assert _values(found["4201-delimited-text"]) == {"linter_pass": True, "test_pass_rate": 0.9}
    assert _values(found["5101-task-families"]) == {"row_count_delta": pytest.approx(6 / 36)}
    assert _values(found["4202-operator-guide"])["readability"] < 5
    assert _values(found["4202-operator-guide"])["echo_cosine"] > 0.82
    assert _values(found["5100-agent-models"]) == {"row_count_delta": 0.0, "schema_diff": 0}


def _values(item: InboxItem) -> dict[str, float]:
    return {each.gate.kpi: each.value for each in item.kpis if each.value is not None}


def test_the_readme_describes_every_folder_and_its_verdict() -> None:
    """A sample that nobody explains teaches nothing."""
    text = (ARTIFACTS / "README.md").read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert sorted(rows) == [folder.name for folder in FOLDERS]
    assert sorted(name for name, line in rows.items() if "**fails**" in line) == [
        "4201-delimited-text",
        "5101-task-families",
    ]


def test_the_warehouse_holds_the_figures_of_the_shipped_receipts(world: World) -> None:
    """Counted again from the sample files by pandas."""
    connection = sqlite3.connect(world.settings.data_dir / "kpi_warehouse.db")
    runs = pd.read_csv(SAMPLES / "swebench_agent_runs.csv.gz")
    models = runs.groupby("model").agg(
        runs=("cost_usd", "size"), resolved=("resolved", "sum"), cost=("cost_usd", "sum")
    )
    stored = connection.execute("SELECT model, runs, resolved, cost_usd FROM agent_models ORDER BY model").fetchall()
    expected = [
        (str(m), r.runs, r.resolved, round(r.cost, 2)) for m, r in zip(models.index, models.itertuples(), strict=True)
    ]
    assert [row[:3] for row in stored] == [row[:3] for row in expected]
    assert [row[3] for row in stored] == pytest.approx([row[3] for row in expected], abs=0.0051)
    tasks = (
        pd.read_csv(SAMPLES / "metr_agent_runs.csv.gz").groupby("task_family")["score_binarized"].agg(["size", "sum"])
    )
    assert len(tasks) == 36
    solved = tasks[tasks["sum"] > 0]
    stored = connection.execute("SELECT task_family, runs, solved FROM task_families ORDER BY task_family").fetchall()
    assert stored == [(str(name), int(row["size"]), int(row["sum"])) for name, row in solved.iterrows()]
    pairs = runs.groupby(["repo_owner", "model"]).size()
    stored = connection.execute("SELECT repo_owner, model, runs FROM repository_costs ORDER BY 1, 2").fetchall()
    assert stored == [(*key, int(count)) for key, count in sorted(pairs.items())]
    connection.close()
