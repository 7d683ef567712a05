"""What of a history was looked at once, so that a prediction looks only at what is new?

The history of a champion does not change while it serves: the features of its bars are computed when it is loaded, and of the
past of each symbol the trail is kept that later bars need. A request about later bars costs what they cost. One that corrects
the past, or names a symbol that the history does not have, is computed from the bars themselves, as before: it is seldom, and
what is remembered would be wrong for it. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.errors import PlmsError
from plms_pipeline.models.market.bars import Bars, Flags, Floats, Instants, Ints
from plms_pipeline.models.market.suspicions import longest_usual
from plms_pipeline.models.training.features import EXTRA_PREFIX, features
from plms_pipeline.models.training.trailing import Trail, following_features, trail_of

# Means are moved bar by bar here; beyond so many bars of a symbol it is quicker to look at everything again.
MOST_LATER: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Bars that may be scored, sorted by symbol and time: `values` is bars × names."""

    symbols: tuple[str, ...]
    window_end: Instants
    values: Floats
    volatility: Floats
    usable: Flags

    def take(self, places: Flags) -> Rows:
        """Some of them."""
        names = np.array(self.symbols, dtype=object)[places]
        return Rows(
            tuple(names.tolist()), self.window_end[places], self.values[places], self.volatility[places],
            self.usable[places],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A history as one model sees it.

    Attributes:
        bars: the history.
        names: the features of the model, in its order.
        values, volatility, usable: of each of its bars.
        trails: of the symbols whose next bar has features.
        slices: where the bars of each symbol lie.
        spacings: how far from each other the bars of a symbol with a trail may lie (µs).
    """

    bars: Bars
    names: tuple[str, ...]
    values: Floats
    volatility: Floats
    usable: Flags
    trails: Mapping[str, Trail]
    slices: Mapping[str, slice]
    spacings: Mapping[str, float]


def past_of(bars: Bars, names: tuple[str, ...]) -> Past | None:
    """A history, looked at once; None when it has no bar with these features."""
    try:
        found = features(bars, names=names)
    except PlmsError:
        # Whoever asks is told what is missing when the bars themselves are looked at.
        return None
    slices = dict(bars.slices())
    trails = {name: trail_of(bars.close[rows], bars.volume[rows]) for name, rows in slices.items()}
    known = {name: trail for name, trail in trails.items() if trail is not None}
    spacings = {name: longest_usual(_spacings(bars.timestamp[slices[name]])) for name in known}
    return Past(bars, names, found.values, found.volatility, found.usable, known, slices, spacings)


def holes(past: Past, sent: Bars) -> dict[str, tuple[np.datetime64, np.datetime64]]:
    """The widest hole between the history and the bars that were sent, of each symbol that has one: the bars beside it."""
    found = {}
    for name, rows in sent.slices():
        if name not in past.spacings:
            continue
        end = past.bars.timestamp[past.slices[name].stop - 1]
        later_ones = sent.timestamp[rows][sent.timestamp[rows] > end]
        times = np.concatenate([np.array([end]), later_ones])
        spacing = _spacings(times)
        if spacing.size and spacing.max() > past.spacings[name]:
            widest = int(spacing.argmax())
            found[name] = (times[widest], times[widest + 1])
    return found


def _spacings(times: Instants) -> Ints:
    return np.asarray(np.diff(times).astype("timedelta64[us]").astype(np.int64))


def newest(past: Past, symbols: Sequence[str] | None, last: int) -> Rows | None:
    """The newest bars of symbols of the history, all of them when omitted; None when one of them is not there."""
    wanted = past.bars.symbols if symbols is None else sorted(set(symbols))
    if any(name not in past.slices for name in wanted):
        return None
    return _joined([_kept(past, name, last) for name in wanted])


def later(past: Past, sent: Bars, last: int) -> Rows | None:
    """The newest bars of the symbols of `sent`, which follow the history; None when they do not, or are too many.

    Args:
        past: the history.
        sent: bars of one symbol or more.
        last: how many of the newest bars of each symbol, of the history where fewer were sent.
    """
    if any(rows.stop - rows.start > MOST_LATER or not _follows(past, sent, name, rows) for name, rows in sent.slices()):
        return None
    new = _new(past, sent)
    parts = []
    for name, rows in sent.slices():
        added = np.zeros(sent.count, dtype=bool)
        added[max(rows.start, rows.stop - last) : rows.stop] = True
        parts += [_kept(past, name, last - (rows.stop - rows.start)), new.take(added)]
    return _joined(parts)


def _follows(past: Past, sent: Bars, name: str, rows: slice) -> bool:
    return name in past.trails and bool(sent.timestamp[rows.start] > past.bars.timestamp[past.slices[name].stop - 1])


def _kept(past: Past, name: str, count: int) -> Rows:
    """The newest `count` bars of a symbol that the history has."""
    whole = past.slices[name]
    rows = slice(max(whole.start, whole.stop - max(count, 0)), whole.stop)
    return Rows(
        (name,) * (rows.stop - rows.start), past.bars.timestamp[rows], past.values[rows], past.volatility[rows],
        past.usable[rows],
    )  # fmt: skip


def _new(past: Past, sent: Bars) -> Rows:
    """Every bar of `sent`, symbols with equally many at once."""
    values, volatility = np.empty((sent.count, len(past.names))), np.empty(sent.count)
    lengths = np.diff(sent.starts)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        places = sent.starts[chosen][:, None] + np.arange(length)
        found, deviation = following_features(
            [past.trails[sent.symbols[code]] for code in chosen], sent.close[places], sent.volume[places]
        )
        unknown = np.full(sent.count, np.nan)
        for column, name in enumerate(past.names):
            of_extra = sent.extras.get(name.removeprefix(EXTRA_PREFIX), unknown)
            values[places, column] = found[name] if name in found else of_extra[places]
        volatility[places] = deviation
    # As in `features.features`: nothing can be scaled by a price that has stood still for twenty bars.
    usable = np.isfinite(values).all(axis=1) & (volatility > 0.0)
    values[~usable] = np.nan
    names = np.array(sent.symbols, dtype=object)[sent.codes]
    return Rows(tuple(names.tolist()), sent.timestamp, values, volatility, usable)


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        tuple(name for part in parts for name in part.symbols),
        np.concatenate([part.window_end for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.volatility for part in parts]),
        np.concatenate([part.usable for part in parts]),
    )
