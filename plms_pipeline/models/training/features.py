"""What did the market look like at the end of a bar, told by that bar and those before it?

Each feature of a bar is a function of at most the last hundred bars (exponential means reach further, with weights under 2 %
in all), computed per symbol and scale-free, so that one model serves symbols of any price. The first `WARM_UP` bars of a
symbol have no features. `look_ahead` hands the same functions a market whose future was changed: a feature that moves has
seen it. The names follow the registry of the source; where it looked ahead (quantile ranks over the whole sample) ours does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Flags, Floats, Instants
from plms_pipeline.models.market.findings import Finding, finding
from plms_pipeline.models.training.lookback import (
    LOOK_BACK,
    VOLATILITY_BARS,
    deviation,
    look_back,
    means_of,
    seen,
    strength,
    windows,
)

WARM_UP: Final = LOOK_BACK
EXTRA_PREFIX: Final = "extra_"
FeatureFunction: TypeAlias = Callable[[Bars, slice], Mapping[str, Floats]]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of bars: `values` is bars × names in the order of the bars, NaN where `usable` is false.

    `volatility` is the realised deviation of log returns per bar over the last 20, the unit of the target.
    """

    names: tuple[str, ...]
    values: Floats
    usable: Flags
    volatility: Floats


def relative_strength(close: Floats) -> Floats:
    """RSI with Wilder's smoothing over 14 bars, 0 to 1; one half when nothing moves."""
    means = means_of(close)
    return strength(means.up, means.down)


def backward_features(bars: Bars, rows: slice) -> dict[str, Floats]:
    """The features of one symbol's bars by name; rows before each window is full are NaN or not yet settled.

    log_return_1 and log_return_5 in units of their recent deviation (Σ log returns), momentum_32 likewise; rsi_14 (Wilder)
    − ½; ema_ratio_12_26 − 1; ema_distance_50 = close/EMA − 1; macd_hist = (MACD − its EMA 9)/close; bollinger_band_width =
    4σ₂₀/mean₂₀ of the close; log of realised_vol_20; volume_zscore over 60 bars of log volume; regime_score = t statistic
    of the mean return over 100 bars; rolling_skew_30; drawdown from the highest close of 100 bars; and each extra signal.
    """
    return {
        **seen(look_back(bars.close[rows], bars.volume[rows])),
        **{f"{EXTRA_PREFIX}{name}": values[rows] for name, values in bars.extras.items()},
    }


def realised_volatility(close: Floats) -> Floats:
    """Root mean square of the last 20 log returns per bar; NaN before there are 20."""
    return deviation(windows(np.diff(np.log(close), prepend=np.nan), VOLATILITY_BARS))


def features(
    bars: Bars, function: FeatureFunction = backward_features, *, names: tuple[str, ...] | None = None
) -> Features:
    """Compute the features of every bar.

    Args:
        bars: canonical bars.
        function: what computes the features of one symbol's slice.
        names: which features, in this order; all of them when omitted.

    Raises:
        BadInput: a feature that was asked for does not exist.
        NoData: no symbol has more than `WARM_UP` bars.
    """
    parts: list[Floats] = []
    volatility = np.full(bars.count, np.nan)
    settled = np.zeros(bars.count, dtype=bool)
    for _, rows in bars.slices():
        found = function(bars, rows)
        if names is None:
            names = tuple(found)
        unknown = [name for name in names if name not in found]
        if unknown:
            raise BadInput(
                f"There is no feature {', '.join(unknown)}; known are {', '.join(found)}.", code="unknown_feature"
            )
        parts.append(np.column_stack([found[name] for name in names]))
        volatility[rows] = realised_volatility(bars.close[rows])
        settled[rows.start + WARM_UP : rows.stop] = True
    if not settled.any():
        raise NoData(
            f"No symbol has more than {WARM_UP} bars; the features look that far back. Import a longer history.",
            code="history_too_short",
        )
    values = np.concatenate(parts)
    # Nothing can be scaled by a price that has stood still for twenty bars.
    usable = settled & np.isfinite(values).all(axis=1) & (volatility > 0.0)
    values[~usable] = np.nan
    return Features(names or (), values, usable, volatility)


def look_ahead(
    bars: Bars, function: FeatureFunction = backward_features, *, cuts: int = 4, seed: int = 0
) -> Finding | None:
    """Name the features that change when only later bars do.

    At some moments the whole future of every symbol is replaced by another one (prices, volume and extras), and the
    features of the past are compared bit for bit. What differs has looked ahead: its profits in a backtest are not to be
    had.

    Args:
        bars: canonical bars of at least twice `WARM_UP` per symbol; shorter symbols are left out.
        function: what computes the features of one symbol's slice.
        cuts: how many moments are tried, evenly spread.
        seed: of the invented futures.
    """
    rng = np.random.default_rng(seed)
    guilty: dict[str, str] = {}
    for symbol, rows in bars.slices():
        size = rows.stop - rows.start
        if size < 2 * WARM_UP:
            continue
        honest = function(bars, rows)
        for cut in np.linspace(WARM_UP, size - 2, cuts).astype(int).tolist():
            told = function(_other_future(bars, rows.start + cut + 1, rows.stop, rng), rows)
            for name, values in honest.items():
                past, now = values[: cut + 1], told[name][: cut + 1]
                if name not in guilty and not np.array_equal(past, now, equal_nan=True):
                    guilty[name] = f"{name} of {symbol} at {str(bars.timestamp[rows.start + cut])[:19]}"
    if not guilty:
        return None
    return finding(
        "look_ahead_features", "error", list(guilty.values()), "feature that changes when only later bars change",
        "Compute it from the bar itself and those before it.",
    )  # fmt: skip


def _other_future(bars: Bars, first: int, end: int, rng: np.random.Generator) -> Bars:
    factor = np.ones(bars.count)
    factor[first:end] = rng.uniform(0.5, 2.0, size=end - first)
    changed: dict[str, Any] = {name: values * factor for name, values in bars.numbers().items()}
    extras = {}
    for name, values in bars.extras.items():
        extras[name] = values.copy()
        extras[name][first:end] = rng.standard_normal(end - first)
    return replace(bars, **changed, extras=extras)


def following(bars: Bars, horizon: int) -> tuple[Floats, Instants]:
    """What comes after each bar: log return over `horizon` bars and its timestamp; NaN and NaT if unknown."""
    returns = np.full(bars.count, np.nan)
    times = np.full(bars.count, np.datetime64("NaT"), dtype=bars.timestamp.dtype)
    log = np.log(bars.close)
    for _, rows in bars.slices():
        now = np.arange(rows.start, max(rows.stop - horizon, rows.start))
        returns[now] = log[now + horizon] - log[now]
        times[now] = bars.timestamp[now + horizon]
    return returns, times
