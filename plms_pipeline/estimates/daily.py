"""What do the receipts of some days become: which facts are stored for each (day, lane, provider, measure, basis)?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.beliefs import RECEIPTS, DayFact, Tally
from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.policy import RULES, included
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.estimates.summary import digest, encode
from plms_pipeline.measures import BASES, MEASURES, Basis

MS_PER_DAY: Final = 86_400_000
EPOCH: Final = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_facts(receipts: Receipts, *, alpha: float, forgetting: float) -> list[DayFact]:
    """The facts of all days among the receipts, which are in canonical order."""
    facts: list[DayFact] = []
    numbers = receipts.completed_ms // MS_PER_DAY
    for number in np.unique(numbers):
        start, end = np.searchsorted(numbers, [number, number + 1])
        facts += _one_day(
            receipts.part(slice(int(start), int(end))), EPOCH + timedelta(days=int(number)), alpha, forgetting
        )
    return facts


def _one_day(receipts: Receipts, day: date, alpha: float, forgetting: float) -> list[DayFact]:
    cells = sorted(set(zip(receipts.lane_id.tolist(), receipts.provider.tolist(), strict=True)))
    code = {cell: place for place, cell in enumerate(cells)}
    keys = zip(receipts.lane_id.tolist(), receipts.provider.tolist(), strict=True)
    groups = np.fromiter((code[key] for key in keys), dtype=np.int32, count=len(receipts))
    facts: list[DayFact] = []
    for basis in BASES:
        mask = included(receipts.policy, basis)
        facts += [
            DayFact(day, *cells[group], RECEIPTS, basis, tally.included, data, digest(data))
            for group, tally in _tallies(receipts, groups, len(cells), mask, basis).items()
            for data in [tally.encode()]
        ]
        for measure in MEASURES:
            values = receipts.measures[measure][mask]
            found = summarise(groups[mask], len(cells), values, measure, alpha=alpha, forgetting=forgetting)
            for group, summary in found.items():
                data = encode(summary, alpha=alpha, forgetting=forgetting)
                facts.append(DayFact(day, *cells[group], measure, basis, summary.count, data, digest(data)))
    return facts


def _tallies(
    receipts: Receipts, groups: NDArray[np.int32], n_groups: int, mask: NDArray[np.bool_], basis: Basis
) -> dict[int, Tally]:
    # A task is counted where its first attempt lies, so that counts of days add up.
    first = mask & (receipts.attempt == 1)
    counts = np.bincount(groups[mask], minlength=n_groups)
    tasks = np.bincount(groups[first], minlength=n_groups)
    left = np.ones(len(receipts), dtype=bool)
    excluded: list[dict[str, int]] = [{} for _ in range(n_groups)]
    for rule in RULES[basis]:
        fails = left & ~rule.holds(receipts.policy)
        left &= ~fails
        for group, n in enumerate(np.bincount(groups[fails], minlength=n_groups)):
            if n:
                excluded[group][rule.name] = int(n)
    return {g: Tally(int(counts[g]), int(tasks[g]), excluded[g]) for g in range(n_groups)}


def midnight(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
