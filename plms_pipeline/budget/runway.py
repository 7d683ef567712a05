"""How fast does a project burn its budget, when is it gone, and what will the project have cost in the end?

Burn is the cost of the trailing ten minutes of activity, else of the run so far; where nothing burns, the time that is left is
unknown, not infinite. Receipts come in lumps and at odd moments: `depletion` says how far the time that is left may be off.

The projected final is what was spent plus the forecast of what is left. Like every estimate here its point is the median: as
likely exceeded as not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from plms_pipeline.budget.depletion import UNKNOWN, Burnt, Interval, Lumps, depletion_interval
from plms_pipeline.estimates.extrapolation import NEGLIGIBLE, Extrapolation

Status = Literal["ok", "warning", "critical"]

BURN_WINDOW: Final = timedelta(minutes=10)
# The sources' limits: minutes until the budget is gone, and overrun as a share of the budget.
SHORT_MIN, LONG_MIN = 10.0, 30.0
CRITICAL_OVERRUN: Final = 0.20
# A rate that was measured over less than a second would be anything.
LEAST_MINUTES: Final = 1 / 60


@dataclass(frozen=True, slots=True)
class Spell:
    """What was spent in some time: dollars, Σx² / (Σx)² of the receipts behind them (1: one, or unknown), and how many."""

    usd: float
    lumpiness: float = 1.0
    receipts: int = 1


@dataclass(frozen=True, slots=True)
class Activity:
    """What burns: since when (None: nothing is under way), in the trailing window, and since the beginning.

    `durations` are those of all its receipts, in any unit. Of the window only dollars and number of receipts are read.
    """

    since: datetime | None
    window: Spell = Spell(0.0)
    run: Spell = Spell(0.0)
    durations: Lumps = UNKNOWN


@dataclass(frozen=True, slots=True)
class Runway:
    """How long a budget lasts and what will have been spent, in dollars and minutes.

    None: unknown. `depletion_90`, `final_90` are central 90 % intervals; `overrun_pct` is in percent of the budget, None
    without one or with one of 0; `overrun_chance` the probability that the budget does not suffice.
    """

    spent_usd: float
    reserved_usd: float
    budget_usd: float | None
    burn_usd_per_min: float | None
    minutes_left: float | None
    depletion_90: Interval | None
    final_usd: float | None
    final_90: Interval | None
    overrun_usd: float | None
    overrun_pct: float | None
    overrun_chance: float | None
    status: Status


def runway(
    *, spent: float, reserved: float, budget: float | None, left: Extrapolation | None, activity: Activity, now: datetime
) -> Runway:  # fmt: skip
    """The budget runway.

    Args:
        spent, reserved: settled, and reserved for what runs, in USD.
        left: the spend forecast of all tasks that have not ended; None: nobody knows what some of them take.
    """
    return _runway(
        spent, reserved, budget, activity, now, None if left is None else spent + left.median,
        None if left is None else (spent + left.low, spent + left.high), chance_of_overrun(spent, budget, left),
    )  # fmt: skip


def runway_to(
    *, spent: float, reserved: float, budget: float | None, final: float | None, activity: Activity, now: datetime
) -> Runway:
    """The budget runway where only the median of the forecast is known, in USD: without what says how sure that is."""
    return _runway(spent, reserved, budget, activity, now, final, None, None)


def is_over(found: Runway, pct: float) -> bool:
    """Whether a budget is overrun, or going to be, by more than some percent of it; one of 0 is by anything."""
    if found.overrun_usd is None or found.budget_usd is None:
        return False
    return found.overrun_usd > pct / 100 * found.budget_usd


def _runway(
    spent: float, reserved: float, budget: float | None, activity: Activity, now: datetime, final: float | None,
    final_90: Interval | None, chance: float | None,
) -> Runway:  # fmt: skip
    rate, _ = burn(activity, now)
    minutes, depletion_90 = _depletion(spent, budget, rate, activity, now)
    overrun = _overrun(spent, budget, final)
    return Runway(
        spent, reserved, budget, rate, minutes, depletion_90, final, final_90, overrun,
        None if overrun is None or not budget else 100 * overrun / budget, chance,
        status_of(budget=budget, minutes=minutes, overrun=overrun, is_active=activity.since is not None),
    )  # fmt: skip


def burn(activity: Activity, now: datetime) -> tuple[float | None, Spell]:
    """Dollars a minute (None: nothing burns), and the spell that they were seen in."""
    if activity.since is None:
        return None, activity.run
    seen, minutes = _seen(activity, _elapsed(activity.since, now))
    rate = seen.usd / minutes
    # So little that nothing can be divided by it is nothing.
    return (rate if rate > NEGLIGIBLE**2 else None), seen


def _elapsed(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds() / 60, LEAST_MINUTES)


def _seen(activity: Activity, elapsed: float) -> tuple[Spell, float]:
    """The spell that the rate rests on, and how many minutes it lasted."""
    if activity.window.usd > 0:
        return activity.window, min(BURN_WINDOW.total_seconds() / 60, elapsed)
    return activity.run, elapsed


def _depletion(
    spent: float, budget: float | None, rate: float | None, activity: Activity, now: datetime
) -> tuple[float | None, Interval | None]:
    if budget is None or rate is None or activity.since is None:
        return None, None
    free = budget - spent
    if free <= 0:
        return 0.0, (0.0, 0.0)
    elapsed = _elapsed(activity.since, now)
    seen, minutes = _seen(activity, elapsed)
    run, part = activity.run, Burnt(seen.usd, minutes, max(1, seen.receipts))
    # Whoever knows only the window knows at least as much of the run.
    whole = Burnt(max(run.usd, part.usd), elapsed, max(run.receipts, part.receipts))
    costs = Lumps(run.receipts, run.lumpiness)
    return free / rate, depletion_interval(
        free, part, whole, costs=costs.variation, durations=activity.durations.variation
    )


def _overrun(spent: float, budget: float | None, final: float | None) -> float | None:
    """What is projected beyond the budget; where nobody knows the rest, at least what is spent beyond it."""
    if budget is None or (final is None and spent <= budget):
        return None
    return max(0.0, (spent if final is None else final) - budget)


def chance_of_overrun(spent: float, budget: float | None, left: Extrapolation | None) -> float | None:
    """How probable it is that the budget does not suffice, by a log-normal of the forecast's mean and deviation."""
    if budget is None or (left is None and spent <= budget):
        return None
    free = budget - spent
    if free < 0 or left is None:
        return 1.0
    if left.mean <= NEGLIGIBLE or free <= 0:
        return 0.0 if left.mean <= free else 1.0
    spread = math.sqrt(math.log1p((left.stddev / left.mean) ** 2))
    if spread <= 0:
        return float(left.mean > free)
    centre = math.log(left.mean) - spread**2 / 2
    return 0.5 * math.erfc((math.log(free) - centre) / (spread * math.sqrt(2)))


def status_of(*, budget: float | None, minutes: float | None, overrun: float | None, is_active: bool) -> Status:
    """The sources' word: ok above 30 minutes and no overrun; critical below 10 or from 20 % overrun on; else warning.

    Nothing to overrun is ok. What is under way without a forecast is a warning: nobody can say that it will suffice.
    """
    if budget is None:
        return "ok"
    is_short = minutes is not None and minutes < SHORT_MIN
    is_over = overrun is not None and overrun > 0 and overrun >= CRITICAL_OVERRUN * budget
    if is_short or is_over:
        return "critical"
    is_long = minutes is None or minutes > LONG_MIN
    is_inside = overrun == 0 or (overrun is None and not is_active)
    return "ok" if is_long and is_inside else "warning"
