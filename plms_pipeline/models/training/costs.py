"""What is left of a prediction once it is traded?

A position of tanh(k · prediction) is taken at the close and held to the next; trading pays for the change of the position,
holding for its size. Returns are simple, so that a portfolio is the mean of its symbols. The source charged slippage on
what was held instead of what was traded, and reported as "realised return" the mean of the raw target: price levels that do
not depend on the model at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.models.market.bars import Floats, Instants


@dataclass(frozen=True, slots=True)
class Costs:
    """Fractions of the value: commission and slippage per unit traded, holding per unit and bar."""

    transaction: float = 1e-4
    slippage: float = 1e-4
    holding: float = 0.0

    @property
    def per_trade(self) -> float:
        """What one unit of turnover costs."""
        return self.transaction + self.slippage


def positions(predictions: Floats, k: float) -> Floats:
    """Between −1 (all short) and 1 (all long); predictions are in units of the volatility."""
    return np.asarray(np.tanh(k * predictions))


def changes(position: Floats, codes: NDArray[np.int32]) -> Floats:
    """What must be traded to hold each position, per symbol; rows sorted by symbol and time, nothing held before the first."""
    change = np.diff(position, prepend=0.0)
    first = np.concatenate([[True], codes[1:] != codes[:-1]]) if codes.size else np.zeros(0, dtype=bool)
    change[first] = position[first]
    return np.asarray(np.abs(change))


def realised(position: Floats, returns: Floats, codes: NDArray[np.int32], costs: Costs) -> Floats:
    """Position · next simple return − costs, per row (sorted by symbol and time)."""
    traded = changes(position, codes)
    return np.asarray(position * returns - costs.per_trade * traded - costs.holding * np.abs(position))


def portfolio(timestamps: Instants, returns: Floats) -> tuple[Instants, Floats]:
    """The equally weighted mean of the symbols at each distinct timestamp, ascending."""
    times, place = np.unique(timestamps, return_inverse=True)
    counts = np.bincount(place, minlength=times.size)
    return times, np.asarray(np.bincount(place, weights=returns, minlength=times.size) / np.maximum(counts, 1))
