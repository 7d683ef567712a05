"""How well did a path of returns do, and against what risk?

Textbook figures on simple returns, equal to empyrical's where it has them: deviations are those of samples (n - 1), downside
counts every period, equity compounds, ratios are annualised by the square root of the periods in a year. The names are those
of the sources. A name without an ending that could mean either is the annualised figure; `…_per_period` and `…_annualised`
stand beside it.

What cannot be said is None with a reason, never 0, infinity or a number divided by almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats, Returns

Reason = Literal[
    "no_returns", "too_few_returns", "no_variation", "no_losses", "no_drawdown", "no_benchmark_variation", "not_finite"
]

TAIL: Final = 0.05
# A deviation below the rounding of the values themselves is none.
_ROUNDING: Final = 1e-13


@dataclass(frozen=True, slots=True)
class Figures:
    """Named figures; a figure that could not be said is None, and `reasons` has its code."""

    values: Mapping[str, float | None]
    reasons: Mapping[str, Reason]

    def __getitem__(self, name: str) -> float | None:
        return self.values[name]

    def as_document(self) -> dict[str, Any]:
        """The figures by name, as JSON has them: finite or null."""
        return dict(self.values)


def risk_figures(returns: Returns, benchmark: Returns | None = None) -> Figures:
    """All figures of a path, and against a benchmark those of the difference.

    Args:
        returns: the path of the portfolio.
        benchmark: the same periods of what it is compared with.

    Raises:
        BadInput: the benchmark has another number of periods, or another number of them in a year.
    """
    found = _Found()
    _of_growth(found, returns)
    _of_spread(found, returns)
    _of_losses(found, returns)
    if benchmark is not None:
        if benchmark.values.size != returns.values.size or benchmark.periods_per_year != returns.periods_per_year:
            raise BadInput("The benchmark has other periods than the returns; pair them first.")
        _of_difference(found, returns, benchmark)
    return Figures(found.values, found.reasons)


class _Found:
    """Figures while they are gathered: what is not finite is not said."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = {}
        self.reasons: dict[str, Reason] = {}

    def say(self, *names: str, value: float | None, reason: Reason = "not_finite") -> None:
        """One value under its names; None is kept with its reason."""
        for name in names:
            if value is not None and math.isfinite(value):
                self.values[name] = float(value)
            else:
                self.values[name] = None
                self.reasons[name] = "not_finite" if value is not None else reason


