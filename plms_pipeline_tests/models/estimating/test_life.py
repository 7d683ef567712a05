"""Does a model of estimates go the same way as any other: trained, judged, decided about, promoted, heard?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from plms_pipeline.errors import Conflict, NoData
from plms_pipeline.models.actions.candidates import register
from plms_pipeline.models.estimating import actions
from plms_pipeline.models.estimating.actions import (
    EstimatesRequest,
    forecast_task,
    retrain_estimates,
    trained_estimates,
)
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.estimating.files import SNAPSHOTS
from plms_pipeline.models.estimating.forecasting import Task
from plms_pipeline.models.estimating.judging import Limits
from plms_pipeline.models.estimating.walkforward import Plan
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, ReceiptDay, RunTask, TaskReceipt
from plms_pipeline_tests.models.candidates import LAUNCHER, NOW, House, house
from plms_pipeline_tests.models.estimating.shipped import world

LENIENT = Limits(rows=50, coverage=(0.5, 1.0), lane_coverage=(0.5, 1.0))
ASKED = EstimatesRequest(
    EstimatesExperiment(measures=("cost_usd",), plan=Plan(0.6, blocks=1), limits=LENIENT), "ann", "a try"
)


def fill(registry: Registry, *, n: int = 400) -> None:
    """A world in which tasks differ, in the books, each receipt a run of its own."""
    history = world(n, task_spread=1.5)
    first = NOW - timedelta(days=30)
    with registry.writing() as session:
        project = Project(name="p", status="completed", source="test", created_at=first)
        session.add(project)
        session.flush()
        days, runs, tasks, receipts = set(), [], [], []
        for row in range(len(history)):
            began, ended = (
                first + timedelta(milliseconds=int(at[row])) for at in (history.started_ms, history.completed_ms)
            )
            run = f"run-{row:04d}"
            runs.append(ProjectRun(
                run_id=run, project_id=project.id, status="SUCCESS", run_kind="baseline", validation="passed",
                created_at=began, started_at=began, completed_at=ended, verdict_by="source",
                source_file_sha256="ab" * 32, source="test",
            ))  # fmt: skip
            shared = {
                "run_id": run,
                "task_id": str(history.task[row]),
                "lane_id": 4200,
                "provider": str(history.provider[row]),
            }
            tasks.append(RunTask(**shared, task_kind="k", status="SUCCESS", validation="passed"))
            receipts.append(TaskReceipt(
                **shared, attempt=1, project_id=project.id, cost_usd=Decimal(f"{history.value[row]:.6f}"), status="SUCCESS",
                started_at=began, completed_at=ended, completed_on=ended.date(), natural_key=f"k{row:04d}", source="test",
                source_file_sha256="ab" * 32, row_sha256="cd" * 32, recorded_at=ended,
            ))  # fmt: skip
            days.add(ended.date())
        # Each kind at once: a receipt needs its task, and that its run.
        for rows in (runs, tasks, receipts):
            session.add_all(rows)
            session.flush()
        session.add_all(ReceiptDay(day=day, changed_seq=1) for day in sorted(days))


@dataclass
class Life:
    """A house whose books hold the world."""

    home: House

    def train(self, run_id: str) -> None:
        done = retrain_estimates(
            self.home.registry, ASKED, root=self.home.root, clock=self.home.clock, run_id=run_id, code_version="1"
        )
        found = trained_estimates(done, self.home.root)
        register(self.home.registry, found, actor=LAUNCHER, clock=self.home.clock, expiry=timedelta(days=14))


@pytest.fixture
def life(sqlite_registry: Registry, tmp_path: Path) -> Life:
    found = Life(house(sqlite_registry, tmp_path))
    fill(sqlite_registry)
    return found


@pytest.mark.live
def test_a_promoted_model_is_heard_and_none_changes_nothing(life: Life) -> None:
    """A family that is trained and never used would be a report, and one that is used unasked a surprise."""
    home = life.home
    task = Task(4200, "a", "t3", "k")
    champion, before = forecast_task(home.registry, task, root=home.root, at=NOW)
    assert champion is None
    assert {one.by for one in before} == {"priors"}
    life.train("est-1")
    _, waiting = forecast_task(home.registry, task, root=home.root, at=NOW)
    assert waiting == before
    home.decide("est-1", "approve")
    home.promote("est-1")
    champion, after = forecast_task(home.registry, task, root=home.root, at=NOW)
    assert champion is not None
    assert champion.candidate_id == "est-1"
    assert {(one.basis, one.by) for one in after} == {("effort", "champion"), ("spend", "champion")}
    assert all(new.found.prior == old.found.quantiles for new, old in zip(after, before, strict=True))
    width = [one.found.quantiles[37] / one.found.quantiles[1] for one in (*after, *before)]
    assert max(width[:2]) < min(width[2:])


def test_receipts_that_were_changed_after_the_training_keep_it_from_going_live(life: Life) -> None:
    """Whoever decides, decides about these receipts."""
    life.train("est-1")
    path = next((life.home.root / SNAPSHOTS).glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Conflict, match="changed after the evaluation"):
        life.home.decide("est-1", "approve")


def test_a_training_that_is_interrupted_in_its_last_stage_leaves_no_run(
    sqlite_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a model and without its evaluation would look like a run that nobody judged."""
    home = house(sqlite_registry, tmp_path)
    fill(sqlite_registry)

    def interrupted(*_args: object, **_documents: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(actions, "write_evaluation", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrain_estimates(sqlite_registry, ASKED, root=home.root, clock=home.clock, run_id="e", code_version="1")
    assert list((home.root / actions.RUNS).iterdir()) == []


def test_without_receipts_there_is_nothing_to_train_on(sqlite_registry: Registry, tmp_path: Path) -> None:
    home = house(sqlite_registry, tmp_path)
    with pytest.raises(NoData, match="plms import"):
        retrain_estimates(sqlite_registry, ASKED, root=home.root, clock=home.clock, run_id="e", code_version="1")
