"""What are the features of the next bars of symbols whose past was looked at before?

Of a past nothing more is needed than its last hundred bars and six exponential means. Computing the features of one new bar
from a thousand old ones, twenty times for twenty symbols, takes fifty times as long as what is new in it. Here the same
arithmetic (`lookback.seen`) works on what is new only, for all symbols at once, and gives the same features to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from plms_pipeline.models.market.bars import Floats
from plms_pipeline.models.training.lookback import (
    DISTANT,
    FAST,
    LOOK_BACK,
    SIGNAL,
    SLOW,
    TRADED_BARS,
    WILDER,
    LookBack,
    Means,
    deviation,
    means_of,
    moved,
    seen,
)


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """What later bars need of one symbol's past: its last closes (`LOOK_BACK`), volumes (one less than `TRADED_BARS`), means.

    `means` holds one number each, at the last bar.
    """

    closes: Floats
    volumes: Floats
    means: Means


def trail_of(close: Floats, volume: Floats) -> Trail | None:
    """The trail of one symbol; None when its past is too short for the next bar to have features."""
    if close.size < LOOK_BACK:
        return None
    means = means_of(close)
    last = Means(*(getattr(means, name)[-1:].copy() for name in Means.__slots__))
    return Trail(close[-LOOK_BACK:].copy(), volume[1 - TRADED_BARS :].copy(), last)


def following_features(trails: Sequence[Trail], close: Floats, volume: Floats) -> tuple[dict[str, Floats], Floats]:
    """Features and volatility of later bars.

    Args:
        trails: one of each symbol.
        close: of the bars after it, symbols × bars, in the order of time.
        volume: likewise.

    Returns:
        By name, and the realised deviation per bar: each symbols × bars.
    """
    bars = close.shape[1]
    closes = np.concatenate([np.array([one.closes for one in trails]), close], axis=1)
    volumes = np.concatenate([np.array([one.volumes for one in trails]), volume], axis=1)
    log = np.log(closes)
    new = slice(LOOK_BACK, None)
    past = LookBack(
        _windows(closes[:, 1:], LOOK_BACK),
        _windows(log[:, 1:] - log[:, :-1], LOOK_BACK),
        (log[:, new] - log[:, LOOK_BACK - 5 : -5]).ravel(),
        (log[:, new] - log[:, LOOK_BACK - 32 : -32]).ravel(),
        _windows(np.log1p(volumes), TRADED_BARS),
        _means(trails, closes),
    )
    shape = (len(trails), bars)
    return {name: values.reshape(shape) for name, values in seen(past).items()}, deviation(past.returns).reshape(shape)


def _windows(values: Floats, size: int) -> Floats:
    """Every window of each row, one after the other: (rows · windows) × size."""
    return np.ascontiguousarray(sliding_window_view(values, size, axis=1)).reshape(-1, size)


def _means(trails: Sequence[Trail], closes: Floats) -> Means:
    """The exponential means at each new bar, bar by bar for all symbols at once."""
    fast, slow, distant, signal, up, down = (
        np.concatenate([getattr(one.means, name) for one in trails]) for name in Means.__slots__
    )
    kept = []
    for place in range(LOOK_BACK, closes.shape[1]):
        now = closes[:, place]
        change = now - closes[:, place - 1]
        fast, slow, distant = moved(fast, now, FAST), moved(slow, now, SLOW), moved(distant, now, DISTANT)
        signal = moved(signal, fast - slow, SIGNAL)
        up, down = moved(up, np.maximum(change, 0.0), WILDER), moved(down, np.maximum(-change, 0.0), WILDER)
        kept.append((fast, slow, distant, signal, up, down))
    # Each mean is bars × symbols here, and one number per symbol and bar, symbol by symbol, for `seen`.
    return Means(*(np.array(one).T.ravel() for one in zip(*kept, strict=True)))
