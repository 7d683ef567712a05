"""What is the distribution of the next receipt of a (lane, provider)?

A histogram over the log grid, mixed from three parts: the fading histogram of its own receipts; the shape of its relatives'
receipts around their own means, moved to the centre that `hierarchy` predicts and blurred by what is not known of it; and a
log-normal of the factory's spread. The first takes over as receipts arrive. So the level is learnt from a handful of
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

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.hierarchy import Centre, centre_of
from plms_pipeline.estimates.method import COVERAGE, METHOD, QUANTILES, Method, log_centre
from plms_pipeline.estimates.sketch import GRIDS, WIDTH, Grid, log_quantile
from plms_pipeline.estimates.state import Rows, State

Floats = NDArray[np.float64]

NODES = 25
REACH = 3.0
# Fewer effective receipts than this have no shape of their own.
MIN_SHAPE = 2.0
LOW, HIGH = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2


@compiled
def relatives_shape(rows: Rows, lane: int, provider: int, first: int, effect: float, method: Method) -> Floats:
    """Histogram of receipts around the mean of their own row, (2 · size + 1,), the middle being no difference.

    The lane's rows count in full, the provider's other lanes and the rest up to a limit each. A mean of few receipts sits
    too close to them, so their differences are stretched by sqrt(n / (n - 1)).
    """
    size = rows.sketches.shape[1]
    shape = np.zeros(2 * size + 1)
    available = np.zeros(3)
    for row in range(rows.lane.size):
        if rows.moments[row, 0] >= MIN_SHAPE * effect:
            kin = 0 if rows.lane[row] == lane else 1 if rows.provider[row] == provider else 2
            available[kin] += rows.moments[row, 0]
    for row in range(rows.lane.size):
        weight = rows.moments[row, 0]
        if weight < MIN_SHAPE * effect:
            continue
        kin = 0 if rows.lane[row] == lane else 1 if rows.provider[row] == provider else 2
        share = 1.0 if kin == 0 else min(1.0, method.borrowed_limit * effect / available[kin])
        stretch = math.sqrt(weight / (weight - effect))
        mean = rows.moments[row, 1] / weight / WIDTH - first - 0.5
        for place in range(size):
            mass = rows.sketches[row, place]
            if mass > 0.0:
                off = math.floor((place - mean) * stretch + 0.5) + size
                shape[min(max(off, 0), 2 * size)] += mass * share
    return shape


@compiled
def add_blurred(density: Floats, shape: Floats, mass: float, first: int, centre: Centre) -> None:
    """Add `shape`, moved to the centre and blurred by its normal uncertainty, with total weight `mass`."""
    size = density.size
    total = shape.sum()
    lowest, highest = 0, shape.size - 1
    while shape[lowest] <= 0.0:
        lowest += 1
    while shape[highest] <= 0.0:
        highest -= 1
    nodes = np.linspace(-REACH, REACH, NODES)
    node_weights = np.exp(-0.5 * nodes * nodes)
    node_weights *= mass / (total * node_weights.sum())
    for node in range(NODES):
        place = (centre.mean + nodes[node] * math.sqrt(centre.variance)) / WIDTH - first
        shift = math.floor(place) - size
        for off in range(lowest, highest + 1):
            if shape[off] > 0.0:
                density[min(max(off + shift, 0), size - 1)] += node_weights[node] * shape[off]


@compiled
def add_normal(density: Floats, mass: float, first: int, centre: Centre) -> None:
    """Add the factory's log-normal around the centre, with total weight `mass`."""
    deviation = math.sqrt(centre.spread + centre.variance)
    middle = centre.mean / WIDTH - first
    reach = 4.0 * deviation / WIDTH
    lowest = max(0, int(middle - reach))
    highest = min(density.size - 1, int(middle + reach))
    for place in range(lowest, highest + 1):
        z = (place + 0.5 - middle) * WIDTH / deviation
        density[place] += mass * WIDTH / deviation * 0.3989422804014327 * math.exp(-0.5 * z * z)


@compiled
def density_of(
    rows: Rows, lane: int, provider: int, n_lanes: int, n_providers: int, first: int, factory: float, method: Method
) -> tuple[Floats, float, Centre]:
    """The predictive histogram of a positive receipt, (grid size,), the chance that it is 0, and the centre."""
    centre = centre_of(rows, lane, provider, n_lanes, n_providers, factory, method)
    shape = relatives_shape(rows, lane, provider, first, centre.design_effect, method)
    density = np.zeros(rows.sketches.shape[1])
    own_weight, zeros, receipts, own_zeros, own_receipts = 0.0, 0, 0, 0, 0
    for row in range(rows.lane.size):
        zeros += rows.counts[row, 1]
        receipts += rows.counts[row, 0] + rows.counts[row, 1]
        if rows.lane[row] == lane and rows.provider[row] == provider and rows.moments[row, 0] > 0.0:
            own_weight = rows.moments[row, 0]
            own_zeros, own_receipts = rows.counts[row, 1], rows.counts[row, 0] + rows.counts[row, 1]
            density += rows.sketches[row] / own_weight
    own_share = own_weight / (own_weight + method.own_strength * centre.design_effect)
    density *= own_share
    borrowed = shape.sum() / centre.design_effect
    factory_share = method.factory_strength / (method.factory_strength + borrowed)
    if borrowed > 0.0:
        add_blurred(density, shape, (1.0 - own_share) * (1.0 - factory_share), first, centre)
    add_normal(density, (1.0 - own_share) * factory_share, first, centre)
    everywhere = zeros / receipts if receipts > 0 else 0.0
    zero = (own_zeros + method.own_strength * everywhere) / (own_receipts + method.own_strength)
    return density, zero, centre


@compiled
def quantile_of(density: Floats, total: float, zero: float, q: float, low: float) -> float:
    """The q-quantile in the measure's unit; 0 where the chance of a 0 covers it."""
    if q <= zero:
        return 0.0
    return math.exp(log_quantile(density, total, (q - zero) / (1.0 - zero), low))


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
        return [self.corrected(q, correction) for q in QUANTILES]

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
