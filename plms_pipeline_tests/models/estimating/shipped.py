"""The shipped receipts as a book, read without the importer, and small worlds whose truth is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from plms_pipeline.measures import Measure
from plms_pipeline.models.estimating.history import History
from plms_pipeline_tests.estimates.conftest import SAMPLES, _metr, _swebench


@lru_cache(maxsize=2)
def shipped(measure: Measure) -> History:
    """Every shipped receipt that knows a measure: cost_usd of SWE-bench, duration_ms of METR."""
    if measure == "cost_usd":
        frame = _swebench()
        raw = pd.read_csv(SAMPLES / "swebench_agent_runs.csv.gz").sort_values(["run_date", "model", "instance_id"])
        frame = frame.assign(task=raw["instance_id"].to_numpy(), kind=raw["repo_owner"].to_numpy())
    else:
        frame = _metr()
        raw = pd.read_csv(SAMPLES / "metr_agent_runs.csv.gz")
        frame = frame.assign(task=raw["task_id"].to_numpy(), kind=raw["task_family"].to_numpy())
    frame = frame.sort_values(["ended", "key"], kind="stable").reset_index(drop=True)
    return History(
        measure, frame["lane"].to_numpy(np.int64), frame["provider"].to_numpy(object), frame["task"].to_numpy(object),
        frame["kind"].to_numpy(object), np.full(len(frame), "", dtype=object), frame["started"].to_numpy(np.int64),
        frame["ended"].to_numpy(np.int64), frame[measure].to_numpy(np.float64),
        {"effort": frame["passed"].to_numpy(bool), "spend": np.ones(len(frame), dtype=bool)},
    )  # fmt: skip


def world(n: int = 300, *, tasks: int = 10, task_spread: float = 1.0, seed: int = 5) -> History:
    """Costs of two providers on the same tasks, log-normal, each task with an effect of its own."""
    rng = np.random.default_rng(seed)
    task = rng.integers(0, tasks, n)
    provider = rng.integers(0, 2, n)
    effect = task_spread * np.random.default_rng(99).standard_normal(tasks)
    started = np.sort(rng.integers(0, 20 * 86_400_000, n))
    ended = started + rng.integers(1, 3_600_000, n)
    value = np.exp(-1.0 + 0.5 * provider + effect[task] + 0.3 * rng.standard_normal(n))
    order = np.argsort(ended, kind="stable")
    return History(
        "cost_usd", np.full(n, 4200), np.where(provider == 0, "a", "b").astype(object)[order],
        np.asarray([f"t{one}" for one in task], dtype=object)[order], np.full(n, "k", dtype=object),
        np.full(n, "", dtype=object), started[order], ended[order], value[order],
        {"effort": rng.random(n) < 0.8, "spend": np.ones(n, dtype=bool)},
    )  # fmt: skip
