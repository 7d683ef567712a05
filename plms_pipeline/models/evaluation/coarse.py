"""How far is a long sample from a sorted one, without sorting it?

Two thousand of the reference's own values make cells. One pass counts the observed values of each, so both distribution
functions are known exactly where cells meet, and inside of a cell neither can rise by more than it does over the whole. Only
in a few cells can the functions be further apart than they are at some edge; just what lies there is sorted and looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.models.evaluation.returns import Floats

Ints = npt.NDArray[np.int64]

CELLS: Final = 2_000
# Places of the table that says where to begin to look for the cell of a value; beyond its ends lies one value in a thousand.
_TABLE: Final = 65_536
_TAIL: Final = 0.001


@dataclass(frozen=True, slots=True)
class Cells:
    """Observed values in the cells of a reference.

    Attributes:
        edges: (k - 1,) ascending, without doubles; cell i holds edges[i - 1] ≤ x < edges[i], the first and last are open.
        cell: (m,) of each observed value.
        observed_below: (k + 1,) observed values below each cell's lower edge; the last: all.
        reference_below: (k + 1,) the same of the reference.
    """

    edges: Floats
    cell: npt.NDArray[np.int32]
    observed_below: Ints
    reference_below: Ints

    def counts(self, grid: Floats) -> Floats:
        """How many observed values lie in each cell of a coarser grid, whose edges are among these.

        Args:
            grid: (g - 1,) ascending.

        Returns:
            (g,) counts.
        """
        below = self.observed_below[np.searchsorted(self.edges, grid) + 1]
        return np.diff(np.concatenate([[0], below, self.observed_below[-1:]])).astype(np.float64)


def cells_of(reference: Floats, grid: Floats, observed: Floats) -> Cells:
    """Count observed values in about two thousand cells.

    Args:
        reference: (n,) ascending, finite, not empty.
        grid: edges that must be among those of the cells.
        observed: (m,) finite, in any order, not empty.
    """
    edges = np.unique(np.concatenate([reference[:: max(1, reference.size // CELLS)], grid]))
    low, high = (reference[int(share * (reference.size - 1))] for share in (_TAIL, 1 - _TAIL))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = _TABLE / (high - low)
    # A sample of one value, or of such large ones that their distance is none: all begin at the same place of the table.
    scale = scale if np.isfinite(scale) else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        places = np.clip(np.nan_to_num((edges - low) * scale), 0, _TABLE - 1).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=_TABLE))])
    cell, counts = _assigned(observed, edges, first, low, scale)
    below = np.searchsorted(reference, edges, side="left")
    return Cells(
        edges, cell, np.concatenate([[0], np.cumsum(counts)]), np.concatenate([[0], below, [reference.size]])
    )  # fmt: skip


def largest_distance(cells: Cells, reference: Floats, observed: Floats) -> float:
    """The Kolmogorov-Smirnov statistic: the largest distance of the two distribution functions, exactly.

    Args:
        cells: of these two samples.
        reference: (n,) ascending.
        observed: (m,) in any order.
    """
    n, m = reference.size, observed.size
    ours, theirs = cells.reference_below / n, cells.observed_below / m
    largest = float(np.abs(ours - theirs).max())
    most = np.maximum(ours[1:] - theirs[:-1], theirs[1:] - ours[:-1])
    is_open = most > largest
    if not is_open.any():
        return largest
    inside = is_open[cells.cell]
    values = np.sort(observed[inside])
    # What lies in cells that are stepped over counts below the next that is not.
    sizes = np.diff(cells.observed_below)
    skipped = cells.observed_below[:-1] - np.concatenate([[0], np.cumsum(np.where(is_open, sizes, 0))[:-1]])
    known = reference[np.repeat(is_open, np.diff(cells.reference_below))]
    points = np.concatenate([known, values])
    their_count = (
        np.searchsorted(values, points, side="right") + skipped[np.searchsorted(cells.edges, points, side="right")]
    )
    our_count = np.searchsorted(reference, points, side="right")
    return max(largest, float(np.abs(our_count / n - their_count / m).max()))


@compiled
def _assigned(values: Floats, edges: Floats, first: Ints, low: float, scale: float) -> Any:
    """The cell of each value, and how many each holds.

    The place of a value in the table and the places of the edges come from the same rounded arithmetic, which never puts a
    larger value before a smaller one: the edges between are exactly those whose place is the same, and are halved.
    """
    cell = np.empty(values.size, np.int32)
    counts = np.zeros(edges.size + 1, np.int64)
    last = first.size - 2
    for k in range(values.size):
        value = values[k]
        place = (value - low) * scale
        at = 0
        if place >= last:
            at = last
        elif place > 0:
            at = int(place)
        below, above = first[at], first[at + 1]
        while below < above:
            middle = (below + above) // 2
            if edges[middle] <= value:
                below = middle + 1
            else:
                above = middle
        cell[k] = below
        counts[below] += 1
    return cell, counts
