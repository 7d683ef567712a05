"""What will the whole project take, given what a sample of it took?

What was measured, plus the tasks that were not, each at its stratum's mean. Those means are estimated together (best linear
prediction, which is what kriging and credibility are): each is seeded with the prior of the stratum's (lane, provider) and
moved by the sample as far as the sample knows better. With a vague prior a mean is that of its sample, without a sample that
of its prior, moved by what the samples of its relatives say.

What may be wrong with the total:
- tasks differ within a stratum, and only those not sampled count. That is the finite-population correction: with a vague
  prior the variance is N² (1 - n/N) σ²/n (Cochran 1977, eq. 2.20), and a sample of everything leaves none;
- a prior may be off, and strata that share one share its error;
- the project may as a whole differ from all history, which is what one rehearses for. As soon as anything was measured that
  counts as a spread of 30 %, or as more when the sample says so;
- a sample that even so contradicts the priors widens everything.

The interval is that of a log-normal with this mean and variance, above what was measured already: nothing is negative, and
sums of few skewed tasks are skewed. The original multiplied by N/n with another sample's n, took ±16 % as the interval of
tokens, that times a constant as the one of cost, and none for duration.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput

Floats = NDArray[np.float64]

Z_90: Final = 1.6448536269514722
# How far a project as a whole may differ from history: relative standard deviation, once something of it was measured.
PROJECT_SPREAD: Final = 0.3
# The prior's spread within a stratum counts as so many observations when the sample's own is judged.
SPREAD_STRENGTH: Final = 10.0
# A relative variance below which two tasks are alike.
NEGLIGIBLE: Final = 1e-9
# Added to the diagonal of what is inverted, relative to it.
REGULAR: Final = 1e-13
# No prior is held to be vaguer than this many times its mean: beyond it, doubles lose the digits.
WIDEST: Final = 1000.0
# So many surprises are needed before a contradiction is believed as it stands.
SURPRISE_STRENGTH: Final = 4.0


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of one task of a stratum, in the measure's unit.

    `mean` is its expected value, `within` the standard deviation between tasks, `unknown` that of what is not known of the
    mean. Strata of an equal `cell` share that error.
    """

    mean: float
    within: float
    unknown: float
    cell: Hashable = None


