"""What is believed at a moment: the fold of day summaries as arrays that the kernels read.

One row per (lane, provider) that has receipts. The live forecast fills the rows from the fold; the backtest adds one
receipt at a time with `observe`. Both give the same rows, which a test holds to 1e-9: what is proven is what is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.kernels import Rows
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.sketch import GRIDS
from plms_pipeline.estimates.summary import MOMENTS, Summary, merge_all
from plms_pipeline.measures import Measure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cell = tuple[int, str]

UNSEEN: Final = -1


@dataclass(frozen=True, slots=True)
class State:
    """The state of one measure and basis: codes of lanes and providers, the kernels' rows, and the folded summaries."""

    measure: Measure
    lanes: Mapping[int, int]
    providers: Mapping[str, int]
    cells: Mapping[Cell, Summary]
    rows: Rows

    def lane_code(self, lane_id: int) -> int:
        """The code of a lane, `UNSEEN` when it has no receipt."""
        return self.lanes.get(lane_id, UNSEEN)

    def provider_code(self, provider: str) -> int:
        """The code of a provider, `UNSEEN` when it has no receipt."""
        return self.providers.get(provider, UNSEEN)


def fold(days: Iterable[tuple[date, Cell, Summary]], forgetting: float = METHOD.forgetting) -> dict[Cell, Summary]:
    """The summaries of each (lane, provider) merged in day order, whatever order they come in."""
    by_cell: dict[Cell, list[tuple[date, Summary]]] = {}
    for day, cell, summary in days:
        by_cell.setdefault(cell, []).append((day, summary))
    return {
        cell: merge_all([summary for _, summary in sorted(found, key=itemgetter(0))], forgetting)
        for cell, found in sorted(by_cell.items())
    }


def state_of(measure: Measure, cells: Mapping[Cell, Summary]) -> State:
    """The kernels' arrays of folded summaries; rows in order of (lane, provider)."""
    keys = sorted(cells)
    lanes = {lane: code for code, lane in enumerate(sorted({lane for lane, _ in keys}))}
    providers = {name: code for code, name in enumerate(sorted({name for _, name in keys}))}
    rows = empty_rows([lanes[lane] for lane, _ in keys], [providers[name] for _, name in keys], measure)
    for row, key in enumerate(keys):
        summary = cells[key]
        rows.counts[row] = summary.n, summary.n_zero
        rows.moments[row] = summary.moments
        rows.last[row] = summary.last
        rows.sketches[row, summary.positions] = summary.weights
    return State(measure, lanes, providers, dict(cells), rows)


def empty_rows(lanes: Iterable[int], providers: Iterable[int], measure: Measure) -> Rows:
    """Rows that hold nothing yet, for the given lane and provider codes."""
    lane_codes = np.fromiter(lanes, dtype=np.int64)
    n = lane_codes.size
    return Rows(
        lane_codes, np.fromiter(providers, dtype=np.int64), np.zeros((n, 2), dtype=np.int64), np.zeros((n, MOMENTS)),
        np.zeros(n), np.zeros((n, GRIDS[measure].size)),
    )  # fmt: skip
