"""What looks wrong with a series although each of its bars is possible?

Gaps against the symbol's own rhythm (an exchange that closes at night has no gap each morning), a feed that stands still,
jumps that look like a split, returns in place of prices, and values that were separated from their timestamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from plms_pipeline.models.market.bars import Bars, Flags, Floats, Ints
from plms_pipeline.models.market.findings import Finding, finding, warned

GAP_SPACINGS: Final = 5.0
GAP_BEYOND_USUAL: Final = 1.2
USUAL_SPACING: Final = 0.995
STALE_RUN: Final = 5
SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
SPLIT_TOLERANCE: Final = 0.03
# A real crash of a third trades many times the usual value; a split changes nothing about what is traded.
SPLIT_VALUE_RESPONSE: Final = 3.0
SPLIT_HISTORY: Final = 20
FEW: Final = 50
# Of returns per period: a median beyond 5 % that never changes sign is no return, and neither is a level that remembers.
LEVEL_MEDIAN: Final = 0.05
LEVEL_REMEMBERS: Final = 0.1
LEVEL_OVER_SCATTER: Final = 3.0


def suspicions(bars: Bars, *, as_of: np.datetime64 | None, stale_after_bars: float) -> list[Finding]:
    """Every warning about canonical bars; see each function for its rule."""
    found = [gaps(bars), stale_feed(bars), splits(bars), returns_as_prices(bars), shuffled_time(bars)]
    if as_of is not None:
        found.append(stale_end(bars, as_of, stale_after_bars))
    return [one for one in found if one is not None]


def _spacings(bars: Bars) -> Iterator[tuple[str, slice, Ints]]:
    for symbol, rows in bars.slices():
        yield symbol, rows, np.asarray(np.diff(bars.timestamp[rows]).astype(np.int64))


def longest_usual(spacing: Ints) -> float:
    """The longest spacing between bars that is no gap, by those that a symbol has (µs, two or more)."""
    usual = float(np.quantile(spacing, USUAL_SPACING, method="lower"))
    return max(GAP_SPACINGS * float(np.median(spacing)), GAP_BEYOND_USUAL * usual)


def gaps(bars: Bars) -> Finding | None:
    """Spacings over five medians that are also a fifth longer than the longest usual one (99.5 % of the symbol's own)."""
    shown, count = [], 0
    for symbol, rows, spacing in _spacings(bars):
        if spacing.size < 2:
            continue
        for place in np.flatnonzero(spacing > longest_usual(spacing)).tolist():
            times = bars.timestamp[rows]
            count += 1
            shown.append(f"{symbol}: nothing between {str(times[place])[:19]} and {str(times[place + 1])[:19]}")
    return warned(
        "gaps", shown, "gap in the symbol's own calendar", "Import what is missing, or accept that it was closed.",
        count=count,
    )  # fmt: skip


def stale_end(bars: Bars, as_of: np.datetime64, after: float) -> Finding | None:
    """Symbols whose last bar is more than `after` of their largest usual spacings behind `as_of`."""
    shown = []
    for symbol, rows, spacing in _spacings(bars):
        if not spacing.size:
            continue
        last = bars.timestamp[rows][-1]
        behind = int((as_of - last) / np.timedelta64(1, "us"))
        if behind > after * float(np.median(spacing)) and behind > GAP_BEYOND_USUAL * float(spacing.max()):
            shown.append(f"{symbol}: last bar {str(last)[:19]}")
    return warned("stale_end", shown, "symbol without a recent bar", "Ask the vendor, or import newer bars.")


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """First place and length of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield first, end - first


def stale_feed(bars: Bars) -> Finding | None:
    """Five or more bars in a row that repeat the bar before them in all four prices."""
    shown, count = [], 0
    for symbol, rows in bars.slices():
        same = np.ones(max(rows.stop - rows.start - 1, 0), dtype=bool)
        for values in (bars.open[rows], bars.high[rows], bars.low[rows], bars.close[rows]):
            same &= values[1:] == values[:-1]
        for first, length in _runs(same):
            if length >= STALE_RUN:
                count += length
                shown.append(f"{symbol}: {length} bars after {str(bars.timestamp[rows][first])[:19]}")
    return warned(
        "stale_feed", shown, "bar that repeats the one before it", "The feed stood still; import these bars again.",
        count=count,
    )  # fmt: skip


def splits(bars: Bars) -> Finding | None:
    """Moves from close to open within 3 % of n:1 or 1:n, far outside the usual move, without the value that a crash trades."""
    shown = []
    ratios = np.log(np.array([*SPLIT_RATIOS, *(1.0 / ratio for ratio in SPLIT_RATIOS)]))
    for symbol, rows in bars.slices():
        close, opened = bars.close[rows], bars.open[rows]
        if close.size <= SPLIT_HISTORY:
            continue
        jump = np.log(opened[1:] / close[:-1])
        near = np.abs(jump[:, None] - ratios).min(axis=1) <= np.log1p(SPLIT_TOLERANCE)
        usual = float(np.median(np.abs(np.diff(np.log(close)))))
        value = close * bars.volume[rows]
        for place in np.flatnonzero(near & (np.abs(jump) > 8.0 * usual)).tolist():
            before = value[max(place + 1 - SPLIT_HISTORY, 0) : place + 1]
            if value[place + 1] <= SPLIT_VALUE_RESPONSE * float(np.median(before)):
                ratio = float(np.exp(np.abs(jump[place])))
                shape = f"{ratio:.3g}:1" if jump[place] < 0 else f"1:{ratio:.3g}"
                shown.append(f"{symbol}: {shape} at {str(bars.timestamp[rows][place + 1])[:19]}")
    return warned(
        "suspicious_splits", shown, "jump like a split that nobody adjusted",
        "Use adjusted prices: otherwise the model learns a crash that cost nobody anything.",
    )  # fmt: skip


def neumann_ratio(values: Floats) -> float:
    """Mean squared difference of neighbours over the variance (von Neumann 1941): 2 without memory, near 0 for a level."""
    variance = float(np.var(values))
    return float(np.mean(np.diff(values) ** 2)) / variance if variance > 0.0 and values.size > 1 else 0.0


def returns_as_prices(bars: Bars) -> Finding | None:
    """Columns of prices that hold returns or growth factors: they scatter around 0 or 1 without a memory."""
    shown = []
    for symbol, rows in bars.slices():
        close = bars.close[rows]
        centre = float(np.median(close))
        is_small = centre < 0.2 or abs(centre - 1.0) < 0.01
        if close.size >= FEW and is_small and neumann_ratio(close) > 1.0:
            shown.append(f"{symbol}: closes scatter around {centre:.4g}")
    return warned(
        "returns_as_prices",
        shown,
        "symbol whose prices look like returns",
        "Import the price columns instead.",
    )


def shuffled_time(bars: Bars) -> Finding | None:
    """Closes that know nothing of the close before: a price is a level, and levels remember (von Neumann's ratio over 1)."""
    shown = []
    for symbol, rows in bars.slices():
        ratio = neumann_ratio(np.log(bars.close[rows]))
        if rows.stop - rows.start >= FEW and ratio > 1.0:
            shown.append(f"{symbol}: von Neumann ratio {ratio:.2f}")
    return warned(
        "shuffled_time", shown, "symbol whose prices do not follow each other in time",
        "Timestamps and prices were separated, or this is no price; import the original order.",
    )  # fmt: skip


def levels_as_returns(values: Floats, name: str = "returns") -> Finding | None:
    """A column of returns that holds prices: far from zero, and it never changes sign or remembers where it was.

    Args:
        values: what is said to be returns per period, in the order of time; what is not finite is left out.
        name: of the column, for the message.
    """
    known = values[np.isfinite(values)]
    if known.size < 2:
        return None
    centre, scatter = abs(float(np.median(known))), float(np.median(np.abs(np.diff(known))))
    one_sided = bool((known > 0.0).all() or (known < 0.0).all())
    stands_off = one_sided and (known.size >= FEW or centre > LEVEL_OVER_SCATTER * scatter)
    remembers = known.size >= FEW and neumann_ratio(known) < LEVEL_REMEMBERS
    if centre <= LEVEL_MEDIAN or not (stands_off or remembers):
        return None
    return finding(
        "levels_as_returns", "error", [f"{name}: median {float(np.median(known)):.6g}"],
        "column of returns that holds price levels",
        "Give returns per period: change over the price before. Sharpe and drawdown of price levels mean nothing.",
    )  # fmt: skip
