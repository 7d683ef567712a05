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
    """Collects the keys of a file's day-only rows, batch by batch, as compact Arrow columns."""

    key: Sequence[str]
    rows: int = 0
    _chunks: list[pa.Table] = field(default_factory=list)

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
        columns: dict[str, Any] = {
            "ordinal": pa.array([cells.first + i for i in keyed], pa.int32()),
            "day": pa.array([days[i] for i in keyed], pa.string()),
            "provider": pa.array([_clean(providers[i]) for i in keyed], pa.string()),
            "key": pa.array([_clean(SEPARATOR.join(part[i] for part in parts)) for i in keyed], pa.string()),
        }
        self._chunks.append(pa.table(columns))

    def ranks(self) -> Ranks:
        """Rank of each row of the file by ordinal, from 0; -1 for rows that give more than the day."""
        result = np.full(self.rows, -1, dtype=np.int32)
        if self._chunks:
            table = pa.concat_tables(self._chunks)
            result[table["ordinal"].to_numpy()] = _dense_ranks(table)
        return result


def _dense_ranks(table: pa.Table) -> Ranks:
    """Per day, the number of distinct (provider, key) that sort before each row; equal keys share a rank."""
    names = ("day", "provider", "key")
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
    n = table.num_rows
    new_day = np.ones(n, dtype=bool)
    new_key = np.ones(n, dtype=bool)
    for name in names:
        column = table[name].combine_chunks().take(order)
        differs = pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        if name == "day":
            new_day[1:] = differs
            new_key[1:] = differs
        else:
            new_key[1:] |= differs
    running = np.cumsum(new_key) - 1
    # The running count at which each row's day began: the last day start at or before the row.
    starts = np.maximum.accumulate(np.where(new_day, running, 0))
    ranks = np.empty(n, dtype=np.int32)
    ranks[order.to_numpy()] = running - starts
    return ranks
