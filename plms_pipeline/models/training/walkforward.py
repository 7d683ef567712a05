"""Which bars may teach, and which may judge?

Splits of the distinct timestamps of a panel: each trains on a window of the past and is judged on the bars that follow it,
so that the judged blocks lie end to end up to the last bar. Between the two lie `purge` bars, whose targets reach into the
judged block, and `embargo` further bars, because what lies next to each other is alike. The source split overlapping
windows at random and judged on everything, training rows included; and it counted rows instead of instants, so that a panel
of many symbols trained on the very moment on which it was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Flags, Instants
from plms_pipeline.models.market.findings import SHOWN, Finding, finding


@dataclass(frozen=True, slots=True)
class Plan:
    """How to split, counted in distinct timestamps. `expanding`: train on everything before instead of the last `train`."""

    train: int = 1_500
    test: int = 250
    purge: int = 1
    embargo: int = 0
    expanding: bool = False

    @property
    def gap(self) -> int:
        """Bars between the last that teaches and the first that judges."""
        return self.purge + self.embargo


@dataclass(frozen=True, slots=True)
class Split:
    """Half-open places in the calendar (distinct timestamps, ascending): [first, end) of training and of test."""

    number: int
    train_first: int
    train_end: int
    test_first: int
    test_end: int


def splits(timestamps: int, plan: Plan) -> tuple[Split, ...]:
    """Cut a calendar of so many distinct timestamps; the last test block may be shorter than the others.

    Raises:
        BadInput: the plan is impossible.
        NoData: the calendar is too short for one split.
    """
    if plan.train < 1 or plan.test < 1 or plan.purge < 0 or plan.embargo < 0:
        raise BadInput(
            "A walk-forward plan needs train and test windows of at least one bar, and no negative purge or embargo.",
            code="bad_plan",
        )
    first = plan.train + plan.gap
    if first >= timestamps:
        raise NoData(
            f"There are {timestamps} moments with features (they look back, and need prices that move); one walk-forward "
            f"split needs more than {first} (train {plan.train}, purge {plan.purge}, embargo {plan.embargo}). Import a "
            "longer history, or shorten the windows.",
            code="history_too_short",
        )
    found = []
    for number, test_first in enumerate(range(first, timestamps, plan.test)):
        train_end = test_first - plan.gap
        train_first = 0 if plan.expanding else train_end - plan.train
        found.append(Split(number, train_first, train_end, test_first, min(test_first + plan.test, timestamps)))
    return tuple(found)


def members(timestamps: Instants, calendar: Instants, first: int, end: int) -> Flags:
    """Which rows lie in [first, end) of the calendar."""
    if first >= end:
        return np.zeros(timestamps.size, dtype=bool)
    return np.asarray((timestamps >= calendar[first]) & (timestamps <= calendar[end - 1]))


def leaks(found: Sequence[Split], calendar: Instants, plan: Plan) -> tuple[Finding, ...]:
    """What is wrong with splits, whoever made them: time that does not ascend, training too near to or after its test, overlap.

    Args:
        found: the splits.
        calendar: the timestamps that their places point to.
        plan: whose purge and embargo they must keep.
    """
    answers = []
    falls = np.flatnonzero(np.diff(calendar.astype(np.int64)) <= 0)
    if falls.size:
        shown = [f"{str(calendar[place + 1])[:19]} after {str(calendar[place])[:19]}" for place in falls[:SHOWN]]
        answers.append(
            finding(
                "shuffled_time", "error", shown,
                "timestamp that does not follow the one before it", "Split the sorted, distinct timestamps, not rows.",
                count=int(falls.size),
            )
        )  # fmt: skip
    close = [f"split {one.number}" for one in found if one.test_first - one.train_end < plan.gap]
    if close:
        answers.append(
            finding(
                "training_touches_test", "error", close, "split whose training lies within purge and embargo of its test",
                "Leave purge + embargo bars out between them; never draw test rows at random.",
            )
        )  # fmt: skip
    overlap = [
        f"splits {one.number} and {other.number}" for one, other in pairwise(found) if other.test_first < one.test_end
    ]
    if overlap:
        answers.append(
            finding(
                "tests_overlap", "error", overlap, "pair of test blocks with bars in common",
                "Each bar is judged once; let the step be the length of the test.",
            )
        )  # fmt: skip
    return tuple(answers)
