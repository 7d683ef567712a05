"""What does a new file of prices change about the bars that are known?

The rule: a bar is known by symbol and timestamp. A row that says the same again changes nothing. A row that says something else
replaces what was known, and what it replaced is recorded, because a vendor who corrects the past moves every figure that was
computed on it. A bar that the new file does not have stays; so does a signal (`alt_…`) whose column it does not have. The
obvious version, a concatenation that keeps the last of each, forgets what stood there, and takes signals away from each
row that a plain file of prices repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plms_pipeline.models.market.bars import NUMBERS, Bars, Floats, Instants, Ints, RawBars, canonical


@dataclass(frozen=True, slots=True, eq=False)
class Revised:
    """Rows whose values were replaced: key, and (rows,) columns of what stood there and what stands there now."""

    symbol: tuple[str, ...]
    timestamp: Instants
    before: dict[str, Floats]
    after: dict[str, Floats]

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.symbol)


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The bars as they are with a new file, and how many of its rows were new, said nothing new, or replaced something."""

    bars: Bars
    added: int
    unchanged: int
    revised: Revised


def merged(known: Bars | None, new: Bars) -> Merged:
    """The known bars with those of a new file.

    Args:
        known: what there is; None: nothing yet.
    """
    if known is None or not known.count:
        return Merged(new, new.count, 0, _none())
    names = (*NUMBERS, *sorted({*known.extras, *new.extras}))
    places = _places(known, new)
    is_known = places >= 0
    at, rows = places[is_known], np.flatnonzero(is_known)
    ours, theirs = _columns(known), _columns(new)
    brought = [name for name in names if name in theirs]
    differs = np.zeros(rows.size, dtype=bool)
    for name in brought:
        before = ours[name][at] if name in ours else np.full(rows.size, np.nan)
        after = theirs[name][rows]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    said, replaced = rows[differs], at[differs]
    keys = known.raw().take(replaced)
    revised = Revised(
        tuple(keys.symbol.tolist()),
        keys.timestamp,
        {name: ours[name][replaced] if name in ours else np.full(said.size, np.nan) for name in brought},
        {name: theirs[name][said] for name in brought},
    )
    values = {name: ours[name].copy() if name in ours else np.full(known.count, np.nan) for name in names}
    for name in brought:
        values[name][replaced] = theirs[name][said]
    fresh = np.flatnonzero(~is_known)
    return Merged(_joined(known, new, values, fresh), int(fresh.size), int(rows.size - said.size), revised)


def _joined(known: Bars, new: Bars, values: dict[str, Floats], fresh: Ints) -> Bars:
    added, theirs = new.raw().take(fresh), _columns(new)
    tails = {name: theirs[name][fresh] if name in theirs else np.full(fresh.size, np.nan) for name in values}
    columns = {name: np.concatenate([values[name], tails[name]]) for name in values}
    ours = known.raw()
    return canonical(
        RawBars(
            np.concatenate([ours.timestamp, added.timestamp]),
            np.concatenate([ours.symbol, added.symbol]),
            {name: columns[name] for name in NUMBERS},
            {name: column for name, column in columns.items() if name not in NUMBERS},
        )
    )


def _columns(bars: Bars) -> dict[str, Floats]:
    return {**bars.numbers(), **bars.extras}


def _places(known: Bars, new: Bars) -> Ints:
    """Where each bar of `new` stands in `known`: (new bars,), -1 where it does not."""
    found = np.full(new.count, -1, dtype=np.int64)
    there = dict(known.slices())
    for symbol, rows in new.slices():
        if symbol not in there:
            continue
        first = there[symbol]
        times = known.timestamp[first]
        place = np.searchsorted(times, new.timestamp[rows])
        place[place == times.size] = 0
        same = times[place] == new.timestamp[rows]
        found[rows] = np.where(same, place + first.start, -1)
    return found


def _none() -> Revised:
    return Revised((), np.zeros(0, dtype="datetime64[us]"), {}, {})
