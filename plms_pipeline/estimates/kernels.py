"""How is the next receipt of a (lane, provider) predicted? The loops, compiled, in one module.

Crossed random effects on the log scale: a receipt is population + provider + lane + their interaction + its own spread. Each
part is shrunk by what it rests on, and the uncertainty that is left widens the forecast: a new provider starts as wide as
providers differ, and narrows with its first receipts (Gelman and Hill, Data Analysis Using Regression and
Multilevel Models, ch. 12-13). The obvious shortcut, a plain average of the parent, knows no uncertainty and is too
narrow exactly when money is spent on something new.

Neighbouring receipts of one source resemble each other when work comes in batches of one kind. `design_effect` measures that,
and a receipt then counts for less: n receipts with lag-one correlation ρ know as much as n (1 - ρ) / (1 + ρ) independent
ones (the variance of the mean of a first-order autoregression).

One module, because numba keeps compiled code per file and does not notice when a function of another file, compiled into
it, has changed: after an upgrade night and forecast would run different methods.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.method import Method

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RELATIVE_ERROR: Final = 0.01
GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
WIDTH: Final = math.log(GAMMA)

MAX_DEPENDENCE: Final = 0.9
# Effective receipts without which a row has no shape of its own.
MIN_SHAPE: Final = 2.0
NODES: Final = 25
REACH: Final = 3.0


class Rows(NamedTuple):
    """The state as arrays over the (lane, provider) rows, for the kernels."""

    lane: Ints  # (rows,) code of the lane
    provider: Ints  # (rows,) code of the provider
    counts: Ints  # (rows, 2) positive receipts, receipts that are 0
    moments: Floats  # (rows, 7) fading sums of summary.MOMENTS
    last: Floats  # (rows,) newest log value
    sketches: Floats  # (rows, grid size) fading histograms


class Centre(NamedTuple):
    """The predictive centre (mean of the log), its variance, and the variance of single receipts around it."""

    mean: float
    variance: float
    spread: float
    design_effect: float


@compiled
def bucket_of(log_value: float, first: int, size: int) -> int:
    """Position of a log value on the grid; what lies beyond an end belongs to the last bucket there."""
    place = math.floor(log_value / WIDTH) - first
    return min(max(place, 0), size - 1)


@compiled
def log_quantile(density: Floats, total: float, q: float, low: float) -> float:
    """The q-quantile of a histogram over the grid as a natural logarithm, linear inside a bucket."""
    target = q * total
    passed = 0.0
    for place in range(density.size):
        if passed + density[place] >= target and density[place] > 0.0:
            return float(low + (place + (target - passed) / density[place]) * WIDTH)
        passed += density[place]
    return low + density.size * WIDTH


@compiled
def observe(rows: Rows, row: int, log_value: float, position: int, forgetting: float) -> None:
    """Add one positive receipt to a row: everything older fades by one step."""
    moments, sketch = rows.moments[row], rows.sketches[row]
    for place in range(sketch.size):
        sketch[place] *= forgetting
    sketch[position] += 1.0
    for m in range(moments.size):
        moments[m] *= forgetting
    moments[0] += 1.0
    moments[1] += log_value
    moments[2] += log_value * log_value
    if rows.counts[row, 0] > 0:
        previous = rows.last[row]
        moments[3] += 1.0
        moments[4] += log_value
        moments[5] += previous
        moments[6] += log_value * previous
    rows.counts[row, 0] += 1
    rows.last[row] = log_value


@compiled
def _within(moments: np.ndarray) -> float:
    """Fading sum of squares of one row around its own mean."""
    if moments[0] <= 0.0:
        return 0.0
    return float(max(0.0, moments[2] - moments[1] * moments[1] / moments[0]))


@compiled
def design_effect(rows: Rows, method: Method) -> float:
    """How many receipts count as one independent receipt: (1 + ρ) / (1 - ρ), ρ pooled over all rows."""
    together = method.dependence * method.dependence_strength * method.factory_spread**2
    alone = method.dependence_strength * method.factory_spread**2
    for row in range(rows.lane.size):
        m = rows.moments[row]
        if m[0] > 1.5:
            mean = m[1] / m[0]
            together += m[6] - mean * (m[4] + m[5]) + m[3] * mean * mean
            alone += _within(m)
    rho = min(max(together / alone, 0.0), MAX_DEPENDENCE)
    return (1.0 + rho) / (1.0 - rho)


@compiled
def within_spread(rows: Rows, lane: int, provider: int, effect: float, method: Method) -> float:
    """Variance of single receipts: the lane's own in full, that of other lanes up to a limit, the factory's to start with."""
    squares = np.zeros(3)
    degrees = np.zeros(3)
    for row in range(rows.lane.size):
        m = rows.moments[row]
        if m[0] > 1.0:
            kin = 0 if rows.lane[row] == lane else 1 if rows.provider[row] == provider else 2
            squares[kin] += _within(m) / effect
            degrees[kin] += max(m[0] - effect, 0.0) / effect
    total = method.factory_strength * method.factory_spread**2
    weight = method.factory_strength
    for kin in range(3):
        share = 1.0 if kin == 0 or degrees[kin] <= 0.0 else min(1.0, method.borrowed_limit / degrees[kin])
        total += share * squares[kin]
        weight += share * degrees[kin]
    return total / weight


@compiled
def provider_means(rows: Rows, n_providers: int, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per provider: mean log over its lanes after their offsets, and the fading weight behind it."""
    mean = np.zeros(n_providers)
    weight = np.zeros(n_providers)
    for row in range(rows.lane.size):
        m = rows.moments[row]
        mean[rows.provider[row]] += m[1] - m[0] * offsets[rows.lane[row]]
        weight[rows.provider[row]] += m[0]
    for p in range(n_providers):
        if weight[p] > 0.0:
            mean[p] /= weight[p]
    return mean, weight


