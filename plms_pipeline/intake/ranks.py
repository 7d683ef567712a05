"""At which second of its day does a row stand whose time of day is unknown?

At its rank: providers of that day in name order, then the rest of the natural key, one second each, so that the canonical
order is total and a forecast never learns from a row that stands later. Ranks are taken over every row of the file with a
usable key, valid or not: were broken rows left out, repairing one cost would move a whole day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from plms_pipeline.intake.batch import Cells
from plms_pipeline.intake.identity import SEPARATOR
from plms_pipeline.intake.parsing import is_day

SECONDS_OF_A_DAY: Final = 86_400
Ranks = NDArray[np.int32]


def _is_date(cell: str) -> bool:
    if not is_day(cell):
        return False
    try:
        date.fromisoformat(cell)
    except ValueError:
        return False
    return True


def day_rows(cells: Cells) -> list[int]:
    """Which rows of a batch give only the day they ended."""
    days = {cell: _is_date(cell) for cell in set(cells.fields.get("completed_at", ()))}
    if not any(days.values()):
        return []
    return [i for i, cell in enumerate(cells.fields["completed_at"]) if days[cell]]


def _clean(text: str) -> str:
    # A lone surrogate (undecodable byte) cannot enter an Arrow string; such a row is refused anyway.
    return text.encode("utf-8", "replace").decode()


@dataclass(slots=True)
class RankBuilder:
    """Collects the keys of a file's day-only rows, batch by batch, as compactly as Arrow holds text."""

    key: Sequence[str]
    rows: int = 0
    _providers: dict[str, int] = field(default_factory=dict)
    _numbers: list[NDArray[np.int32]] = field(default_factory=list)
    _keys: list[Any] = field(default_factory=list)

    def add(self, cells: Cells) -> None:
        """Take in one batch; batches come in file order."""
        self.rows = cells.first + len(cells)
        picked = day_rows(cells)
        providers = cells.fields["provider"]
        days = cells.fields["completed_at"]
        parts = [cells.fields[name] for name in self.key if name in cells.fields and name != "completed_at"]
        keyed = [i for i in picked if providers[i] and all(part[i] for part in parts)]
        if not keyed:
            return
        codes = (self._providers.setdefault(_clean(providers[i]), len(self._providers)) for i in keyed)
        ordinals = (cells.first + i for i in keyed)
        numbers = zip(ordinals, (date.fromisoformat(days[i]).toordinal() for i in keyed), codes, strict=True)
        self._numbers.append(np.array(list(numbers), np.int32))
        self._keys.append(pa.array([_clean(SEPARATOR.join(part[i] for part in parts)) for i in keyed], pa.string()))

    def ranks(self) -> Ranks:
        """Rank of each row of the file by ordinal, from 0; -1 for rows that give more than the day."""
        result = np.full(self.rows, -1, dtype=np.int32)
        if not self._keys:
            return result
        names = sorted(self._providers)
        place = np.empty(len(names), np.int32)
        place[[self._providers[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        ordinals, days, codes = np.concatenate(self._numbers).T
        keys = pa.chunked_array(self._keys)
        by_day = np.argsort(days, kind="stable")
        # One day at a time: what is sorted at once stays small however long the file is.
        for rows in np.split(by_day, np.flatnonzero(np.diff(days[by_day])) + 1):
            result[ordinals[rows]] = _dense_ranks(place[codes[rows]], keys.take(pa.array(rows)))
        return result


def _dense_ranks(providers: NDArray[np.int32], keys: pa.ChunkedArray) -> Ranks:
    """The number of distinct (provider, key) that sort before each row; equal keys share a rank."""
    table = pa.table({"provider": providers, "key": keys})
    order = pc.sort_indices(table, sort_keys=[("provider", "ascending"), ("key", "ascending")])
    ordered = table.take(order).combine_chunks()
    differs = np.zeros(len(providers), dtype=bool)
    for name in table.column_names:
        column = ordered[name].combine_chunks()
        differs[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    ranks = np.empty(len(providers), dtype=np.int32)
    ranks[order.to_numpy()] = np.cumsum(differs)
    return ranks
