"""What has to be proven tonight?

Row invariants always cover every row. Book invariants cover what came in or changed since the last clean night, on Sundays
and with `--full` everything. A high-water mark alone has two holes: on PostgreSQL a row with a small id may be committed
after a larger one was proven, and a row below the mark may be edited by hand. So the newest rows are always proven again,
up to a fixed amount of work; a registry below that amount is proven whole every night.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

FLOOR_ROWS: Final = 50_000
"""Rows of a table, or receipts of the newest days, that are proven every night whatever the marks say."""
_ZONE: Final = ZoneInfo("America/New_York")
_SUNDAY: Final = 6


@dataclass(frozen=True, slots=True)
class Day:
    """One row of `receipt_days` as the window needs it; `n` receipts."""

    day: date
    changed_seq: int
    n: int


def is_full_night(as_of: datetime) -> bool:
    """Whether the night of this instant proves everything: a Sunday where the night has its date, in New York."""
    return as_of.astimezone(_ZONE).weekday() == _SUNDAY


def first_unproven(mark: int, newest: int, *, full: bool, floor: int = FLOOR_ROWS) -> int:
    """The id above which rows are to be proven: everything above `mark`, and at least the `floor` newest ids."""
    return 0 if full else max(0, min(mark, newest - floor))


def days_to_prove(
    days: Iterable[Day], marks: Mapping[date, int], *, full: bool, floor: int = FLOOR_ROWS
) -> frozenset[date]:
    """The days that changed since they were proven, and the newest others until `floor` receipts are covered.

    Args:
        days: every day of the book.
        marks: day → `changed_seq` at its last proof.
    """
    chosen: set[date] = set()
    covered = 0
    for each in sorted(days, key=lambda it: it.day, reverse=True):
        if full or covered < floor or marks.get(each.day) != each.changed_seq:
            chosen.add(each.day)
            covered += each.n
    return frozenset(chosen)
