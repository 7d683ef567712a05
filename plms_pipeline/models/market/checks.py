"""Which rows may not be believed, and what looks wrong with the rest?

Two kinds. A row can be impossible by itself (no number, a high below the low) or beside another (twice the same key): it is
rejected with its reason, and the rest goes on. A series can be suspicious although every row is possible (a gap, a feed
that stands still, a split that nobody adjusted, returns where prices should be, time that was shuffled): that is a warning
for a person, because no single row is to blame. Strict mode (`findings.insist`) refuses both. The original only asked for
types and unique keys, so that a price column full of returns went into training without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.errors import NoData
from plms_pipeline.models.market.bars import NUMBERS, PRICES, Bars, Flags, RawBars, canonical
from plms_pipeline.models.market.findings import SHOWN, Finding, finding
from plms_pipeline.models.market.suspicions import suspicions

# Vendors round open and close otherwise than high and low: in the eighth digit that is no contradiction.
ROUNDING: Final = 1e-7
LONGEST_SYMBOL: Final = 64
# Beyond these no market trades, and products of price and volume leave the numbers.
SMALLEST_PRICE: Final = 1e-12
LARGEST_PRICE: Final = 1e15
LARGEST_VOLUME: Final = 1e18
# Before it nothing was traded anywhere, and after it a nanosecond clock ends: a year that was misread, or none.
FIRST_MOMENT: Final = np.datetime64("1600-01-01", "us")
LAST_MOMENT: Final = np.datetime64("2262-01-01", "us")
# A bar may be stamped with the end of its day in a zone that is ahead.
AHEAD: Final = np.timedelta64(1, "D")
# A symbol is behind when its last bar is so many of its usual spacings old.
STALE_AFTER_BARS: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """The rows that were taken out: as they stood, each with the name of the first rule that it broke."""

    rows: RawBars
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What may be used, what was rejected and why, and everything that was found."""

    bars: Bars
    rejected: Rejected
    findings: tuple[Finding, ...]


def _is_unreadable(raw: RawBars) -> Flags:
    broken = np.isnat(raw.timestamp)
    broken |= np.array([not isinstance(name, str) or not name.strip() for name in raw.symbol.tolist()], dtype=bool)
    for name in NUMBERS:
        broken |= ~np.isfinite(raw.numbers[name])
    return np.asarray(broken)


def _has_unusable_symbol(raw: RawBars) -> Flags:
    def usable(name: object) -> bool:
        return isinstance(name, str) and len(name) <= LONGEST_SYMBOL and name.isprintable() and name == name.strip()

    return np.array([not usable(name) for name in raw.symbol.tolist()], dtype=bool)


def _is_not_positive(raw: RawBars) -> Flags:
    return np.asarray(np.any([raw.numbers[name] <= 0.0 for name in PRICES], axis=0))


def _is_upside_down(raw: RawBars) -> Flags:
    return np.asarray(raw.numbers["high"] < raw.numbers["low"] * (1.0 - ROUNDING))


def _misses_its_ends(raw: RawBars) -> Flags:
    ends = [raw.numbers["open"], raw.numbers["close"]]
    above = np.maximum(*ends) > raw.numbers["high"] * (1.0 + ROUNDING)
    return np.asarray(above | (np.minimum(*ends) < raw.numbers["low"] * (1.0 - ROUNDING)))


def _is_implausible(raw: RawBars) -> Flags:
    prices = np.array([raw.numbers[name] for name in PRICES])
    broken = ((prices > 0.0) & ((prices < SMALLEST_PRICE) | (prices > LARGEST_PRICE))).any(axis=0)
    return np.asarray(broken | (raw.numbers["volume"] > LARGEST_VOLUME))


def _has_no_real_time(raw: RawBars) -> Flags:
    return np.asarray((raw.timestamp < FIRST_MOMENT) | (raw.timestamp > LAST_MOMENT))


def _has_negative_volume(raw: RawBars) -> Flags:
    return np.asarray(raw.numbers["volume"] < 0.0)


ROW_RULES: Final[tuple[tuple[str, Callable[[RawBars], Flags], str, str], ...]] = (
    ("unreadable_values", _is_unreadable, "row without a readable timestamp, symbol, price or volume",
     "Correct these cells in the source; an empty cell is no price."),
    ("unusable_symbol", _has_unusable_symbol, f"symbol with blanks around it, control characters or over {LONGEST_SYMBOL}",
     "Rename the symbol in the source."),
    ("non_positive_prices", _is_not_positive, "price at or below zero",
     "Prices are above zero: a return or a difference does not belong into a price column."),
    ("implausible_magnitude", _is_implausible, f"price outside {SMALLEST_PRICE:g} … {LARGEST_PRICE:g}, or volume over "
     f"{LARGEST_VOLUME:g}", "Correct the unit of the column in the source."),
    ("high_below_low", _is_upside_down, "bar whose high is below its low",
     "The columns are swapped or the bar is broken; correct it in the source."),
    ("range_misses_open_or_close", _misses_its_ends, "bar whose open or close lies outside its low and high",
     "Often only some columns were adjusted for splits or dividends; adjust all four or none."),
    ("implausible_time", _has_no_real_time, f"moment outside {FIRST_MOMENT.item():%Y} … {LAST_MOMENT.item():%Y}",
     "Correct the year, or the unit or format of the column of time, in the source."),
    ("negative_volume", _has_negative_volume, "bar with a negative volume", "Correct it in the source."),
)  # fmt: skip


