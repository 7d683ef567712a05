"""How is a whole distribution kept in a few hundred numbers, with a bounded relative error?

Buckets of equal width on the log scale, as in DDSketch (Masson, Rim, Lee, VLDB 2019): bucket i holds (γ^i, γ^(i+1)], with
γ = (1 + ε) / (1 - ε). A quantile read as 2γ^(i+1) / (γ + 1) is then off by at most ε, whatever the distribution. Weights are
real numbers, because old receipts fade. The obvious alternative, a sample, cannot be merged and faded exactly.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.kernels import GAMMA, WIDTH
from plms_pipeline.measures import Measure

Floats = NDArray[np.float64]


class Grid(NamedTuple):
    """The buckets of one measure: `first` is the index of the lowest, `size` how many there are."""

    first: int
    size: int

    @property
    def low(self) -> float:
        """Lower edge of the lowest bucket, as a natural logarithm."""
        return self.first * WIDTH


def _grid(lowest: float, highest: float) -> Grid:
    first = math.floor(math.log(lowest) / WIDTH)
    return Grid(first, math.ceil(math.log(highest) / WIDTH) - first + 1)


# From the smallest positive value of a measure to far above what intake admits by default; the ends are open.
GRIDS: Final[dict[Measure, Grid]] = {
    "tokens": _grid(0.5, 1e11),
    "duration_ms": _grid(0.5, 1e11),
    "cost_usd": _grid(5e-7, 1e8),
}


def representative(position: int, grid: Grid) -> float:
    """The value a bucket stands for: off by at most `RELATIVE_ERROR` from anything inside it."""
    return float(2.0 * math.exp((grid.first + position + 1) * WIDTH) / (GAMMA + 1.0))


@cache
def representatives(grid: Grid) -> Floats:
    """`representative` of every bucket, (grid.size,); not to be written to."""
    found = np.asarray([representative(place, grid) for place in range(grid.size)])
    found.flags.writeable = False
    return found


def sketch_quantile(weights: Floats, q: float, grid: Grid) -> float:
    """The q-quantile of a sketch (smallest value with cumulative weight ≥ q), off by at most `RELATIVE_ERROR`.

    Args:
        weights: (grid.size,), not all zero.
        q: in [0, 1].
    """
    cumulative = np.cumsum(weights)
    # The last bits of a sum of faded weights must not push a quantile past its bucket.
    target = q * cumulative[-1] * (1 - 1e-12)
    position = int(np.searchsorted(cumulative, target, side="left"))
    return representative(min(max(position, int(np.argmax(weights > 0))), grid.size - 1), grid)
