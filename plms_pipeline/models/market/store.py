"""What does the source's own database hold?

An SQLite file with the tables `assets` and `series`, perhaps `indicators` and `benchmarks`. It is opened read-only and
never locked for long: it may belong to a running system. Keys that stand twice and symbols that no asset knows are facts to
be found by the checks, not reasons to stop reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import NUMBERS, UNIT, Ints, RawBars

TABLES: Final = ("assets", "series", "indicators", "regimes", "trades", "benchmarks", "cross_asset_views")
# Signals of the source that are not computed from its prices; everything else of `indicators` we compute ourselves, because
# some of theirs look ahead.
SIGNALS: Final = "alt_*"


@contextmanager
def _reading(file: str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True, timeout=5.0)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise BadInput(
            f"{file} cannot be read as a database of prices ({error}); it needs the table series with "
            "timestamp, symbol, open, high, low, close and volume.",
            code="bad_database",
        ) from None


def row_counts(file: str) -> dict[str, int]:
    """Rows per table of the source that is there.

    Raises:
        BadInput: the file is no such database.
    """
    with _reading(file) as connection:
        there = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        # The names are ours, not the file's.
        return {
            name: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: S608 - a constant name
            for name in TABLES
            if name in there
        }


def unknown_symbols(file: str) -> tuple[str, ...]:
    """Symbols of `series` that `assets` does not know; empty when there is no table `assets`.

    Raises:
        BadInput: the file is no such database.
    """
    if "assets" not in row_counts(file):
        return ()
    with _reading(file) as connection:
        found = connection.execute(
            "SELECT DISTINCT symbol FROM series WHERE symbol NOT IN (SELECT symbol FROM assets) ORDER BY symbol"
        )
        return tuple(str(row[0]) for row in found)


def read_series(file: str) -> RawBars:
    """The table `series`, with the signals of `indicators` (`alt_*`) beside it.

    Raises:
        BadInput: the file is no such database.
    """
    with _reading(file) as connection:
        connection.execute("BEGIN")
        rows = connection.execute(
            "SELECT timestamp, symbol, open, high, low, close, volume FROM series ORDER BY rowid"
        ).fetchall()
        there = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'indicators'"
        ).fetchone()
        signals = (
            connection.execute(
                "SELECT timestamp, symbol, name, value FROM indicators WHERE name GLOB ?", (SIGNALS,)
            ).fetchall()
            if there
            else []
        )
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    timestamp = _instants(columns[0])
    symbols = np.array([name if isinstance(name, str) else "" for name in columns[1]], dtype=object)
    numbers = {
        name: np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)
        for name, values in zip(NUMBERS, columns[2:], strict=True)
    }
    raw = RawBars(timestamp, symbols, numbers)
    return RawBars(timestamp, symbols, numbers, _beside(raw, signals), raw.line)


def _instants(values: Any) -> Any:
    import pandas as pd

    texts = pd.Series([value if isinstance(value, str) else None for value in values], dtype=object)
    times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    return times.dt.tz_localize(None).to_numpy().astype(UNIT)


def _beside(raw: RawBars, signals: list[tuple[Any, ...]]) -> dict[str, Any]:
    """One column per signal, NaN where it says nothing about a row."""
    places: dict[tuple[str, int], list[int]] = {}
    instants: Ints = raw.timestamp.astype(np.int64)
    for place, key in enumerate(zip(raw.symbol.tolist(), instants.tolist(), strict=True)):
        places.setdefault(key, []).append(place)
    times = _instants([row[0] for row in signals]).astype(np.int64)
    found: dict[str, Any] = {}
    for (_, symbol, name, value), instant in zip(signals, times.tolist(), strict=True):
        column = found.setdefault(str(name), np.full(raw.count, np.nan))
        if isinstance(value, int | float):
            column[places.get((symbol, instant), [])] = value
    return found