def examine(
    raw: RawBars,
    *,
    as_of: np.datetime64 | None = None,
    stale_after_bars: float = STALE_AFTER_BARS,
    is_whole: bool = True,
) -> Examination:
    """Check rows, take out those that are impossible, and look at what is left.

    Args:
        raw: the rows of a file.
        as_of: the present (UTC); with it rows of the future are rejected, and a symbol whose last bar is too old is found
            (`stale_end`).
        stale_after_bars: how many of its usual spacings a symbol may be behind.
        is_whole: false for some newest bars of longer series, by which no series can be suspected.

    Raises:
        NoData: no row is left.
    """
    reasons: list[str | None] = [None] * raw.count
    findings: list[Finding] = []
    alive = np.ones(raw.count, dtype=bool)
    for name, rule, offence, remedy in ROW_RULES:
        # A comparison with NaN is false: what is unreadable was found by the first rule.
        _reject(raw, alive & rule(raw), (name, offence, remedy), alive, reasons, findings)
    if as_of is not None:
        later = (
            "future_timestamp",
            "row of a time that has not come",
            "Correct the date; day and month may be swapped.",
        )
        _reject(raw, alive & (raw.timestamp > as_of + AHEAD), later, alive, reasons, findings)
    for name, broken, offence, remedy in _duplicates(raw, alive):
        _reject(raw, broken, (name, offence, remedy), alive, reasons, findings)
    if not alive.any():
        told = " ".join(found.sentence for found in findings)
        raise NoData(f"None of the {raw.count} rows can be used. {told}".strip(), code="no_usable_bars")
    unordered = _unordered(raw, alive)
    bars = canonical(raw.take(alive))
    findings += unordered
    if is_whole:
        findings += suspicions(bars, as_of=as_of, stale_after_bars=stale_after_bars)
    rejected = Rejected(raw.take(~alive), tuple(reason for reason in reasons if reason is not None))
    return Examination(bars, rejected, tuple(findings))


def _reject(
    raw: RawBars,
    broken: Flags,
    rule: tuple[str, str, str],
    alive: Flags,
    reasons: list[str | None],
    findings: list[Finding],
) -> None:
    places = np.flatnonzero(broken)
    if not places.size:
        return
    name, offence, remedy = rule
    for place in places.tolist():
        reasons[place] = name
    alive[places] = False
    shown = [_row(raw, place) for place in places[:SHOWN].tolist()]
    findings.append(finding(name, "error", shown, offence, remedy, count=int(places.size)))


def _row(raw: RawBars, place: int) -> str:
    # A symbol may hold anything that stood in a file.
    symbol = str(raw.symbol[place])[:LONGEST_SYMBOL].encode("unicode_escape").decode()
    return f"row {raw.line[place]}: {symbol or '?'} {str(raw.timestamp[place])[:19]}"


def _duplicates(raw: RawBars, alive: Flags) -> list[tuple[str, Flags, str, str]]:
    """Copies of a row (all but one go) and rows that contradict each other (all go: nobody knows which is right)."""
    rows = np.flatnonzero(alive)
    _, codes = np.unique(raw.symbol[rows].astype(str), return_inverse=True)
    keys = [*(raw.numbers[name][rows] for name in reversed(NUMBERS)), raw.timestamp[rows], codes]
    order = np.lexsort(keys)
    copies, conflicts = np.zeros(raw.count, dtype=bool), np.zeros(raw.count, dtype=bool)
    if order.size > 1:
        same_key = np.ones(order.size - 1, dtype=bool)
        for column in keys[-2:]:
            same_key &= column[order][1:] == column[order][:-1]
        same_row = same_key.copy()
        for column in keys[:-2]:
            same_row &= column[order][1:] == column[order][:-1]
        copies[rows[order[1:][same_row]]] = True
        group = np.concatenate([[0], np.cumsum(~same_key)])
        contradicted = np.isin(group, group[1:][same_key & ~same_row])
        conflicts[rows[order[contradicted]]] = True
        copies &= ~conflicts
    return [
        ("duplicate_rows", copies, "row that stands more than once", "One of them is kept; remove the copies."),
        (
            "conflicting_duplicates", conflicts, "row beside another of the same symbol and time with other numbers",
            "None of them is kept, because nobody knows which is right; remove the wrong one.",
        ),
    ]  # fmt: skip


def _unordered(raw: RawBars, alive: Flags) -> list[Finding]:
    """Rows of a symbol that go back in time: harmless by itself, since bars are sorted, but seldom what a vendor sends."""
    rows = np.flatnonzero(alive)
    _, codes = np.unique(raw.symbol[rows].astype(str), return_inverse=True)
    by_symbol = np.argsort(codes, kind="stable")
    times, symbol = raw.timestamp[rows][by_symbol], codes[by_symbol]
    falls = np.flatnonzero((symbol[1:] == symbol[:-1]) & (times[1:] < times[:-1])) + 1
    steps = max(int((symbol[1:] == symbol[:-1]).sum()), 1)
    # A file that runs from the newest to the oldest is in order too.
    if not falls.size or falls.size == steps:
        return []
    shown = [_row(raw, int(place)) for place in rows[by_symbol[falls[:SHOWN]]]]
    return [
        finding(
            "unordered_rows", "warning", shown, "row that is older than the one before it",
            "Bars are sorted by symbol and time; if values were moved without their timestamps, shuffled_time says so.",
            count=int(falls.size),
        )
    ]  # fmt: skip
