"""What is a bar, and when are two sets of bars the same?

Open, high, low, close and volume of one symbol over one span of time that ends at `timestamp`. `Bars` is canonical: every
key (symbol, timestamp) once, sorted, nothing missing, so that a symbol is one slice of every column and the content hash
depends on neither the order of the rows nor the file that they came in. What a file holds before anybody checked it is
`RawBars`; only `checks.examine` turns the one into the other. The obvious version, one data frame passed everywhere, leaves
each function to wonder whether it is sorted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Instants: TypeAlias = NDArray[np.datetime64]

PRICES: Final = ("open", "high", "low", "close")
NUMBERS: Final = (*PRICES, "volume")
COLUMNS: Final = ("timestamp", "symbol", *NUMBERS)
UNIT: Final = "datetime64[us]"
_FORMAT: Final = b"plms-bars/1"


@dataclass(frozen=True, slots=True, eq=False)
class RawBars:
    """Rows as somebody gave them: in any order, perhaps twice, with NaT, "" and NaN where nothing readable stood.

    Timestamps are UTC, microseconds. `numbers` holds the five columns of `NUMBERS`; `extras` are further signals of the
    same rows (alternative data, indicators) and may be NaN. `line` is where a row stood in its source, from 1.
    """

    timestamp: Instants
    symbol: NDArray[np.object_]
    numbers: Mapping[str, Floats]
    extras: Mapping[str, Floats] = field(default_factory=dict)
    line: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not self.line.size and self.timestamp.size:
            object.__setattr__(self, "line", np.arange(1, self.timestamp.size + 1, dtype=np.int64))

    @property
    def count(self) -> int:
        """How many rows."""
        return int(self.timestamp.size)

    def take(self, rows: Ints | Flags) -> RawBars:
        """Some of the rows, in the order asked for."""
        return RawBars(
            self.timestamp[rows],
            self.symbol[rows],
            {name: values[rows] for name, values in self.numbers.items()},
            {name: values[rows] for name, values in self.extras.items()},
            self.line[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Canonical bars of many symbols: sorted by symbol, then time; `starts` are the bounds of the symbols' slices."""

    symbols: tuple[str, ...]
    starts: Ints
    timestamp: Instants
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    extras: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many bars."""
        return int(self.timestamp.size)

    @property
    def codes(self) -> NDArray[np.int32]:
        """The symbol of each bar as its place in `symbols`."""
        return np.repeat(np.arange(len(self.symbols), dtype=np.int32), np.diff(self.starts))

    def slices(self) -> Iterator[tuple[str, slice]]:
        """Each symbol and where its bars lie, in the order of `symbols`."""
        for symbol, (first, end) in zip(self.symbols, pairwise(self.starts.tolist()), strict=True):
            yield symbol, slice(first, end)

    def calendar(self) -> Instants:
        """The distinct timestamps of all symbols, ascending."""
        return np.unique(self.timestamp)

    def numbers(self) -> dict[str, Floats]:
        """The five columns by name."""
        return {"open": self.open, "high": self.high, "low": self.low, "close": self.close, "volume": self.volume}

    def raw(self) -> RawBars:
        """The same rows as if a file had given them."""
        names = np.array(self.symbols, dtype=object)
        return RawBars(self.timestamp, names[self.codes], self.numbers(), self.extras)


def canonical(raw: RawBars) -> Bars:
    """Sort rows that have been checked.

    Raises:
        BadInput: a key stands twice or something is missing; `checks.examine` says which rows and takes them out.
    """
    known = np.array([isinstance(name, str) and name != "" for name in raw.symbol.tolist()], dtype=bool)
    whole = known & ~np.isnat(raw.timestamp)
    for name in NUMBERS:
        whole &= np.isfinite(raw.numbers[name])
    if not whole.all():
        raise BadInput(
            f"{int((~whole).sum())} rows lack a symbol, a timestamp or a number; check them first and quarantine those rows.",
            code="bars_not_clean",
        )
    symbols, codes = np.unique(raw.symbol.astype(str), return_inverse=True)
    order = np.lexsort((raw.timestamp, codes))
    codes, timestamp = codes[order], raw.timestamp[order].astype(UNIT)
    twice = (codes[1:] == codes[:-1]) & (timestamp[1:] == timestamp[:-1])
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise BadInput(
            f"{symbols[codes[place]]} has two bars at {timestamp[place]}; check the rows first and quarantine duplicates.",
            code="bars_not_clean",
        )
    starts = np.searchsorted(codes, np.arange(symbols.size + 1)).astype(np.int64)
    numbers = {name: np.ascontiguousarray(raw.numbers[name][order], dtype=np.float64) for name in NUMBERS}
    extras = {name: np.ascontiguousarray(raw.extras[name][order], dtype=np.float64) for name in sorted(raw.extras)}
    return Bars(tuple(symbols.tolist()), starts, timestamp, **numbers, extras=extras)


def content_hash(bars: Bars) -> str:
    """BLAKE2b-256 (hex) over the bars themselves: the same rows in another file, order or hour have the same hash."""
    digest = hashlib.blake2b(digest_size=32)

    def add(content: bytes) -> None:
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)

    add(_FORMAT)
    for symbol in bars.symbols:
        add(symbol.encode("utf-8"))
    add(bars.starts.astype("<i8").tobytes())
    add(bars.timestamp.astype(UNIT).astype("<i8").tobytes())
    for name, values in [*bars.numbers().items(), *sorted(bars.extras.items())]:
        add(name.encode("utf-8"))
        # One zero and one NaN: their other bit patterns are equal numbers with other bytes.
        plain = np.where(np.isnan(values), np.nan, values + 0.0)
        add(plain.astype("<f8").tobytes())
    return digest.hexdigest()


def select(bars: Bars, symbols: Sequence[str] | None = None, until: np.datetime64 | None = None) -> Bars:
    """The bars of some symbols, up to and including an instant.

    Raises:
        BadInput: a symbol has no bars.
    """
    wanted = bars.symbols if symbols is None else tuple(sorted(set(symbols)))
    missing = [name for name in wanted if name not in bars.symbols]
    if missing:
        raise BadInput(
            f"There are no bars of {', '.join(missing[:5])}; known are {', '.join(bars.symbols[:20])}.",
            code="unknown_symbol",
        )
    chosen = np.isin(np.array(bars.symbols, dtype=object), np.array(wanted, dtype=object))
    keep = chosen[bars.codes]
    if until is not None:
        keep &= bars.timestamp <= until
    return canonical(bars.raw().take(keep))


def merge(old: Bars, new: Bars) -> Bars:
    """The bars of both; where both have the same key, the new one stands (a vendor corrects the past)."""
    names = sorted({*old.extras, *new.extras})
    parts = [new.raw(), old.raw()]
    both = RawBars(
        np.concatenate([part.timestamp for part in parts]),
        np.concatenate([part.symbol for part in parts]),
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in NUMBERS},
        {
            name: np.concatenate([part.extras.get(name, np.full(part.count, np.nan)) for part in parts])
            for name in names
        },
    )
    _, codes = np.unique(both.symbol.astype(str), return_inverse=True)
    order = np.lexsort((both.line, both.timestamp, codes))
    first = np.ones(order.size, dtype=bool)
    first[1:] = (codes[order][1:] != codes[order][:-1]) | (both.timestamp[order][1:] != both.timestamp[order][:-1])
    return canonical(both.take(order[first]))


def to_frame(bars: Bars) -> pd.DataFrame:
    """The bars as a data frame with the columns of `COLUMNS` (timestamps aware, UTC) and the extras."""
    import pandas as pd

    names = np.array(bars.symbols, dtype=object)[bars.codes]
    times = pd.DatetimeIndex(bars.timestamp, tz="UTC")
    return pd.DataFrame({"timestamp": times, "symbol": names, **bars.numbers(), **bars.extras})


def from_frame(frame: pd.DataFrame) -> RawBars:
    """Rows of a data frame that has the columns of `COLUMNS`; every other numeric column is an extra. Naive time is UTC.

    Raises:
        BadInput: a column is missing or holds no numbers.
    """
    import pandas as pd

    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BadInput(
            f"The bars have no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}.", code="missing_column"
        )
    times = pd.to_datetime(frame["timestamp"], utc=True, errors="coerce").dt.tz_localize(None)
    symbol = frame["symbol"].astype(object).where(frame["symbol"].notna(), "").to_numpy(dtype=object)
    numbers: dict[str, Floats] = {}
    for name in frame.columns.drop(["timestamp", "symbol"]):
        try:
            numbers[str(name)] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise BadInput(f"The column {name!r} of the bars holds no numbers.", code="bad_column") from None
    extras = {name: values for name, values in numbers.items() if name not in NUMBERS}
    return RawBars(
        times.to_numpy().astype(UNIT), symbol, {name: numbers[name] for name in NUMBERS}, dict(sorted(extras.items()))
    )
