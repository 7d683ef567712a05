"""How does a partition of receipts become summaries, at the speed at which it can be read?

One pass over columns, newest receipt first: weights then start at one and only shrink, so nothing overflows, and what has
faded below the last bit of a double is not touched again. Groups are codes, not keys; a missing value is NaN. The
kernel holds no interpreter lock, so partitions are summarised side by side by whoever calls.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.kernels import WIDTH
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.sketch import GRIDS
from plms_pipeline.estimates.summary import MOMENTS, Summary
from plms_pipeline.measures import Measure

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Values = NDArray[np.float64] | NDArray[np.int64]

# What has faded below this is not added: all of it together is 1e-15 of what has not faded.
FADED: Final = 1e-13
# Rows whose logarithms are taken at once: small enough to stay in the cache until they are used.
BLOCK: Final = 1 << 15

_PIVOT, _SUM, _SQUARES, _LAST, _NEXT, _NEXT_WEIGHT, _WEIGHT, _EWMA_WEIGHT, _EWMA, _M = range(10)


@compiled
def _scan(
    groups: Codes, values: Values, logs: Floats, alpha: float, forgetting: float, width: float, first: int, size: int,
    counts: NDArray[np.int64], state: Floats, sketches: Floats,
) -> None:  # fmt: skip
    """Fill `counts` (groups, 2: positive, zero), `state` (groups, 9 + 7) and `sketches` (groups, size), newest row first."""
    for row in range(values.size - 1, -1, -1):
        value = values[row]
        if not value >= 0.0:  # unknown
            continue
        group = groups[row]
        if state[group, _EWMA_WEIGHT] > FADED:
            state[group, _EWMA] += state[group, _EWMA_WEIGHT] * value
            state[group, _EWMA_WEIGHT] *= 1.0 - alpha
        if value == 0.0:
            counts[group, 1] += 1
            continue
        log_value = logs[row]
        weight = state[group, _WEIGHT]
        if counts[group, 0] == 0:
            state[group, _PIVOT] = log_value
            state[group, _LAST] = log_value
        elif state[group, _NEXT_WEIGHT] > FADED:
            later, pair = state[group, _NEXT], state[group, _NEXT_WEIGHT]
            state[group, _M + 3] += pair
            state[group, _M + 4] += pair * later
            state[group, _M + 5] += pair * log_value
            state[group, _M + 6] += pair * later * log_value
        counts[group, 0] += 1
        off = log_value - state[group, _PIVOT]
        state[group, _SUM] += off
        state[group, _SQUARES] += off * off
        state[group, _NEXT] = log_value
        state[group, _NEXT_WEIGHT] = weight
        if weight > FADED:
            state[group, _M] += weight
            state[group, _M + 1] += weight * log_value
            state[group, _M + 2] += weight * log_value * log_value
            place = min(max(math.floor(log_value / width) - first, 0), size - 1)
            sketches[group, place] += weight
            state[group, _WEIGHT] = weight * forgetting


def summarise(
    groups: Codes,
    n_groups: int,
    values: Values,
    measure: Measure,
    *,
    alpha: float,
    forgetting: float = METHOD.forgetting,
) -> dict[int, Summary]:
    """Summaries of one partition by group code; groups without a known value are left out.

    Args:
        groups: (rows,) codes in [0, n_groups), rows in canonical order.
        values: (rows,) the measure in its unit, NaN where it is unknown; integers when all are known.
        alpha: weight of the newest receipt in the exponentially weighted mean.
    """
    grid = GRIDS[measure]
    counts = np.zeros((n_groups, 2), dtype=np.int64)
    state = np.zeros((n_groups, _M + MOMENTS))
    state[:, _WEIGHT] = 1.0
    state[:, _EWMA_WEIGHT] = alpha
    sketches = np.zeros((n_groups, grid.size))
    # numpy's logarithm uses the vector unit; one call per row inside the loop would be most of its time.
    logs = np.empty(min(BLOCK, values.size))
    for end in range(values.size, 0, -BLOCK):
        rows = slice(max(0, end - BLOCK), end)
        part = logs[: rows.stop - rows.start]
        with np.errstate(divide="ignore", invalid="ignore"):
            np.log(values[rows], out=part)
        _scan(
            groups[rows], values[rows], part, alpha, forgetting, WIDTH, grid.first, grid.size, counts, state, sketches
        )
    # One search for all groups: thousands of partitions times groups would each pay for their own.
    owners, buckets = np.nonzero(sketches)
    weights = sketches[owners, buckets]
    ends = np.searchsorted(owners, np.arange(n_groups + 1))
    places: Codes = buckets.astype(np.int32)
    found = {}
    for group in np.flatnonzero(counts.sum(axis=1)).tolist():
        mine = slice(ends[group], ends[group + 1])
        n, n_zero = counts[group].tolist()
        found[group] = _summary(n, n_zero, state[group], places[mine], weights[mine], alpha)
    return found


def _summary(n: int, n_zero: int, state: Floats, positions: Codes, weights: Floats, alpha: float) -> Summary:
    pivot, total, squares, last, first, _, _, _, ewma = state[:_M].tolist()
    mean_off = total / n if n else 0.0
    return Summary(
        n=n,
        n_zero=n_zero,
        log_mean=pivot + mean_off,
        log_m2=max(0.0, squares - n * mean_off * mean_off),
        first=first,
        last=last,
        ewma_a=(1.0 - alpha) ** (n + n_zero),
        ewma_b=ewma,
        moments=state[_M:].copy(),
        positions=positions.copy(),
        weights=weights.copy(),
    )
