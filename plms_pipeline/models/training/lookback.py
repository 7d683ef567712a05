"""What does one bar look back on, and what do its features make of that?

One arithmetic for both who ask: training hands in windows over the whole past of a symbol, `/predict` those of the newest bars
of many symbols at once. Two implementations of the same features would differ some day, and what serves would no longer be what
was judged. Every function works row by row, so that a bar has the same features to the last bit whoever stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from plms_pipeline.models.market.bars import Floats

# The longest window: so many closes, and the returns between them and the one before.
LOOK_BACK: Final = 100
TRADED_BARS: Final = 60
VOLATILITY_BARS: Final = 20
FAST, SLOW, SIGNAL, DISTANT = (2.0 / (span + 1.0) for span in (12, 26, 9, 50))
WILDER: Final = 1.0 / 14.0


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Exponential means at n bars: of the close with spans 12, 26 and 50, of the MACD with 9, and Wilder's of rises, falls."""

    fast: Floats
    slow: Floats
    distant: Floats
    signal: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True, slots=True, eq=False)
class LookBack:
    """What n bars look back on: windows end with the bar itself and are n × size, NaN where there is no such past.

    `closes` and `returns` (logarithmic) are n × `LOOK_BACK`, `traded` (log of 1 + volume) n × `TRADED_BARS`; `change_5` and
    `change_32` are log returns over so many bars.
    """

    closes: Floats
    returns: Floats
    change_5: Floats
    change_32: Floats
    traded: Floats
    means: Means


def before(values: Floats, bars: int) -> Floats:
    """The value `bars` bars ago; NaN for the first ones."""
    shifted = np.full(values.size, np.nan)
    shifted[bars:] = values[: max(values.size - bars, 0)]
    return shifted


def windows(values: Floats, size: int) -> Floats:
    """The last `size` values at each place (places × size); rows of NaN for the first `size` − 1."""
    padded = np.concatenate([np.full(size - 1, np.nan), values])
    return np.asarray(sliding_window_view(padded, size))


def smoothed(values: Floats, weight: float) -> Floats:
    """m ← m + weight·(x − m), starting at the first value."""
    return np.asarray(pd.Series(values).ewm(alpha=weight, adjust=False).mean())


def moved(means: Floats, values: Floats, weight: float) -> Floats:
    """One step of `smoothed`, for many means at once and to the same bit: in its order, with its rounding of the weight."""
    new = 1.0 / (1.0 + (1.0 - weight) / weight)
    old = 1.0 - new
    return np.where(values == means, means, (old * means + new * values) / (old + new))


def strength(up: Floats, down: Floats) -> Floats:
    """RSI, 0 to 1, of Wilder's means of rises and falls; one half when nothing moves."""
    total = up + down
    return np.asarray(np.divide(up, total, out=np.full(up.size, 0.5), where=total > 0.0))


def deviation(returns: Floats) -> Floats:
    """Root mean square of the last 20 returns of each window, per bar."""
    return np.asarray(np.sqrt((returns[:, -VOLATILITY_BARS:] ** 2).mean(axis=1)))


def means_of(close: Floats) -> Means:
    """The exponential means at every bar of one symbol."""
    fast, slow = smoothed(close, FAST), smoothed(close, SLOW)
    change = np.diff(close, prepend=close[:1])
    up, down = smoothed(np.maximum(change, 0.0), WILDER), smoothed(np.maximum(-change, 0.0), WILDER)
    return Means(fast, slow, smoothed(close, DISTANT), smoothed(fast - slow, SIGNAL), up, down)


def look_back(close: Floats, volume: Floats) -> LookBack:
    """What every bar of one symbol looks back on."""
    log = np.log(close)
    return LookBack(
        windows(close, LOOK_BACK),
        windows(log - before(log, 1), LOOK_BACK),
        log - before(log, 5),
        log - before(log, 32),
        windows(np.log1p(volume), TRADED_BARS),
        means_of(close),
    )


def seen(past: LookBack) -> dict[str, Floats]:
    """The features of n bars by name, each n; `features.backward_features` says what they mean."""
    means, returns, traded = past.means, past.returns, past.traded
    close, last_20, last_30 = past.closes[:, -1], past.closes[:, -20:], returns[:, -30:]
    volatility = deviation(returns)
    macd = means.fast - means.slow
    return {
        "log_return_1": _over(returns[:, -1], volatility),
        "log_return_5": _over(past.change_5, volatility * np.sqrt(5.0)),
        "momentum_32": _over(past.change_32, volatility * np.sqrt(32.0)),
        "rsi_14": strength(means.up, means.down) - 0.5,
        "ema_ratio_12_26": means.fast / means.slow - 1.0,
        "ema_distance_50": close / means.distant - 1.0,
        "macd_hist": (macd - means.signal) / close,
        "bollinger_band_width": 4.0 * last_20.std(axis=1) / last_20.mean(axis=1),
        "realised_vol_20": np.log(np.maximum(volatility, 1e-12)),
        "volume_zscore": _over(traded[:, -1] - traded.mean(axis=1), traded.std(axis=1)),
        "regime_score": _over(returns.mean(axis=1) * 10.0, returns.std(axis=1)),
        "rolling_skew_30": _skew(last_30),
        "drawdown": close / past.closes.max(axis=1) - 1.0,
    }


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
