"""What has been seen of tasks, as a model of estimates reads it?

Receipts of one measure in canonical order, with what is known of each task before it is done: lane, provider, its kind (a
repository, a task family), its complexity, and which task it is. A row teaches a basis as the calibration policy says; rows
that do not are still seen, because what a task took those who failed at it says much about what it will take the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.backtest import Outcomes
from plms_pipeline.measures import BASES, Basis, Measure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.object_]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Receipts with a known value, in canonical order; arrays of (n,).

    Attributes:
        kind, complexity: "" where unknown.
        started_ms, completed_ms: since 1970.
        value: in the measure's unit, ≥ 0.
        taught: whether each row teaches a basis.
    """

    measure: Measure
    lane_id: Ints
    provider: Words
    task: Words
    kind: Words
    complexity: Words
    started_ms: Ints
    completed_ms: Ints
    value: Floats
    taught: Mapping[Basis, Mask]

    def __len__(self) -> int:
        return int(self.value.size)

    def part(self, where: Any) -> History:
        """The rows at a slice or mask."""
        kept = {one.name: getattr(self, one.name) for one in fields(self)}
        arrays = {name: values[where] for name, values in kept.items() if isinstance(values, np.ndarray)}
        return History(
            measure=self.measure, taught={basis: mask[where] for basis, mask in self.taught.items()}, **arrays
        )  # fmt: skip

    def head(self, n: int) -> History:
        """The first n rows."""
        return self.part(slice(0, n))

    def outcomes(self, basis: Basis) -> Outcomes:
        """What the priors' backtest forecasts of it: the rows that teach a basis."""
        mask = self.taught[basis]
        return Outcomes(
            self.lane_id[mask], self.provider[mask], self.started_ms[mask], self.completed_ms[mask], self.value[mask]
        )

    def visible(self) -> Ints:
        """How many rows each forecast may use: earlier in canonical order, and completed by its start. (n,)."""
        return Outcomes(self.lane_id, self.provider, self.started_ms, self.completed_ms, self.value).visible()

    def followed_by(self, more: History) -> History:
        """This history with another behind it."""
        kept = {one.name: (getattr(self, one.name), getattr(more, one.name)) for one in fields(self)}
        arrays = {name: np.concatenate(pair) for name, pair in kept.items() if isinstance(pair[0], np.ndarray)}
        taught = {basis: np.concatenate([mask, more.taught[basis]]) for basis, mask in self.taught.items()}
        return History(measure=self.measure, taught=taught, **arrays)

    def and_one_more(
        self, *, lane_id: int, provider: str, task: str, kind: str, complexity: str, at_ms: int
    ) -> History:
        """The history with a task at its end that begins now; its value is not known, and nothing follows to read it."""

        def more(values: NDArray[Any], one: Any) -> NDArray[Any]:
            return np.concatenate([values, np.asarray([one], dtype=values.dtype)])

        return History(
            self.measure, more(self.lane_id, lane_id), more(self.provider, provider), more(self.task, task),
            more(self.kind, kind), more(self.complexity, complexity), more(self.started_ms, at_ms),
            more(self.completed_ms, max(at_ms, int(self.completed_ms.max(initial=at_ms)))), more(self.value, 1.0),
            {basis: more(self.taught[basis], True) for basis in BASES},
        )  # fmt: skip
