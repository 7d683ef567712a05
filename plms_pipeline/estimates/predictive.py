"""What is the distribution of the next receipt of a (lane, provider)?

A histogram over the log grid, mixed from three parts: the fading histogram of its own receipts; the shape of its relatives'
receipts around their own means, moved to the centre that `kernels.centre_of` predicts and blurred by what is not known of
it; and a log-normal of the factory's spread. The first takes over as receipts arrive. So the level is learnt from a handful of
receipts and the tails, which need hundreds, are borrowed. A normal around a mean would be centred wrongly (costs
are skewed) and symmetric where the tail is what hurts.

Intervals are central: the Winkler score is lowest at the true 5 % and 95 % quantiles (Gneiting and Raftery 2007, eq. 43), so
the shortest interval would only look better than it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.kernels import WIDTH, Centre, density_of, quantile_of
from plms_pipeline.estimates.method import COVERAGE, METHOD, QUANTILES, Method, log_centre
from plms_pipeline.estimates.sketch import GRIDS, Grid
from plms_pipeline.estimates.state import State

Floats = NDArray[np.float64]

LOW, HIGH = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Predictive:
    """The distribution of one receipt: a histogram over the log grid and a chance of 0; what it rests on beside it."""

    grid: Grid
    density: Floats
    zero: float
    median: float
    centre: Centre | None = None

    def quantile(self, q: float) -> float:
        """The q-quantile in the measure's unit, before any correction."""
        return float(quantile_of(self.density, float(self.density.sum()), self.zero, q, self.grid.low))

    def corrected(self, q: float, correction: float = 1.0) -> float:
        """The q-quantile after the adaptive correction: distances from the median, as logs, are stretched by it."""
        return stretched(self.quantile(q), self.median, correction)

    def interval(self, correction: float = 1.0) -> tuple[float, float]:
        """The central 90 % interval."""
        return self.corrected(LOW, correction), self.corrected(HIGH, correction)

    def quantiles(self, correction: float = 1.0) -> list[float]:
        """The 39 quantiles in 2.5 % steps."""
        total = float(self.density.sum())
        found = (float(quantile_of(self.density, total, self.zero, q, self.grid.low)) for q in QUANTILES)
        return [stretched(value, self.median, correction) for value in found]

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of one receipt in the measure's unit, before any correction."""
        values = np.exp(self.grid.low + (np.arange(self.density.size) + 0.5) * WIDTH)
        shares = (1.0 - self.zero) * self.density / self.density.sum()
        mean = float(shares @ values)
        return mean, math.sqrt(max(0.0, float(shares @ values**2) - mean**2))

    def sample(self, uniforms: Floats, correction: float = 1.0) -> Floats:
        """Values at the given probabilities, (n,) in [0, 1): what a simulation draws."""
        edges = np.concatenate([[0.0], np.cumsum(self.density / self.density.sum())])
        logs = self.grid.low + np.arange(edges.size) * WIDTH
        positive = np.interp((uniforms - self.zero) / max(1e-12, 1.0 - self.zero), edges, logs)
        if self.median > 0.0:
            middle = math.log(self.median)
            positive = middle + correction * (positive - middle)
        return np.where(uniforms < self.zero, 0.0, np.exp(positive))


def stretched(value: float, median: float, correction: float) -> float:
    """A quantile moved away from the median by a factor on the log scale; 0 stays 0."""
    if value <= 0.0 or median <= 0.0:
        return value
    return float(median * (value / median) ** correction)


def predict(state: State, lane_id: int | None, provider: str | None, method: Method = METHOD) -> Predictive:
    """The predictive distribution of the next receipt of a (lane, provider).

    Args:
        lane_id: None or one without receipts: any lane, as a new one.
        provider: None or one without receipts: a provider never seen.
    """
    lane = state.lane_code(lane_id) if lane_id is not None else -1
    code = state.provider_code(provider) if provider is not None else -1
    return _predict(state, lane, code, method)


def _predict(state: State, lane: int, provider: int, method: Method) -> Predictive:
    grid = GRIDS[state.measure]
    density, zero, centre = density_of(
        state.rows,
        lane,
        provider,
        len(state.lanes),
        len(state.providers),
        grid.first,
        log_centre(state.measure),
        method,
    )
    return _with_median(grid, density, float(zero), centre)


def _with_median(grid: Grid, density: Floats, zero: float, centre: Centre | None) -> Predictive:
    median = float(quantile_of(density, float(density.sum()), zero, 0.5, grid.low))
    return Predictive(grid, density, zero, median, centre)


def predict_over_lanes(state: State, provider: str | None, method: Method = METHOD) -> Predictive:
    """The receipt of a provider whatever its lane: lanes mixed by the fading weight of their receipts.

    Args:
        provider: None: a provider never seen, mixed by what all providers did.
    """
    code = state.provider_code(provider) if provider is not None else -1
    shares = np.zeros(len(state.lanes))
    for row in range(state.rows.lane.size):
        if code < 0 or state.rows.provider[row] == code:
            shares[state.rows.lane[row]] += state.rows.moments[row, 0]
    if not shares.sum():
        return _predict(state, -1, code, method)
    parts = [(share, _predict(state, lane, code, method)) for lane, share in enumerate(shares) if share > 0]
    total = float(shares.sum())
    density = np.sum([share / total * part.density / part.density.sum() for share, part in parts], axis=0)
    zero = float(sum(share / total * part.zero for share, part in parts))
    return _with_median(parts[0][1].grid, density, zero, None)
