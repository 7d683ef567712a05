"""How good would the model have been, trained on earlier and judged on later receipts?

The receipts are cut into blocks in the order in which their forecasts were made. For each block a model is fitted on what had
been completed when its first task began, and forecasts the block one step ahead; the priors forecast the same tasks at the
same moments. What comes before the first block only teaches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.errors import NoData
from plms_pipeline.measures import BASES, Basis
from plms_pipeline.models.estimating.effects import explain
from plms_pipeline.models.estimating.fitting import fit
from plms_pipeline.models.estimating.forecasting import prior_quantiles, quantiles
from plms_pipeline.models.estimating.history import Floats, History, Ints, Mask
from plms_pipeline.models.estimating.model import Part

FEWEST_ROWS: Final = 200
# Hears how many blocks are done, and of how many.
Heard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How time is split: the share of receipts that only teaches, and the number of blocks."""

    taught_first: float = 0.3
    blocks: int = 6


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Judged forecasts of one basis, in order of the moments at which they were made; arrays of (n,) and (n, 39)."""

    basis: Basis
    history: History
    quantiles: Floats
    prior: Floats

    @property
    def value(self) -> Floats:
        """What happened."""
        return self.history.value


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """All judged forecasts of a measure, and the model fitted on everything, which is the candidate's."""

    forecasts: dict[Basis, Forecasts]
    part: Part
    fits: tuple[tuple[int, Part], ...]  # rows that each block's model was fitted on, and the model


def walk_forward(history: History, plan: Plan, *, heard: Heard = lambda _done, _of: None) -> Walked:
    """Judge and fit.

    Raises:
        NoData: there are too few receipts (`too_few_receipts`).
    """
    n = len(history)
    first = int(plan.taught_first * n)
    if n < FEWEST_ROWS:
        raise NoData(
            f"{n} receipts know their {history.measure}; a model of estimates needs {FEWEST_ROWS}.", code="too_few_receipts"
        )  # fmt: skip
    visible = history.visible()
    order = np.argsort(visible, kind="stable")
    found = {basis: np.full((n, 39), np.nan) for basis in BASES}
    fits: list[tuple[int, Part]] = []
    part: Part | None = None
    blocks = [block for block in np.array_split(order[first:], plan.blocks) if block.size]
    for done, block in enumerate(blocks):
        known = int(visible[block[0]])
        part = fit(history.head(known), part)
        fits.append((known, part))
        _forecast_block(history, block, part, found)
        heard(done + 1, len(blocks))
    judged = {basis: _judged(history, basis, order[first:], found[basis]) for basis in BASES}
    return Walked(judged, fit(history, part), tuple(fits))


def _forecast_block(history: History, block: Ints, part: Part, found: dict[Basis, Floats]) -> None:
    """Fill in the quantiles of the rows of a block."""
    seen = history.head(int(block.max()) + 1)
    explained = explain(seen, part.scatter)
    is_asked = np.zeros(len(seen), dtype=bool)
    is_asked[block] = True
    for basis in BASES:
        mask = seen.taught[basis]
        if (mask & is_asked).any():
            found[basis][np.flatnonzero(mask & is_asked)] = quantiles(seen, basis, explained, part.trust[basis])[
                is_asked[mask]
            ]


def _judged(history: History, basis: Basis, order: Ints, found: Floats) -> Forecasts:
    mask: Mask = history.taught[basis]
    prior = np.full((len(history), 39), np.nan)
    if mask.any():
        prior[mask] = prior_quantiles(history, basis)
    rows = order[mask[order]]
    return Forecasts(basis, history.part(rows), found[rows], prior[rows])