def drawdowns(values: Floats) -> Floats:
    """Relative distance of compounded equity from its highest point so far, the start included: (n,) in [-1, 0].

    Everything lost is -1 for ever after.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        equity = np.cumprod(1.0 + values)
        highest = np.maximum.accumulate(np.maximum(equity, 1.0))
        return np.asarray(equity / highest - 1.0)


def deviation(values: Floats) -> float | None:
    """Standard deviation of a sample (n - 1); None with fewer than two values, or where all are the same."""
    if values.size < 2:
        return None
    found = float(values.std(ddof=1))
    return found if found > _ROUNDING * float(np.abs(values).max()) else None


def ratio(top: float, bottom: float | None) -> float | None:
    """A quotient, None without a divisor."""
    return None if not bottom else top / bottom


def _of_growth(found: _Found, returns: Returns) -> None:
    r, a_year = returns.values, returns.periods_per_year
    if not r.size:
        names = (
            "average_return", "annualised_average_return", "total_return", "cumulative_return", "roi", "return_multiple",
            "annualised_return", "max_drawdown", "ulcer_index", "calmar",
        )  # fmt: skip
        found.say(*names, value=None, reason="no_returns")
        return
    mean = float(r.mean())
    with np.errstate(over="ignore"):
        multiple = float(np.prod(1.0 + r))
    found.say("average_return", value=mean)
    found.say("annualised_average_return", value=mean * a_year)
    found.say("total_return", "cumulative_return", "roi", value=multiple - 1.0)
    found.say("return_multiple", value=multiple)
    try:
        grown = multiple ** (a_year / r.size) - 1.0
    except OverflowError:
        grown = math.inf
    found.say("annualised_return", value=grown)
    below = drawdowns(r)
    deepest = float(below.min())
    found.say("max_drawdown", value=min(deepest, 0.0))
    found.say("ulcer_index", value=math.sqrt(float(np.mean(below**2))))
    found.say("calmar", value=ratio(grown, -deepest if deepest < 0 else None), reason="no_drawdown")


def _of_spread(found: _Found, returns: Returns) -> None:
    r, root = returns.values, math.sqrt(returns.periods_per_year)
    few: Reason = "no_returns" if not r.size else "too_few_returns" if r.size < 2 else "no_variation"
    spread = deviation(r)
    # Returns that never vary have the volatility 0, but no ratio to it.
    plain = (0.0 if r.size > 1 else None) if spread is None else spread
    found.say("volatility_per_period", value=plain, reason=few)
    found.say("volatility", "volatility_annualised", value=None if plain is None else plain * root, reason=few)
    sharpe = None if spread is None else float(r.mean()) / spread
    found.say("sharpe_per_period", value=sharpe, reason=few)
    found.say("sharpe", "sharpe_annualised", value=None if sharpe is None else sharpe * root, reason=few)


def _of_losses(found: _Found, returns: Returns) -> None:
    r, root = returns.values, math.sqrt(returns.periods_per_year)
    if not r.size:
        names = (
            "downside_deviation_per_period", "downside_deviation", "downside_deviation_annualised", "sortino_per_period",
            "sortino", "sortino_annualised", "hit_rate", "value_at_risk", "expected_shortfall", "omega_ratio", "profit_factor",
        )  # fmt: skip
        found.say(*names, value=None, reason="no_returns")
        return
    downside = math.sqrt(float(np.mean(np.minimum(r, 0.0) ** 2)))
    found.say("downside_deviation_per_period", value=downside)
    found.say("downside_deviation", "downside_deviation_annualised", value=downside * root)
    # empyrical asks for two returns, too.
    why: Reason = "too_few_returns" if r.size < 2 else "no_losses"
    sortino = ratio(float(r.mean()), downside) if r.size > 1 else None
    found.say("sortino_per_period", value=sortino, reason=why)
    found.say("sortino", "sortino_annualised", value=None if sortino is None else sortino * root, reason=why)
    found.say("hit_rate", value=float(np.mean(r > 0)))
    found.say("value_at_risk", value=float(np.quantile(r, TAIL)))
    worst = int((r.size - 1) * TAIL) + 1
    found.say("expected_shortfall", value=float(np.partition(r, worst - 1)[:worst].mean()))
    won, lost = float(r[r > 0].sum()), float(-r[r < 0].sum())
    found.say("omega_ratio", "profit_factor", value=ratio(won, lost), reason="no_losses")


def _of_difference(found: _Found, returns: Returns, benchmark: Returns) -> None:
    r, b, a_year = returns.values, benchmark.values, returns.periods_per_year
    names = (
        "benchmark_average_return", "benchmark_annualised_return", "average_excess_return", "annualised_excess_return",
        "tracking_error_per_period", "tracking_error", "tracking_error_annualised", "information_ratio_per_period",
        "information_ratio", "information_ratio_annualised", "beta", "alpha_per_period", "alpha", "alpha_annualised",
        "benchmark_correlation",
    )  # fmt: skip
    if r.size < 2:
        found.say(*names, value=None, reason="too_few_returns" if r.size else "no_returns")
        return
    theirs = _Found()
    _of_growth(theirs, benchmark)
    found.say("benchmark_average_return", value=theirs.values["average_return"])
    found.say("benchmark_annualised_return", value=theirs.values["annualised_return"])
    difference = r - b
    excess, spread, root = float(difference.mean()), deviation(difference), math.sqrt(a_year)
    found.say("average_excess_return", value=excess)
    found.say("annualised_excess_return", value=excess * a_year)
    found.say("tracking_error_per_period", value=spread or 0.0)
    found.say("tracking_error", "tracking_error_annualised", value=(spread or 0.0) * root)
    information = ratio(excess, spread)
    found.say("information_ratio_per_period", value=information, reason="no_variation")
    found.say(
        "information_ratio", "information_ratio_annualised",
        value=None if information is None else information * root, reason="no_variation",
    )  # fmt: skip
    if deviation(b) is None:
        found.say(*names[-5:], value=None, reason="no_benchmark_variation")
        return
    centred = b - b.mean()
    slope = float(centred @ r / (centred @ centred))
    alpha = float((r - slope * b).mean())
    found.say("beta", value=slope)
    found.say("alpha_per_period", value=alpha)
    with np.errstate(over="ignore", invalid="ignore"):
        found.say("alpha", "alpha_annualised", value=float(np.power(1.0 + alpha, a_year)) - 1.0)
    moving = deviation(r) is not None
    found.say("benchmark_correlation", value=float(np.corrcoef(r, b)[0, 1]) if moving else None, reason="no_variation")
