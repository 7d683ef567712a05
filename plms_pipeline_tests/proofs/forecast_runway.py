"""Is a budget that runs dry seen a quarter of an hour before, and does the interval hold the moment?

A project of `forecast_world` runs against a budget that does not suffice: four tasks at once, each attempt as long as a METR
run took, money booked when an attempt ends, a look every minute. What is told is held against when the budget was really gone:
at the first look that says fifteen minutes or less, at one by chance, and at one by chance in each quarter of the budget.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from scipy.stats import binom

from plms_pipeline.budget.depletion import Lumps
from plms_pipeline.budget.runway import BURN_WINDOW, Activity, Runway, Spell, runway
from plms_pipeline_tests.proofs.api import say
from plms_pipeline_tests.proofs.forecast_world import Floats, Story, shipped_minutes

QUARTERS: Final = (0.0, 0.25, 0.5, 0.75)
# How many 90 % intervals must hold: of all, of those by chance, and in each quarter of the budget.
LEAST, LEAST_OF_A_QUARTER = 0.88, 0.85
# So rarely does a small count fall below its bar where the intervals do hold.
FLUKE: Final = 0.001
AT_ONCE: Final = 4
ALARM_MIN: Final = 15.0
LONGEST_ATTEMPT_MIN: Final = 60.0
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Look:
    """What was told of the minutes to depletion at one moment, and how many were left."""

    point: float
    low: float
    high: float
    actual: float

    @property
    def is_inside(self) -> bool:
        """Whether the interval held."""
        return self.low <= self.actual <= self.high


@dataclass(frozen=True, slots=True)
class Warned:
    """How long before the budget was gone it was said (None: never), and what was said at moments by chance.

    `quarters`: while so much of the budget was spent. Where nothing was told, there is no look.
    """

    lead_min: float | None
    by_chance: Look | None
    quarters: dict[float, Look]


@dataclass(frozen=True, slots=True)
class Ends:
    """The attempts of a project in the order in which they end: minutes since its start, USD, minutes that each took."""

    at: Floats
    usd: Floats
    minutes: Floats


def ends_of(told: Story, rng: np.random.Generator) -> Ends:
    """When attempts end where four tasks work at once."""
    minutes = shipped_minutes()
    minutes = minutes[minutes <= LONGEST_ATTEMPT_MIN]
    free = [0.0] * AT_ONCE
    ends: list[tuple[float, float, float]] = []
    for task in told.tasks:
        at = heapq.heappop(free)
        for cost in task.costs:
            took = float(rng.choice(minutes))
            at += took
            ends.append((at, cost, took))
        heapq.heappush(free, at)
    ends.sort()
    return Ends(*(np.asarray(column) for column in zip(*ends, strict=True)))


def warned(told: Story, rng: np.random.Generator) -> Warned | None:
    """What a look every minute says of a budget between a third and nine tenths of what the project takes.

    None when the budget is gone before the runway could ever have said fifteen minutes.
    """
    ends = ends_of(told, rng)
    budget = float(ends.usd.sum() * rng.uniform(1 / 3, 0.9))
    gone = float(_reached(ends, budget))
    if gone < 2 * ALARM_MIN:
        return None
    # Not that of the alarm: the first of many looks that is short is short by chance, too.
    by_chance = _look(ends, budget, float(rng.uniform(ALARM_MIN, gone)), gone)
    lead = None
    for minute in range(1, math.ceil(gone)):
        seen = _seen(ends, budget, float(minute))
        if seen.minutes_left is not None and seen.minutes_left <= ALARM_MIN:
            lead = gone - minute
            break
    quarters = {}
    for share in QUARTERS:
        # Nothing is told before the first attempt has ended; one that takes whole quarters leaves them without a look.
        begin, end = _reached(ends, share * budget), _reached(ends, (share + QUARTERS[1]) * budget)
        look = _look(ends, budget, float(rng.uniform(begin, end)), gone) if begin < end else None
        if look is not None:
            quarters[share] = look
    return Warned(lead, by_chance, quarters)


def _reached(ends: Ends, usd: float) -> float:
    """When so much was spent."""
    return float(ends.at[np.searchsorted(np.cumsum(ends.usd), usd)])


def _look(ends: Ends, budget: float, minute: float, gone: float) -> Look | None:
    seen = _seen(ends, budget, minute)
    if seen.minutes_left is None or seen.depletion_90 is None:
        return None
    return Look(seen.minutes_left, *seen.depletion_90, gone - minute)


def _seen(ends: Ends, budget: float, minute: float) -> Runway:
    """The runway as it is told at that minute."""
    past = ends.at <= minute
    recent = past & (ends.at > minute - BURN_WINDOW.total_seconds() / 60)
    return runway(
        spent=float(ends.usd[past].sum()), reserved=0.0, budget=budget, left=None,
        activity=Activity(
            EPOCH, _spell(ends.usd[recent]), _spell(ends.usd[past]), Lumps(int(past.sum()), _lumps(ends.minutes[past]))
        ),
        now=EPOCH + timedelta(minutes=minute),
    )  # fmt: skip


def _spell(costs: Floats) -> Spell:
    return Spell(float(costs.sum()), _lumps(costs), len(costs))


def _lumps(amounts: Floats) -> float:
    total = float(amounts.sum())
    return float((amounts**2).sum()) / total**2 if total else 1.0


def say_depletion(alarms: Sequence[Warned], *, is_enough: bool) -> bool:
    """Tell lead time and coverage; whether enough intervals held.

    Args:
        is_enough: so many that the bars themselves are asked for; else what chance allows below them.
    """
    leads = [one.lead_min for one in alarms if one.lead_min is not None]
    if not leads:
        return True
    low, middle, high = np.quantile(leads, [0.1, 0.5, 0.9])
    say(
        f"  runway_t15: {len(leads)} of {len(alarms)} budgets that ran dry were announced, median {middle:.1f} min before "
        f"(80 %: {low:.1f} to {high:.1f}); the interval of the minutes to depletion:"
    )
    quarters = {share: [one.quarters[share] for one in alarms if share in one.quarters] for share in QUARTERS}
    holds = [
        _say_line(f"{share:.0%} of the budget spent", looks, LEAST_OF_A_QUARTER, len(looks), is_enough)
        for share, looks in quarters.items()
    ]
    everything = [look for looks in quarters.values() for look in looks]
    by_chance = [one.by_chance for one in alarms if one.by_chance is not None]
    # The quarters of a project are one outcome, not four.
    holds.append(_say_line("all quarters", everything, LEAST, len(alarms), is_enough))
    holds.append(_say_line("at a minute by chance", by_chance, LEAST, len(by_chance), is_enough))
    return all(holds)


def _say_line(name: str, looks: Sequence[Look], bar: float, count: int, is_enough: bool) -> bool:
    """A line of the table; whether as many intervals held as must."""
    if not looks:
        return True
    share = sum(look.is_inside for look in looks) / len(looks)
    below = sum(look.actual < look.low for look in looks) / len(looks)
    least = bar if is_enough else float(binom.ppf(FLUKE, count, bar)) / count
    width = float(np.median([(look.high - look.low) / look.point for look in looks]))
    minutes = float(np.median([look.high - look.low for look in looks]))
    say(
        f"  {name:<22} n {len(looks):>5}  coverage {share:6.1%}  below {below:5.1%}  above {1 - share - below:5.1%}  "
        f"at least {least:5.1%}  width/point {width:.2f}  width {minutes:.0f} min"
    )
    return share >= least
