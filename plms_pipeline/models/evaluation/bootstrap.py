"""Between which limits does a figure lie, had the same market run another time?

Percentiles of the figure over resampled paths (`blocks`). An interval is of the very figure that is shown beside it, under
its name: an annualised interval around a figure per period says nothing. The same seed gives the same limits on every
machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation import blocks
from plms_pipeline.models.evaluation.returns import Floats, Returns
from plms_pipeline.models.evaluation.risk import risk_figures

RESAMPLES: Final = 10_000
LEVEL: Final = 0.95
SEED: Final = 20_140_731
# Below this many periods their resamples are permutations of each other, and limits would be pretence.
FEWEST: Final = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its central interval; None where the figure, or too much of its resamples, could not be said."""

    point: float | None
    low: float | None
    high: float | None
    level: float

    def as_document(self) -> dict[str, Any]:
        """Point and limits, as JSON has them."""
        return {"point": self.point, "low": self.low, "high": self.high, "level": self.level}


@dataclass(frozen=True, slots=True)
class Resampled:
    """Intervals by the name of the figure, and how they were found."""

    intervals: Mapping[str, Interval]
    block_length: int
    resamples: int
    seed: int

    def as_document(self) -> dict[str, Any]:
        """The intervals with method and seed, as JSON has them."""
        return {
            "method": "circular_block_bootstrap",
            "block_length": self.block_length,
            "resamples": self.resamples,
            "seed": self.seed,
            "intervals": {name: interval.as_document() for name, interval in self.intervals.items()},
        }


def bootstrap(
    returns: Returns, *, resamples: int = RESAMPLES, seed: int = SEED, level: float = LEVEL, length: int | None = None
) -> Resampled:
    """Intervals of the headline figures of `risk`, under their names.

    Args:
        returns: the path.
        resamples: how many paths are drawn; at 10 000 the limits of a Sharpe ratio are good to two digits.
        level: of the central interval, in (0, 1).
        length: of the blocks in periods; None: as long as the path asks for.

    Raises:
        BadInput: the level is not inside (0, 1), or there is nothing to draw.
    """
    r = returns.values
    if r.size < FEWEST:
        none = Interval(None, None, None, level)
        return Resampled(dict.fromkeys(_NAMES, none), 1, 0, seed)
    chosen = blocks.block_length(r) if length is None else length
    drawn = blocks.plan(r.size, chosen, resamples=resamples, seed=seed)
    samples, points = resampled_figures(returns, drawn), risk_figures(returns)
    intervals = {name: interval_of(points[name], samples[name], level) for name in _NAMES}
    return Resampled(intervals, drawn.length, resamples, seed)


def interval_of(point: float | None, samples: Floats, level: float) -> Interval:
    """The central percentile interval; resamples without the figure are left out, up to a hundredth of them.

    Args:
        samples: (resamples,) the figure of each, NaN where it has none.

    Raises:
        BadInput: the level is not inside (0, 1).
    """
    if not 0 < level < 1:
        raise BadInput(f"{level} is no level of an interval; it lies between 0 and 1.")
    known = samples[np.isfinite(samples)]
    if known.size < 0.99 * samples.size or point is None:
        return Interval(point, None, None, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(point, float(low), float(high), level)


def information_coefficient(predicted: Floats, actual: Floats) -> float | None:
    """Rank correlation of predictions and outcomes (Spearman), None where either never varies.

    Args:
        predicted, actual: (n,) over all symbols and moments, none unknown.
    """
    if predicted.size < 2 or np.ptp(predicted) == 0 or np.ptp(actual) == 0:
        return None
    return float(np.corrcoef(rankdata(predicted), rankdata(actual))[0, 1])


def bootstrap_information(
    moments: pd.Series, predicted: Floats, actual: Floats, *, resamples: int = RESAMPLES, seed: int = SEED,
    level: float = LEVEL,
) -> Interval:  # fmt: skip
    """The information coefficient and its interval, drawing whole moments: what symbols share at one moment is one draw.

    Ranks are those of the whole sample.

    Args:
        moments: (n,) when each prediction was made.
        predicted, actual: (n,), none unknown.
    """
    point = information_coefficient(predicted, actual)
    codes, found = pd.factorize(moments, sort=True)
    if point is None or len(found) < FEWEST:
        return Interval(point, None, None, level)
    x, y = (_standard(rankdata(column)) for column in (predicted, actual))
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])
    tallies = [np.bincount(codes, weights=term, minlength=len(found)) for term in terms]
    per_moment = np.stack(tallies).astype(np.float64)
    covariance = per_moment[5] / np.maximum(per_moment[0], 1.0)
    drawn = blocks.plan(len(found), blocks.block_length(covariance), resamples=resamples, seed=seed)
    count, sx, sy, sxx, syy, sxy = blocks.sums(per_moment, drawn)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn_ic = (count * sxy - sx * sy) / np.sqrt((count * sxx - sx**2) * (count * syy - sy**2))
    return interval_of(point, drawn_ic, level)


_NAMES: Final = (
    "average_return", "annualised_average_return", "total_return", "annualised_return", "volatility", "sharpe",
    "sharpe_per_period", "sortino", "max_drawdown",
)  # fmt: skip


def resampled_figures(returns: Returns, drawn: blocks.Plan) -> dict[str, Floats]:
    """The headline figures of `risk` for each drawn path: (resamples,), NaN where a path does not have one."""
    r, a_year = returns.values, returns.periods_per_year
    n, root, centre = r.size, math.sqrt(a_year), float(r.mean())
    with np.errstate(divide="ignore"):
        growth = np.log1p(r)
    away = r - centre
    moved, squares, downs, grown = blocks.sums(np.stack([away, away**2, np.minimum(r, 0.0) ** 2, growth]), drawn)
    mean = centre + moved / n
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = np.sqrt(np.maximum(squares - moved**2 / n, 0.0) / (n - 1))
        # What is left of a path that never varies is rounding.
        spread[spread <= 1e-12 * np.abs(r).max()] = np.nan
        sharpe = mean / spread
        downside = np.sqrt(downs / n)
        return {
            "average_return": mean,
            "annualised_average_return": mean * a_year,
            "total_return": np.expm1(grown),
            "annualised_return": np.expm1(grown * (a_year / n)),
            "volatility": np.nan_to_num(spread) * root,
            "sharpe": sharpe * root,
            "sharpe_per_period": sharpe,
            "sortino": np.where(downside > 0, mean / downside, np.nan) * root,
            "max_drawdown": blocks.drawdowns(growth, drawn),
        }


def _standard(ranks: Floats) -> Floats:
    return np.asarray((ranks - ranks.mean()) / ranks.std())
