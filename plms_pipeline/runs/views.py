"""How good were a project's estimates, how far is it, and where is it risky? The arithmetic behind the read endpoints.

Formulas and units are the sources' where they agree with their own samples: an error is |actual - estimated| / estimated. What
they left open is decided in the design ("Risk heatmap"); where too little is known the word is `unknown`, never a
number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plms_pipeline.estimates.extrapolation import Z_90, StratumData, extrapolate, log_normal_prior
from plms_pipeline.measures import MEASURES, Measure

# Share of the log-variance of one task that is not known of its centre when no receipt is there, and how it falls with them.
UNKNOWN_SHARE: Final = 0.6
HALVED_AT: Final = 2.0
SLOPE: Final = 0.01
TREND_POINTS: Final = 3
LOW, MEDIUM, HIGH, UNKNOWN = "low", "medium", "high", "unknown"


def error_pct(estimated: float | None, actual: float | None) -> float | None:
    """|actual - estimated| / estimated in percent, one decimal; None when either is unknown or nothing was estimated."""
    if not estimated or actual is None:
        return None
    return round(abs(actual - estimated) / estimated * 100, 1)


def interval_of(cells: Iterable[tuple[int, Mapping[str, Any]]], measure: Measure) -> list[float] | None:
    """The 90 % interval of a plan's total; None when some task was never estimated.

    Args:
        cells: number of tasks of each (lane, provider), and the effort forecast of one of them by measure.
    """
    strata = []
    for place, (size, forecast) in enumerate(cells):
        one = forecast.get(measure)
        if not one:
            return None
        strata.append(_stratum(size, one, place))
    if not strata:
        return None
    found = extrapolate(strata)
    places = 6 if measure == "cost_usd" else 0
    return [round(found.low, places), round(found.high, places)]


def _stratum(size: int, forecast: Mapping[str, Any], place: int) -> StratumData:
    """A forecast of one task as a log-normal: its 90 % interval gives the spread, its receipts how much of that is unknown."""
    median, low, high = (max(float(forecast[name]), 1e-6) for name in ("median", "low", "high"))
    variance = (math.log(max(high, low) / low) / (2 * Z_90)) ** 2
    unknown = variance * min(UNKNOWN_SHARE, HALVED_AT / (HALVED_AT + float(forecast.get("n") or 0)))
    return StratumData(size, (), log_normal_prior(median * math.exp(variance / 2), variance, unknown, place))


def is_inside(interval: Sequence[float] | None, value: float | None) -> bool | None:
    """Whether a value lies in an interval; None when either is unknown."""
    return None if interval is None or value is None else interval[0] <= value <= interval[1]


def trend(history: Sequence[float]) -> str:
    """Which way errors go: the slope of the least-squares line through them, oldest first.

    Fewer than 3 points or a slope within ±0.01 per project: `stable`; falling: `improving`; rising: `degrading`.
    """
    n = len(history)
    if n < TREND_POINTS:
        return "stable"
    middle, mean = (n - 1) / 2, math.fsum(history) / n
    rise = math.fsum((place - middle) * (value - mean) for place, value in enumerate(history))
    slope = rise / math.fsum((place - middle) ** 2 for place in range(n))
    if slope < -SLOPE:
        return "improving"
    return "degrading" if slope > SLOPE else "stable"


def remaining_pct(budget: float | None, used: float) -> float | None:
    """What is left of a budget in percent, one decimal, 0 at least; None without a budget."""
    return None if not budget else round(max(0.0, 1 - used / budget) * 100, 1)


def estimation_risk(mae: float | None, width: float | None, n: int) -> str:
    """Low below 15 % error and 30 % width, medium up to 30 % and 50 %, else high; unknown below 3 observations."""
    if n < TREND_POINTS or mae is None or width is None:
        return UNKNOWN
    if mae < 0.15 and width < 0.30:
        return LOW
    return MEDIUM if mae <= 0.30 and width <= 0.50 else HIGH


def ratio_risk(bad: int, n: int) -> str:
    """Low below 5 %, medium up to 10 %, else high; unknown below 3 observations."""
    if n < TREND_POINTS:
        return UNKNOWN
    if bad / n < 0.05:
        return LOW
    return MEDIUM if bad / n <= 0.10 else HIGH


def as_measured(row: Sequence[Any]) -> dict[Measure, float | None]:
    """Sums of tokens, milliseconds and dollars as plain numbers; None: no receipt knows the measure."""
    return {
        measure: None if value is None else float(value) if measure == "cost_usd" else int(value)
        for measure, value in zip(MEASURES, row, strict=True)
    }
