"""How do receipts look once they are columns? In canonical order, NaN for unknown, ready for the kernels and the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.backtest import Outcomes
from plms_pipeline.estimates.policy import included
from plms_pipeline.measures import Basis, Measure

# What is known of a task before it is done: (run, task) → (kind, complexity), "" for what is not known.
Kinds = Mapping[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Receipts:
    """Arrays of (n,) each; `policy` holds what the rules read, `measures` the values with NaN for unknown."""

    run_id: NDArray[np.object_]
    task_id: NDArray[np.object_]
    attempt: NDArray[np.int64]
    lane_id: NDArray[np.int64]
    provider: NDArray[np.object_]
    started_ms: NDArray[np.int64]
    completed_ms: NDArray[np.int64]
    measures: dict[Measure, NDArray[np.float64]]
    policy: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return int(self.lane_id.size)

    def part(self, where: Any) -> Receipts:
        """The receipts at a slice or mask."""
        return Receipts(
            self.run_id[where], self.task_id[where], self.attempt[where], self.lane_id[where], self.provider[where],
            self.started_ms[where], self.completed_ms[where],
            {name: values[where] for name, values in self.measures.items()},
            {name: values[where] for name, values in self.policy.items()},
        )  # fmt: skip

    def outcomes(self, measure: Measure, basis: Basis) -> Outcomes:
        """What the backtest of a measure on a basis forecasts: included receipts whose value is known."""
        chosen = self.part(included(self.policy, basis) & ~np.isnan(self.measures[measure]))
        return Outcomes(
            chosen.lane_id, chosen.provider, chosen.started_ms, chosen.completed_ms, chosen.measures[measure]
        )
