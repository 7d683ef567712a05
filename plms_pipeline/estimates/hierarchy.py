"""Where does the next receipt of a (lane, provider) lie, and how sure is that, when few of its own were seen?

Crossed random effects on the log scale: a receipt is population + provider + lane + their interaction + its own spread. Each
part is shrunk by what it rests on, and the uncertainty that is left widens the forecast: a new provider starts as wide as
providers differ, and narrows with its first receipts (Gelman and Hill, Data Analysis Using Regression and
Multilevel Models, ch. 12-13). The obvious shortcut, a plain average of the parent, knows no uncertainty and is too
narrow exactly when money is spent on something new.

Neighbouring receipts of one source resemble each other when work comes in batches of one kind. `dependence` measures
that, and a receipt then counts for less: n receipts with lag-one correlation ρ know as much as n (1 - ρ) / (1 + ρ)
independent ones (Kish's design effect of a first-order autoregression).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.method import Method
from plms_pipeline.estimates.state import Rows

MAX_DEPENDENCE = 0.9


class Centre(NamedTuple):
    """The predictive centre (mean of the log), its variance, and the variance of single receipts around it."""

    mean: float
    variance: float
    spread: float
    design_effect: float


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
