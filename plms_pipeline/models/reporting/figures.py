"""Which figures does a report show beside those of `risk`, and do they add up?

All come from one path: the simple return of the whole portfolio per moment. There is one drawdown, the relative one of
compounded equity (`risk.drawdowns`); the report of the source gave 8.64 % in one section and 9.12 % in another, because the
second was measured in money. What symbols contribute adds up to what the portfolio made, since each return counts by its share
of its moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from plms_pipeline.models.evaluation.returns import Floats, Returns, Weighting, numbers, portfolio_path, returns_of
from plms_pipeline.models.evaluation.risk import Figures, drawdowns, risk_figures

EXTREMES: Final = 5
REGIME: Final = "regime__"
# Below this the total is rounding, and shares of it are noise.
_NOTHING: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The portfolio's simple returns, and when each happened: `moments` (n,) texts, `returns` of the same length."""

    moments: tuple[str, ...]
    returns: Returns
    benchmark: Returns | None


@dataclass(frozen=True, slots=True)
class Profit:
    """What was earned: fractions of the capital; the first two and the last six are no annual figures."""

    total_return: float | None
    cumulative_pnl: float
    annualised_return: float | None
    annualised_volatility: float | None
    return_multiple: float | None
    hit_rate: float | None
    max_drawdown: float | None
    best: float
    worst: float
    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class Share:
    """One symbol: its share of the rows, its mean return, what it added to the portfolio, and as a part of the whole."""

    symbol: str
    weight: float
    average: float
    pnl: float
    contribution: float | None


@dataclass(frozen=True, slots=True)
class Regime:
    """The rows under one label: a portfolio of their own."""

    column: str
    label: str
    samples: int
    weight: float
    average: float | None
    cumulative: float | None
    sharpe: float | None
    hit_rate: float | None


@dataclass(frozen=True, slots=True)
class Episode:
    """The deepest drawdown: from the highest point (None: the start) to the lowest, and when equity was back, if ever."""

    depth: float
    start: str | None
    end: str
    steps: int
    recovered: str | None


def profit(path: Path, risk: Figures) -> Profit:
    """The profitability of a path; what `risk` has is taken from there, so that a figure has one value."""
    r = path.returns.values
    return Profit(
        risk["total_return"], float(r.sum()), risk["annualised_return"], risk["volatility_annualised"],
        risk["return_multiple"], risk["hit_rate"], risk["max_drawdown"], float(r.max()), float(r.min()),
        int((r > 0).sum()), int((r < 0).sum()),
    )  # fmt: skip


def attribution(
    frame: pd.DataFrame, column: str, *, timestamp: str, symbol: str, weighting: Weighting
) -> tuple[Share, ...]:
    """What each symbol added, the largest first.

    Args:
        frame: rows with simple returns in `column`; unknown ones are left out.
    """
    known = frame[~np.isnan(numbers(frame, column))]
    values = numbers(known, column)
    per_moment = known.groupby(timestamp)[column].transform("size").to_numpy(dtype=np.float64)
    added = values / per_moment if weighting == "mean" else values
    total = float(added.sum())
    codes, names = pd.factorize(known[symbol].astype(str), sort=True)
    counts, means = np.bincount(codes), np.bincount(codes, weights=values)
    pnl = np.bincount(codes, weights=added)
    is_something = abs(total) > _NOTHING * max(1.0, float(np.abs(added).sum()))
    found = [
        Share(
            str(name), counts[code] / values.size, means[code] / counts[code], float(pnl[code]),
            float(pnl[code]) / total if is_something else None,
        )
        for code, name in enumerate(names)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.pnl, one.symbol)))


def regimes(
    frame: pd.DataFrame, column: str, *, timestamp: str, weighting: Weighting, periods_per_year: float
) -> tuple[Regime, ...]:
    """Each label of each column `regime__…`, in the order of columns and labels."""
    found = []
    for name in (str(one) for one in frame.columns if str(one).startswith(REGIME)):
        labels = frame[name].astype(object).where(frame[name].notna(), "unknown").astype(str)
        for label in sorted(set(labels)):
            rows = frame[labels == label]
            path = portfolio_path(rows, column, timestamp=timestamp, kind="simple", weighting=weighting)
            risk = risk_figures(returns_of(path, kind="simple", periods_per_year=periods_per_year, name=column))
            found.append(
                Regime(
                    name.removeprefix(REGIME), label, len(rows), len(rows) / len(frame), risk["average_return"],
                    risk["total_return"], risk["sharpe"], risk["hit_rate"],
                )
            )  # fmt: skip
    return tuple(found)


def deepest(path: Path) -> Episode | None:
    """The deepest drawdown of compounded equity; None if it never fell."""
    below = drawdowns(path.returns.values)
    if not below.size or below.min() >= 0.0:
        return None
    lowest = int(below.argmin())
    at_peak = np.flatnonzero(below[: lowest + 1] >= 0.0)
    peak = int(at_peak[-1]) if at_peak.size else -1
    back = np.flatnonzero(below[lowest:] >= 0.0)
    return Episode(
        float(below[lowest]), path.moments[peak] if peak >= 0 else None, path.moments[lowest], lowest - peak,
        path.moments[lowest + int(back[0])] if back.size else None,
    )  # fmt: skip


def extremes(path: Path, count: int = EXTREMES) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The best and the worst periods, the most extreme first; of equal ones the earlier."""
    r = path.returns.values
    best = np.argsort(-r, kind="stable")[:count]
    worst = np.argsort(r, kind="stable")[:count]
    return [(path.moments[i], float(r[i])) for i in best], [(path.moments[i], float(r[i])) for i in worst]


def compounded(values: Floats) -> Floats:
    """Equity of a capital of one, the start included: (n + 1,)."""
    return np.concatenate([[1.0], np.cumprod(1.0 + values)])
