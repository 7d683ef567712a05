"""The shipped receipts as columns, read here without the importer: what it does wrong must not pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.orm import Session

from plms_pipeline.estimates.backtest import Outcomes
from plms_pipeline.measures import Measure
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, ReceiptDay, TaskReceipt

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
LANES_BY_OWNER = {"sphinx-doc": 4202, "pytest-dev": 4201, "pylint-dev": 4201}
FAMILIES = {
    6101: ("hypothesis_testing", "env_scientist", "symbolic_regression", "audio_classification", "cuda_backtesting"),
    5102: ("munge_data", "data_deduplication", "interpret_data"),
    5101: ("wikipedia_research", "gaia", "auto_days_since"),
    4201: ("debug_small_libs", "password_check", "credit_card_validity"),
}


def _family_lane(family: str) -> int:
    for prefix, lane in (("ai_rd_", 6100), ("local_research", 5101)):
        if family.startswith(prefix):
            return lane
    return next((lane for lane, names in FAMILIES.items() if family in names), 4200)


def _swebench() -> pd.DataFrame:
    frame = pd.read_csv(SAMPLES / "swebench_agent_runs.csv.gz").sort_values(["run_date", "model", "instance_id"])
    midnight = (pd.to_datetime(frame["run_date"]) - pd.Timestamp(0)).dt.days.to_numpy() * 86_400_000
    ended = midnight + frame.groupby("run_date").cumcount().to_numpy() * 1000
    return pd.DataFrame({
        "lane": frame["repo_owner"].map(LANES_BY_OWNER).fillna(4200).astype(int), "provider": frame["model"],
        "started": ended, "ended": ended, "cost_usd": frame["cost_usd"].round(6), "duration_ms": np.nan,
        "passed": frame["resolved"].astype(str) == "True", "key": frame["model"] + "|" + frame["instance_id"],
    })  # fmt: skip


def _metr() -> pd.DataFrame:
    frame = pd.read_csv(SAMPLES / "metr_agent_runs.csv.gz")
    return pd.DataFrame({
        "lane": frame["task_family"].map(_family_lane), "provider": frame["model"], "started": frame["started_at"],
        "ended": frame["completed_at"], "cost_usd": np.nan, "duration_ms": frame["completed_at"] - frame["started_at"],
        "passed": frame["score_binarized"] == 1, "key": frame["run_id"],
    })  # fmt: skip


@pytest.fixture(scope="session")
def shipped() -> pd.DataFrame:
    """Every shipped receipt in canonical order."""
    frame = pd.concat([_swebench(), _metr()])
    return frame.sort_values(["ended", "key"], kind="stable").reset_index(drop=True)


def outcomes_of(frame: pd.DataFrame, measure: Measure, *, passed_only: bool) -> Outcomes:
    chosen = frame[frame[measure].notna() & (frame["passed"] | (not passed_only))]
    return Outcomes(
        chosen["lane"].to_numpy(np.int64), chosen["provider"].to_numpy(object), chosen["started"].to_numpy(np.int64),
        chosen["ended"].to_numpy(np.int64), chosen[measure].to_numpy(np.float64),
    )  # fmt: skip


@pytest.fixture(scope="session")
def shipped_outcomes(shipped: pd.DataFrame) -> Callable[..., Outcomes]:
    """Outcomes of the shipped receipts: `shipped_outcomes(measure, passed_only=…)`."""
    return lambda measure, *, passed_only: outcomes_of(shipped, measure, passed_only=passed_only)


@dataclass
class Book:
    """Writes runs with one receipt each straight into the books, as a writer of receipts must: the day's change counted."""

    registry: Registry
    project_id: int = 0
    written: int = 0

    def add(
        self, provider: str = "m", cost: str | None = "1.0", *, lane: int = 4200, at: datetime = NOON,
        took: timedelta | None = None, validation: str = "passed", run_kind: str = "baseline", attempt: int = 1,
        run_id: str | None = None, **run: Any,
    ) -> str:  # fmt: skip
        """One receipt, completed at `at`; the run is made unless `run_id` names one."""
        self.written += 1
        name = run_id or f"run-{self.written:04d}"
        took = timedelta(0) if took is None else took
        with self.registry.writing() as session:
            if not self.project_id:
                project = Project(name="p", status="completed", source="test", created_at=at)
                session.add(project)
                session.flush()
                self.project_id = project.id
            if run_id is None:
                facts = {"verdict_by": "source", "source_file_sha256": "ab" * 32, "source": "test"} | run
                session.add(ProjectRun(
                    run_id=name, project_id=self.project_id, status="SUCCESS", run_kind=run_kind, validation=validation,
                    created_at=at, started_at=at - took, completed_at=at, **facts,
                ))  # fmt: skip
                session.flush()
            session.add(TaskReceipt(
                run_id=name, task_id="t", attempt=attempt, project_id=self.project_id, lane_id=lane, provider=provider,
                cost_usd=None if cost is None else Decimal(cost), duration_ms=int(took.total_seconds() * 1000) or None,
                status="SUCCESS", started_at=at - took, completed_at=at, completed_on=at.date(),
                natural_key=f"k{self.written:04d}", source="test", source_file_sha256="ab" * 32, row_sha256="cd" * 32,
                recorded_at=at,
            ))  # fmt: skip
            self.touch(session, at.date())
        return name

    def touch(self, session: Session, day: date) -> None:
        """Count a change of a day."""
        known = session.get(ReceiptDay, day)
        if known is None:
            session.add(ReceiptDay(day=day, changed_seq=1))
        else:
            known.changed_seq += 1


@pytest.fixture
def book(registry: Registry) -> Book:
    return Book(registry)


@pytest.fixture
def sqlite_book(sqlite_registry: Registry) -> Book:
    return Book(sqlite_registry)
