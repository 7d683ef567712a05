"""How are moments in time drawn again, so that what hangs together stays together?

Circular blocks (Politis and Romano 1992): the path is closed to a ring, and as many blocks of neighbouring periods as fill its
length are drawn from it. Drawing single periods would treat a losing streak as bad luck that could not happen again, and make
intervals too narrow. How long blocks should be is measured: the rule of Politis and White (Econometric Reviews 23, 2004) with
the correction of Patton, Politis and White (2009).

Blocks of one length make it fast. What a block contributes to sums, growth and drawdown depends on its start alone, so it is
computed once per start, and a resample is a fold over its blocks instead of over its periods.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats

Starts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the blocks of every resample start.

    Attributes:
        starts: (blocks, resamples) positions in 0 … n - 1.
        length: periods of a block; the last one is cut so that a resample has n.
        n: periods of the path.
    """

    starts: Starts
    length: int
    n: int

    @property
    def last(self) -> int:
        """Periods of the last block."""
        return self.n - (int(self.starts.shape[0]) - 1) * self.length


def plan(n: int, length: int, *, resamples: int, seed: int) -> Plan:
    """The same seed draws the same blocks, for any figure of a path of n periods.

    Raises:
        BadInput: there is nothing to draw from, or nothing to draw.
    """
    if n < 1 or resamples < 1:
        raise BadInput(f"{resamples} resamples of {n} periods cannot be drawn; each must be 1 or more.")
    length = max(1, min(length, n))
    blocks = math.ceil(n / length)
    starts = np.random.default_rng(seed).integers(0, n, size=(blocks, resamples), dtype=np.int32)
    return Plan(starts, length, n)


def block_length(values: Floats) -> int:
    """The optimal length of circular blocks for the mean of a path, and n^(1/3) at least.

    The rule looks at the path itself, where a market hangs together in its squares, too: hence the least, which is of the
    order that blocks need in general.

    Args:
        values: (n,) the path.
    """
    n = int(values.size)
    least = max(1, math.ceil(round(float(n ** (1 / 3)), 9)))
    centred = values - values.mean() if n else values
    if n < 8 or not np.any(centred):
        return least
    band = max(5, math.ceil(math.log10(n)))
    reach = min(math.ceil(math.sqrt(n)) + band, n - 1)
    longest = math.ceil(min(3 * math.sqrt(n), n / 3))
    covariance = np.array([centred[lag:] @ centred[: n - lag] for lag in range(reach + 1)]) / n
    is_small = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    quiet = [lag for lag in range(reach - band + 1) if is_small[lag : lag + band].all()]
    order = min(2 * (max(quiet[0], 1) if quiet else int(np.flatnonzero(~is_small)[-1] + 1)), reach)
    lags = np.arange(-order, order + 1)
    flat_top = np.clip(2 * (1 - np.abs(lags) / order), 0.0, 1.0)
    weighted = flat_top * covariance[np.abs(lags)]
    bias, spectrum = float(np.sum(np.abs(lags) * weighted)), float(np.sum(weighted))
    if spectrum == 0.0:
        return max(least, longest)
    optimal = (2 * bias**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return max(least, min(math.ceil(float(optimal)), longest))


def sums(columns: Floats, drawn: Plan) -> Floats:
    """Sums over each resample.

    Args:
        columns: (c, n) what is summed.

    Returns:
        (c, resamples).
    """
    whole, rest = windows(columns, drawn.length).sum(axis=-1), windows(columns, drawn.last).sum(axis=-1)
    total = np.zeros((columns.shape[0], drawn.starts.shape[1]))
    for row, (table, partial) in enumerate(zip(whole, rest, strict=True)):
        for starts in drawn.starts[:-1]:
            total[row] += table[starts]
        total[row] += partial[drawn.starts[-1]]
    return total


def drawdowns(growth: Floats, drawn: Plan) -> Floats:
    """The deepest drawdown of each resample's compounded path, the start included: (resamples,) in [-1, 0].

    A block is its growth, its highest point, its lowest point, and its own deepest drawdown; two blocks make one by
    comparing them.

    Args:
        growth: (n,) logarithmic returns; -inf loses everything.
    """
    resamples = drawn.starts.shape[1]
    deepest, below = np.zeros(resamples), np.zeros(resamples)
    whole, rest = _shape(growth, drawn.length), _shape(growth, drawn.last)
    for number, starts in enumerate(drawn.starts):
        shape = whole if number < drawn.starts.shape[0] - 1 else rest
        grown, highest, lowest, own = (part[starts] for part in shape)
        np.minimum(deepest, below + lowest, out=deepest)
        np.minimum(deepest, own, out=deepest)
        below = np.minimum(below + grown, grown - highest)
    return np.asarray(np.expm1(deepest))


def windows(columns: Floats, length: int) -> Floats:
    """The block that starts at each position of the ring: (…, n) → (…, n, length), a view of one copy."""
    n = columns.shape[-1]
    ring = np.concatenate([columns, columns[..., : length - 1]], axis=-1) if length > 1 else columns
    view: Callable[..., Floats] = sliding_window_view
    return view(ring, length, axis=-1)[..., :n, :]


def _shape(growth: Floats, length: int) -> tuple[Floats, Floats, Floats, Floats]:
    path = np.cumsum(windows(growth, length), axis=-1)
    highest = np.maximum.accumulate(np.maximum(path, 0.0), axis=-1)
    return path[:, -1], highest[:, -1], path.min(axis=-1), np.minimum((path - highest).min(axis=-1), 0.0)
