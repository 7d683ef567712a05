"""A small healthy registry, filled the way the product fills it: imports, day files, priors; own runs as starts write them."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.estimates.actions.believing import summarise_stale_days
from plms_pipeline.estimates.actions.calibration import write_priors
from plms_pipeline.intake.actions.days import stale_days, write_receipt_days
from plms_pipeline.intake.actions.importing import import_file, prepare
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.intake.sources import SOURCES
from plms_pipeline.intake.store.importing import mark_changed
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    KpiReceipt,
    LaneOverride,
    Project,
    ProjectRun,
    RunPassport,
    RunTask,
    TaskEstimate,
    TaskReceipt,
)
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.invariants import healthy_portfolio
from plms_pipeline_tests.invariants.healthy_runs import PROJECT_LIFE, beside, told

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday: only what changed is proven unless a test says otherwise
CLOCK = FrozenClock(NOW)
ROWS = 120


def settings_in(folder: Path, url: str | None = None) -> Settings:
    environ = {"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")}
    return load_settings(environ if url is None else {**environ, "PLMS_DATABASE_URL": url})


def fill(registry: Registry, settings: Settings) -> None:
    """Everything a healthy registry holds."""
    for source in ("swebench", "metr"):
        path = settings.data_dir / f"{source}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_sample(source), encoding="utf-8")
        prepared = prepare(path, SOURCES[source], renames={}, constants={})
        import_file(registry, prepared, settings=settings, clock=CLOCK, actor=Actor("test"))
    with registry.writing() as session:
        own_runs(session)
    files = DayFiles(settings.data_dir)
    list(write_receipt_days(registry, files, stale_days(registry, files), clock=CLOCK))
    list(summarise_stale_days(registry, alpha=settings.alpha))
    write_priors(registry, as_of=NOW, alpha=settings.alpha, clock=CLOCK)


def _sample(source: str) -> str:
    """The head of a sample and, of the first file, rows of a second model, so that more than one provider is known."""
    with gzip.open(SAMPLES / f"{source}_agent_runs.csv.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    return "".join([*lines[: ROWS + 1], *lines[-ROWS // 3 :]])


def own_runs(session: Session) -> None:
    """A project of our own that rehearsed, ran, and fixed: what the original called poisoned."""
    project = Project(name="calculator", created_at=NOW, budget_cost_usd_max=Decimal(2), status="completed")
    session.add(project)
    session.flush()
    for place, kind in enumerate(("rehearsal", "baseline", "hotfix")):
        own_run(session, project.id, f"own-{kind}", kind, NOW - timedelta(hours=3 - place))
    told(session, "project", str(project.id), PROJECT_LIFE, NOW)
    planned = TaskEstimate(
        project_id=project.id, task_name="write it", tmd_lane=4200, kpi_formula='{"test_pass_rate":{">=":0.95}}',
        estimated_tokens=3000, estimated_cost_usd=Decimal("0.18"), complexity="moderate",
    )  # fmt: skip
    session.add(planned)
    session.flush()
    session.add(
        LaneOverride(
            task_estimate_id=planned.id,
            predicted_lane=4200,
            corrected_lane=4201,
            corrected_by="an owner",
            corrected_at=NOW,
        )
    )


def own_run(session: Session, project_id: int, run_id: str, kind: str, at: datetime) -> None:
    """One run of ours with its passport, task and KPI receipts: first a failing measurement, then a good one."""
    passport = canonical_json({"run_id": run_id, "provider_matrix": {"4200": "m"}})
    sha256 = hashlib.sha256(passport.encode()).hexdigest()
    session.add(
        ProjectRun(
            run_id=run_id, project_id=project_id, status="SUCCESS", run_kind=kind, created_at=at, started_at=at,
            completed_at=at + timedelta(minutes=5), validation="passed", verdict_by="gates", passport_sha256=sha256,
            provider_matrix_json='{"4200":"m"}', strata_coverage=1.0 if kind == "rehearsal" else None,
            rehearsal_pct=0.05 if kind == "rehearsal" else None, write_sandbox=kind == "rehearsal",
        )
    )  # fmt: skip
    session.flush()
    session.add(
        RunPassport(
            run_id=run_id, passport_json=passport, sha256=sha256, provider_matrix_json='{"4200":"m"}',
            env_snapshot_json="{}", is_complete=True, created_at=at,
        )
    )  # fmt: skip
    session.add(RunTask(run_id=run_id, task_id="t1", lane_id=4200, provider="m", status="SUCCESS", validation="passed"))
    session.flush()
    ended = at + timedelta(minutes=5)
    session.add(
        TaskReceipt(
            run_id=run_id, task_id="t1", project_id=project_id, lane_id=4200, provider="m", tokens=3000, tokens_input=2000,
            tokens_output=900, duration_ms=300_000, cost_usd=Decimal("0.18"), status="SUCCESS", started_at=at,
            completed_at=ended, completed_on=ended.date(), natural_key=run_id, source="plms", row_sha256="0" * 64,
            recorded_at=ended,
        )
    )  # fmt: skip
    mark_changed(session, [ended.date()])
    for attempt, value in enumerate((0.5, 0.96)):
        session.add(
            KpiReceipt(
                evaluation_id=f"{run_id}-{attempt}", run_id=run_id, task_id="t1", lane_id=4200, kpi_name="test_pass_rate",
                kpi_value=value, kpi_threshold={">=": 0.9}, pass_=value >= 0.9, blocks=True, gates_sha256="0" * 64,
                measured_at=at + timedelta(minutes=attempt),
            )
        )  # fmt: skip
    beside(session, project_id, run_id, kind, at)
    healthy_portfolio.beside(session, project_id, run_id, kind, at)


def formula(**conditions: object) -> str:
    return json.dumps(conditions)