@dataclass(frozen=True, slots=True)
class StratumData:
    """One stratum: how many tasks it has, what was measured of some of them, and its prior."""

    size: int
    measured: Sequence[float]
    prior: Prior


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The total of a project in the measure's unit, with its central 90 % interval.

    `median` is as likely exceeded as not, which is what the estimate of a plan states too. `measured` is the sum over the
    sample, `ratio` that over what its priors expected (None without a sample);
    `surprise` how many times larger its deviations are than everything admitted here explains (1: it explains them).
    """

    mean: float
    median: float
    low: float
    high: float
    stddev: float
    measured: float
    ratio: float | None
    surprise: float

    @property
    def relative_width(self) -> float:
        """The width of the interval as a share of the median; 0 when that is 0."""
        return (self.high - self.low) / self.median if self.median > 0 else 0.0


def extrapolate(strata: Sequence[StratumData]) -> Extrapolation:
    """Estimate the total of all strata from the measured tasks and the priors.

    Raises:
        BadInput: a stratum has more measurements than tasks, or a number is negative or not finite (`bad_rehearsal_data`).
    """
    for stratum in strata:
        _require_sound(stratum)
    measured = math.fsum(value for stratum in strata for value in stratum.measured)
    expected = math.fsum(stratum.prior.mean * len(stratum.measured) for stratum in strata)
    mean, variance, surprise = _rest(strata)
    low, high = interval_90(mean, variance)
    return Extrapolation(
        measured + mean, measured + median_of(mean, variance), measured + low, measured + high, math.sqrt(variance), measured,
        measured / expected if expected > 0 else None, surprise,
    )  # fmt: skip


def _require_sound(stratum: StratumData) -> None:
    prior = stratum.prior
    numbers = (*stratum.measured, prior.mean, prior.within, prior.unknown)
    if len(stratum.measured) > stratum.size or any(not math.isfinite(value) or value < 0 for value in numbers):
        raise BadInput(
            f"A stratum of {stratum.size} tasks with {len(stratum.measured)} measurements cannot be extrapolated: there must "
            "be at most as many as tasks, all of them finite and none negative.",
            code="bad_rehearsal_data",
        )


def _rest(strata: Sequence[StratumData]) -> tuple[float, float, float]:
    """(mean, variance, surprise) of what was not measured.

    Reckoned in units of each stratum's prior mean, so that cents beside thousands lose no digits.
    """
    means = np.array([stratum.prior.mean for stratum in strata], dtype=np.float64)
    units = np.where(means > NEGLIGIBLE, means, 1.0)
    centres = means / units
    counts = np.array([stratum.size - len(stratum.measured) for stratum in strata], dtype=np.float64)
    left, within, kinship = counts * units, _within_variances(strata, units), _kinship(strata, units)
    own = float((counts * units**2) @ within)
    seen = np.array([place for place, stratum in enumerate(strata) if stratum.measured], dtype=np.int64)
    if not seen.size:
        return float(left @ centres), float(left @ kinship @ left) + own, 1.0
    samples = [np.asarray(strata[place].measured, dtype=np.float64) / units[place] for place in seen]
    residuals = np.array([float(sample.mean()) for sample in samples]) - centres[seen]
    noise = np.diag(within[seen] / [sample.size for sample in samples])
    kinship = kinship + _project_variance(residuals, kinship[np.ix_(seen, seen)] + noise)
    known = _inverse(kinship[np.ix_(seen, seen)] + noise)
    gain = kinship[:, seen] @ known
    surprise = _surprise(float(residuals @ known @ residuals), seen.size)
    unknown = float(left @ (kinship - gain @ kinship[seen]) @ left)
    # A sample far below its priors can pull a linear estimate under zero; what is left costs something all the same.
    mean = max(float(left @ (centres + gain @ residuals)), 0.01 * float(left @ centres))
    return mean, surprise * (max(0.0, unknown) + own), surprise


def _within_variances(strata: Sequence[StratumData], units: Floats) -> Floats:
    """The variance between the tasks of each stratum, (H,): the priors', times one factor that all samples give together.

    A stratum's own sample does not set it alone: few skewed values that happen to be low also happen to lie close together,
    and would count as the most certain ones.
    """
    variances = np.minimum(np.array([stratum.prior.within for stratum in strata]) / units, WIDEST) ** 2
    weight, total = SPREAD_STRENGTH, SPREAD_STRENGTH
    for stratum, unit, variance in zip(strata, units, variances, strict=True):
        n = len(stratum.measured)
        if n > 1 and variance > NEGLIGIBLE:
            total += float(np.var(np.asarray(stratum.measured) / unit)) * n / variance
            weight += n - 1
    return np.asarray(variances * (total / weight), dtype=np.float64)


def _kinship(strata: Sequence[StratumData], units: Floats) -> Floats:
    """The covariance of the strata's means under their priors, (H, H): strata of one cell err together."""
    numbers: dict[Hashable, int] = {}
    cells = np.array([numbers.setdefault(stratum.prior.cell, len(numbers)) for stratum in strata])
    unknown = np.minimum(np.array([stratum.prior.unknown for stratum in strata]) / units, WIDEST)
    return np.asarray(np.outer(unknown, unknown) * (cells[:, None] == cells[None, :]), dtype=np.float64)


def _project_variance(residuals: Floats, covariance: Floats) -> float:
    """How much the project as a whole differs from its priors, as a relative variance: what the sample shows, or 30 %."""
    known = _inverse(covariance)
    weight = float(known.sum())
    if weight <= 0:
        return PROJECT_SPREAD**2
    deviation = float(known.sum(axis=0) @ residuals) / weight
    return max(PROJECT_SPREAD**2, deviation**2 - 1 / weight)


