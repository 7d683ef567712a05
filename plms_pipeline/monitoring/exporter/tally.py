"""How is counted what only ever grows, without counting all of it at every look?

Rows of an append-only table are counted once when they have settled, and again and again while they are young: on PostgreSQL a
row with a smaller number (or an earlier moment) may be committed after one that was seen, and whoever only remembers the last
one that he saw never counts it. Ten minutes are far longer than any transaction of ours.

The counts begin a week before the first look. That a restart begins elsewhere is what Prometheus expects of a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

SETTLED_AFTER: Final = timedelta(minutes=10)
BEGINS_BEFORE: Final = timedelta(days=7)

K = TypeVar("K", bound=Hashable)
M = TypeVar("M", int, datetime)
Amounts = tuple[float, ...]
# (whether it lies at or before the new mark, what it is counted as, what is added up)
CountedRow = tuple[bool, K, Amounts]


class Tally(Generic[K, M]):
    """Sums by key of what lies behind a mark, which moves on.

    `mark` is None before the first look; rows at or before it are in the sums that are kept.
    """

    def __init__(self) -> None:
        self.mark: M | None = None
        self._kept: dict[K, Amounts] = {}

    def move(self, mark: M, rows: Iterable[CountedRow[K]]) -> dict[K, Amounts]:
        """Move the mark and answer the sums of everything so far.

        Args:
            mark: the new one.
            rows: everything that lies behind the mark that was, each told apart by the new one.
        """
        kept: dict[K, Amounts] = dict(self._kept)
        young: dict[K, Amounts] = {}
        for is_settled, key, amounts in rows:
            sums = kept if is_settled else young
            sums[key] = _added(sums.get(key), amounts)
        together = dict(kept)
        for key, amounts in young.items():
            together[key] = _added(together.get(key), amounts)
        # Only now: a reading that broke off half-way is repeated from where it began.
        self.mark, self._kept = mark, kept
        return together

    def rename(self, renamed: Callable[[K], K]) -> None:
        """Let what is kept count as something else from now on."""
        kept: dict[K, Amounts] = {}
        for key, amounts in self._kept.items():
            new = renamed(key)
            kept[new] = _added(kept.get(new), amounts)
        self._kept = kept


def _added(before: Amounts | None, amounts: Amounts) -> Amounts:
    if before is None:
        return amounts
    return tuple(first + second for first, second in zip(before, amounts, strict=True))
