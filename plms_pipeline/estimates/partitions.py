"""How does a Parquet partition of receipts become summaries without becoming Python objects?

For histories that are rebuilt from the day files, on one machine or many: columns go from Arrow's buffers to the kernel;
only the few (lane, provider) keys are ever objects. Partitions are independent and their summaries merge, so memory is
bounded by one partition per thread, and the caller decides how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from plms_pipeline.estimates.columns import Values, summarise
from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.state import Cell
from plms_pipeline.estimates.summary import Summary, merge_all
from plms_pipeline.measures import MEASURES, Measure

COLUMNS: Final = ("lane_id", "provider", *MEASURES)
# Dictionary-encoded when read: a provider's name is decoded once per partition instead of once per receipt.
DICTIONARIES: Final = ("provider",)

# A bound on memory: no more than so many summaries of a group wait for each other.
MERGED_AT_ONCE: Final = 64
MAX_LANE: Final = 1 << 16

Key = tuple[Cell, Measure]


def summarise_table(table: pa.Table, *, alpha: float, forgetting: float = METHOD.forgetting) -> dict[Key, Summary]:
    """Summaries by ((lane, provider), measure) of one partition, all of whose rows teach.

    Args:
        table: `COLUMNS` of a day file, rows in canonical order; provider as text or dictionary.
    """
    groups, cells = _groups(table)
    found: dict[Key, Summary] = {}
    for measure in MEASURES:
        values = numbers(table[measure])
        summaries = summarise(groups, len(cells), values, measure, alpha=alpha, forgetting=forgetting)
        found |= {(cells[group], measure): summary for group, summary in summaries.items()}
    return found


def summarise_partitions(
    read: Iterable[Callable[[], pa.Table]], *, alpha: float, forgetting: float = METHOD.forgetting,
    each: Callable[..., Iterable[dict[Key, Summary]]] = map,
) -> dict[Key, Summary]:  # fmt: skip
    """Read, summarise and merge partitions that stand in canonical order.

    Args:
        read: one function per partition that gives its table; called where `each` runs it.
        each: `map`, or the `map` of a pool of threads: the kernel and Arrow work without the interpreter lock.
    """
    one = partial(_read_and_summarise, alpha=alpha, forgetting=forgetting)
    waiting: dict[Key, list[Summary]] = {}
    for found in each(one, read):
        for key, summary in found.items():
            held = waiting.setdefault(key, [])
            held.append(summary)
            if len(held) == MERGED_AT_ONCE:
                waiting[key] = [merge_all(held, forgetting)]
    return {key: merge_all(held, forgetting) for key, held in waiting.items()}


def _read_and_summarise(read: Callable[[], pa.Table], *, alpha: float, forgetting: float) -> dict[Key, Summary]:
    return summarise_table(read(), alpha=alpha, forgetting=forgetting)


def _groups(table: pa.Table) -> tuple[NDArray[np.int32], list[Cell]]:
    lanes = table["lane_id"].combine_chunks().to_numpy()
    names = table["provider"].combine_chunks()
    if isinstance(names, pa.ChunkedArray):  # no chunk at all
        names = pa.array([], pa.string())
    if not pa.types.is_dictionary(names.type):
        names = names.dictionary_encode()
    providers = names.indices.to_numpy()
    known, table = _lanes(lanes)
    groups = np.empty(lanes.size, dtype=np.int32)
    _number(lanes, table, providers, len(names.dictionary), groups)
    cells = [(int(lane), str(name)) for lane in known for name in names.dictionary.to_pylist()]
    return groups, cells


def _lanes(lanes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The lanes that occur, in order, and a table from lane id to place among them; lane ids are 16-bit numbers."""
    if lanes.size and not 0 <= lanes.min() <= lanes.max() < MAX_LANE:
        raise ValueError(
            f"Lane ids lie between 0 and {MAX_LANE - 1}; the partition holds {lanes.min()} to {lanes.max()}."
        )
    table = np.zeros(MAX_LANE, dtype=np.int32)
    _mark(lanes, table)
    known = np.flatnonzero(table)
    table[known] = np.arange(known.size)
    return known, table


@compiled
def _mark(lanes: NDArray[np.int32], table: NDArray[np.int32]) -> None:
    for row in range(lanes.size):
        table[lanes[row]] = 1


@compiled
def _number(
    lanes: NDArray[np.int32], table: NDArray[np.int32], providers: NDArray[np.int32], n_providers: int,
    groups: NDArray[np.int32],
) -> None:  # fmt: skip
    for row in range(lanes.size):
        groups[row] = table[lanes[row]] * n_providers + providers[row]


def numbers(column: pa.ChunkedArray) -> Values:
    """A numeric column, NaN for null; integers stay integers when none is null.

    Decimals are read from their low 64 bits: 14 digits fit.
    """
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # no chunk at all
        return np.zeros(0)
    if pa.types.is_decimal(column.type):
        return _decimals(column)
    found: Values = column.to_numpy(zero_copy_only=False)
    return found


def _decimals(chunk: Any) -> NDArray[np.float64]:
    words = np.frombuffer(chunk.buffers()[1], dtype="<i8")[2 * chunk.offset : 2 * (chunk.offset + len(chunk)) : 2]
    values = words / 10.0**chunk.type.scale
    if chunk.null_count:
        values[chunk.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return np.asarray(values)
