"""What would the prototype's interval have been? The baseline that every calibration here is compared with.

Per (lane, provider), one receipt after the other: mean m ← 0.7 m + 0.3 x; deviation from the count and the *updated* mean, so
that the first receipt wipes it out; interval around the static default, which learning never moves. Kept as it was, defects
and all: a baseline that is repaired measures nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.method import FACTORY
from plms_pipeline.measures import Measure

Floats = NDArray[np.float64]

Z_90: Final = 1.645
ALPHA: Final = 0.3
DEVIATIONS: Final[dict[Measure, float]] = {"tokens": 900.0, "duration_ms": 90_000.0, "cost_usd": 0.054}
FLOORS: Final[dict[Measure, float]] = {"tokens": 1.0, "duration_ms": 1.0, "cost_usd": 0.001}


@compiled
def _walk(
    groups: NDArray[np.int64], values: Floats, n_groups: int, start: float, deviation: float, floor: float
) -> Floats:
    """(rows, 2) interval before each receipt, which then teaches its group."""
    mean = np.full(n_groups, start)
    spread = np.full(n_groups, deviation)
    seen = np.zeros(n_groups)
    out = np.empty((values.size, 2))
    for row in range(values.size):
        group, x = groups[row], values[row]
        half = Z_90 * max(floor, spread[group])
        out[row, 0] = max(0.0, start - half)
        out[row, 1] = start + half
        mean[group] = (1.0 - ALPHA) * mean[group] + ALPHA * x
        n = seen[group]
        if n == 0:
            spread[group] = 0.0
        else:
            spread[group] = np.sqrt(max(0.0, ((n - 1) * spread[group] ** 2 + (x - mean[group]) ** 2) / n))
        seen[group] = n + 1
    return out


def prototype_intervals(groups: NDArray[np.int64], values: Floats, measure: Measure) -> tuple[Floats, Floats]:
    """Low and high before each receipt.

    Args:
        groups: (n,) codes from 0 of (lane, provider), in canonical order.
        values: (n,) the measure in its unit.
    """
    n_groups = int(groups.max()) + 1 if groups.size else 0
    out = _walk(groups, values, n_groups, FACTORY[measure], DEVIATIONS[measure], FLOORS[measure])
    return out[:, 0], out[:, 1]