@compiled
def lane_offsets(
    rows: Rows, n_lanes: int, n_providers: int, effect: float, method: Method
) -> tuple[np.ndarray, np.ndarray, float]:
    """Per lane: offset from the mean of its providers, shrunk; effective receipts; and the variance between lanes."""
    means, _ = provider_means(rows, n_providers, np.zeros(n_lanes))
    offsets = np.zeros(n_lanes)
    evidence = np.zeros(n_lanes)
    for row in range(rows.lane.size):
        m = rows.moments[row]
        offsets[rows.lane[row]] += m[1] - m[0] * means[rows.provider[row]]
        evidence[rows.lane[row]] += m[0] / effect
    total = method.lane_strength * method.lane_spread**2
    weight = method.lane_strength
    for lane in range(n_lanes):
        if evidence[lane] > 0.0:
            raw = offsets[lane] / (evidence[lane] * effect)
            share = evidence[lane] / (evidence[lane] + method.lane_shrinkage)
            offsets[lane] = raw * share
            total += share * raw * raw
            weight += share
    return offsets, evidence, total / weight


@compiled
def population(
    means: np.ndarray, weights: np.ndarray, provider: int, factory: float, method: Method
) -> tuple[float, float]:
    """Mean over the other providers' centres, and the variance of a new one around it."""
    weight = method.factory_providers
    mean = weight * factory
    for p in range(means.size):
        if p != provider and weights[p] > 0.0:
            share = weights[p] / (weights[p] + 1.0)
            weight += share
            mean += share * means[p]
    mean /= weight
    total = method.provider_strength * method.provider_spread**2
    degrees = method.provider_strength
    for p in range(means.size):
        if p != provider and weights[p] > 0.0:
            share = weights[p] / (weights[p] + 1.0)
            total += share * (means[p] - mean) ** 2
            degrees += share
    return mean, total / degrees * (1.0 + 1.0 / weight)


@compiled
def centre_of(
    rows: Rows, lane: int, provider: int, n_lanes: int, n_providers: int, factory: float, method: Method
) -> Centre:
    """The centre of (lane, provider); either may be -1 for one never seen.

    Best linear prediction in three steps: the provider from its other lanes, the lane's offset, then its own receipts.
    """
    effect = design_effect(rows, method)
    spread = within_spread(rows, lane, provider, effect, method)
    offsets, lane_evidence, between_lanes = lane_offsets(rows, n_lanes, n_providers, effect, method)
    means, weights = provider_means(rows, n_providers, offsets)
    mean, variance = population(means, weights, provider, factory, method)
    own_weight, own_sum = 0.0, 0.0
    for row in range(rows.lane.size):
        if rows.lane[row] == lane and rows.provider[row] == provider:
            own_weight, own_sum = rows.moments[row, 0], rows.moments[row, 1]
    offset = offsets[lane] if lane >= 0 else 0.0
    if provider >= 0 and weights[provider] - own_weight > 1e-9:
        other = weights[provider] - own_weight
        other_mean = (means[provider] * weights[provider] - (own_sum - own_weight * offset)) / other
        known = min(other / effect, method.evidence_limit) / spread
        mean = (mean / variance + other_mean * known) / (1.0 / variance + known)
        variance = 1.0 / (1.0 / variance + known)
    lane_known = lane_evidence[lane] / spread if lane >= 0 else 0.0
    mean += offset
    variance += method.cell_spread**2 + 1.0 / (1.0 / between_lanes + lane_known)
    if own_weight > 0.0:
        known = min(own_weight / effect, method.evidence_limit) / spread
        mean = (mean / variance + own_sum / own_weight * known) / (1.0 / variance + known)
        variance = 1.0 / (1.0 / variance + known)
    return Centre(mean, variance, spread, effect)


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


@compiled
def walk(
    rows: Rows, row_of: Ints, values: Floats, visible: Ints, order: Ints, n_lanes: int, n_providers: int, first: int,
    factory: float, levels: Floats, method: Method,
) -> tuple[Floats, Floats]:  # fmt: skip
    """(n, levels) quantiles of each forecast, uncorrected, and (n,) design effects.

    `rows` is advanced to what the last forecast knew.
    """
    out = np.empty((values.size, levels.size))
    effects = np.empty(values.size)
    size = rows.sketches.shape[1]
    low = first * WIDTH
    known = 0
    for i in order:
        while known < visible[i]:
            if values[known] > 0.0:
                log_value = np.log(values[known])
                observe(rows, row_of[known], log_value, bucket_of(log_value, first, size), method.forgetting)
            else:
                rows.counts[row_of[known], 1] += 1
            known += 1
        row = row_of[i]
        density, zero, centre = density_of(
            rows, rows.lane[row], rows.provider[row], n_lanes, n_providers, first, factory, method
        )
        total = density.sum()
        effects[i] = centre.design_effect
        for level in range(levels.size):
            out[i, level] = quantile_of(density, total, zero, levels[level], low)
    return out, effects