def _inverse(covariance: Floats) -> Floats:
    """The inverse, reckoned in units of each stratum's own doubt, so that a vague stratum beside a sure one costs no digits."""
    scale = np.sqrt(np.maximum(covariance.diagonal(), NEGLIGIBLE**2))
    # Strata that neither vary nor are in doubt leave nothing to solve for; the least doubt keeps the matrix regular.
    regular = covariance / np.outer(scale, scale) + REGULAR * np.eye(scale.size)
    return np.asarray(np.linalg.inv(regular) / np.outer(scale, scale), dtype=np.float64)


def _surprise(distance: float, n: int) -> float:
    """The squared distance of a sample from what was to be expected, per observation, shrunk to 1 and never below it."""
    return max(1.0, (SURPRISE_STRENGTH + distance) / (SURPRISE_STRENGTH + n))


def interval_90(mean: float, variance: float) -> tuple[float, float]:
    """The central 90 % interval of a log-normal with this mean and variance; a point when nothing can be wrong."""
    if mean <= NEGLIGIBLE or variance <= (NEGLIGIBLE * mean) ** 2:
        return mean, mean
    spread = math.log1p(variance / mean**2)
    middle = math.log(mean) - spread / 2
    width = Z_90 * math.sqrt(spread)
    return math.exp(middle - width), math.exp(middle + width)


def median_of(mean: float, variance: float) -> float:
    """The median of a log-normal with this mean and variance."""
    return mean / math.sqrt(1 + variance / mean**2) if mean > NEGLIGIBLE else mean


def log_normal_prior(mean: float, log_variance: float, log_unknown: float, cell: Hashable = None) -> Prior:
    """A prior from its mean and two log-scale variances: of a task's value, and of what is not known of its centre.

    The unknown part is at most 95 % of the whole: tasks never are all alike.
    """
    unknown = min(log_unknown, 0.95 * log_variance)
    return Prior(
        mean,
        within=mean * math.sqrt(math.exp(unknown) * math.expm1(log_variance - unknown)),
        unknown=mean * math.sqrt(math.expm1(unknown)),
        cell=cell,
    )


def prior_of_values(values: Floats, log_unknown: float, cell: Hashable = None) -> Prior:
    """A prior from equally likely values of one task, and the log-scale variance of what is not known of its centre.

    The variance of the values is split between what all tasks share and what is a task's own, as a log-normal's would be.
    """
    mean, variance = float(values.mean()), float(values.var())
    logs = np.log(values[values > 0])
    whole = float(logs.var()) if logs.size else 0.0
    if whole <= 0:
        return Prior(mean, math.sqrt(variance), 0.0, cell)
    part = math.expm1(min(log_unknown, 0.95 * whole)) / math.expm1(whole)
    return Prior(mean, math.sqrt(variance * (1 - part)), math.sqrt(variance * part), cell)


def mixed(priors: Mapping[Prior, int]) -> Prior:
    """The prior of a stratum whose tasks have several, by the number of tasks of each.

    What is not known of several priors is taken as one error, which is the cautious reading; tasks of different priors differ
    by their means too.

    Raises:
        BadInput: there are no tasks (`bad_rehearsal_data`).
    """
    total = sum(priors.values())
    if total < 1:
        raise BadInput("A stratum without tasks has no prior.", code="bad_rehearsal_data")
    if len(priors) == 1:
        return next(iter(priors))
    mean = math.fsum(prior.mean * n for prior, n in priors.items()) / total
    within = math.fsum((prior.within**2 + (prior.mean - mean) ** 2) * n for prior, n in priors.items()) / total
    unknown = math.fsum(prior.unknown * n for prior, n in priors.items()) / total
    cells = {prior.cell for prior in priors}
    # Tasks of one cell that differ only by what is known of them still share its error.
    cell = next(iter(cells)) if len(cells) == 1 else tuple(sorted(str(one) for one in cells))
    return Prior(mean, math.sqrt(within), unknown, cell)
