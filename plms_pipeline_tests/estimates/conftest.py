"""The shipped receipts as columns, read here without the importer: what it does wrong must not pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.estimates.backtest import Outcomes
from plms_pipeline.measures import Measure

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
