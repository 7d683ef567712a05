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
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Flags, Floats, Instants
from plms_pipeline.models.market.findings import Finding, finding

WARM_UP: Final = 100
VOLATILITY_BARS: Final = 20
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


def before(values: Floats, bars: int) -> Floats:
    """The value `bars` bars ago; NaN for the first ones."""
    shifted = np.full(values.size, np.nan)
    shifted[bars:] = values[: max(values.size - bars, 0)]
    return shifted


def windows(values: Floats, size: int) -> Floats:
    """The last `size` values at each place (places × size); rows of NaN for the first `size` − 1."""
    padded = np.concatenate([np.full(size - 1, np.nan), values])
    return np.asarray(sliding_window_view(padded, size))


def ewm(values: Floats, span: float) -> Floats:
    """Exponentially weighted mean with weight 2/(span + 1) for the newest value, starting at the first."""
    return smoothed(values, 2.0 / (span + 1.0))


def smoothed(values: Floats, weight: float) -> Floats:
    """m ← m + weight·(x − m), starting at the first value."""
    return np.asarray(pd.Series(values).ewm(alpha=weight, adjust=False).mean())


def relative_strength(close: Floats, bars: int = 14) -> Floats:
    """RSI with Wilder's smoothing, 0 to 1; one half when nothing moves."""
    change = np.diff(close, prepend=close[:1])
    up, down = smoothed(np.maximum(change, 0.0), 1.0 / bars), smoothed(np.maximum(-change, 0.0), 1.0 / bars)
    total = up + down
    return np.asarray(np.divide(up, total, out=np.full(close.size, 0.5), where=total > 0.0))


def _over(numerator: Floats, denominator: Floats) -> Floats:
    """A ratio that is 0 where nothing varies."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.size), where=denominator > 0.0)


def _skew(values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1))
    # A power of three is computed by logarithms: half of the time of all features.
    third = (centred * centred * centred).mean(axis=1)
    # Rounding of equal values is not a shape.
    return np.asarray(np.where(spread > 1e-12, third / np.maximum(spread, 1e-12) ** 3, 0.0))


def backward_features(bars: Bars, rows: slice) -> dict[str, Floats]:
    """The features of one symbol's bars by name; rows before each window is full are NaN or not yet settled.

    log_return_1 and log_return_5 in units of their recent deviation (Σ log returns), momentum_32 likewise; rsi_14 (Wilder)
    − ½; ema_ratio_12_26 − 1; ema_distance_50 = close/EMA − 1; macd_hist = (MACD − its EMA 9)/close; bollinger_band_width =
    4σ₂₀/mean₂₀ of the close; log of realised_vol_20; volume_zscore over 60 bars of log volume; regime_score = t statistic
    of the mean return over 100 bars; rolling_skew_30; drawdown from the highest close of 100 bars; and each extra signal.
    """
    close, volume = bars.close[rows], bars.volume[rows]
    log = np.log(close)
    returns = log - before(log, 1)
    volatility = realised_volatility(close)
    ema_12, ema_26 = ewm(close, 12), ewm(close, 26)
    macd = ema_12 - ema_26
    last_20, last_100 = windows(close, 20), windows(returns, 100)
    traded = windows(np.log1p(volume), 60)
    return {
        "log_return_1": _over(returns, volatility),
        "log_return_5": _over(log - before(log, 5), volatility * np.sqrt(5.0)),
        "momentum_32": _over(log - before(log, 32), volatility * np.sqrt(32.0)),
        "rsi_14": relative_strength(close) - 0.5,
        "ema_ratio_12_26": ema_12 / ema_26 - 1.0,
        "ema_distance_50": close / ewm(close, 50) - 1.0,
        "macd_hist": (macd - ewm(macd, 9)) / close,
        "bollinger_band_width": 4.0 * last_20.std(axis=1) / last_20.mean(axis=1),
        "realised_vol_20": np.log(np.maximum(volatility, 1e-12)),
        "volume_zscore": _over(traded[:, -1] - traded.mean(axis=1), traded.std(axis=1)),
        "regime_score": _over(last_100.mean(axis=1) * 10.0, last_100.std(axis=1)),
        "rolling_skew_30": _skew(windows(returns, 30)),
        "drawdown": close / windows(close, 100).max(axis=1) - 1.0,
        **{f"{EXTRA_PREFIX}{name}": values[rows] for name, values in bars.extras.items()},
    }


def realised_volatility(close: Floats) -> Floats:
    """Root mean square of the last 20 log returns per bar; NaN before there are 20."""
    returns = np.diff(np.log(close), prepend=np.nan)
    return np.asarray(np.sqrt((windows(returns, VOLATILITY_BARS) ** 2).mean(axis=1)))


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
