"""Whose budget ends first, and how do all of them stand together?

A label with a project's number would make a series per project and remember each of them for ever; a rank makes ten. What is
not known has no series: a runway of zero minutes would page somebody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from plms_pipeline.monitoring.exporter.catalogue.money import OVERRUNS, RANKS, STATUSES
from plms_pipeline.monitoring.exporter.series import Samples

# A rate that was measured over less than a second would be anything.
LEAST_MINUTES: Final = 1 / 60


@dataclass(frozen=True, slots=True)
class ProjectMoney:
    """How the budget of one active project stands, in USD and minutes.

    `budget` None: it has none. `burn_per_min` and `minutes` None: nothing burns. `final` None: nobody knows.
    """

    budget: float | None
    spent: float
    reserved: float
    burn_per_min: float | None
    minutes: float | None
    final: float | None
    status: str

    @property
    def overrun(self) -> float | None:
        """By how much the projected final exceeds the budget; 0 without one, None where nobody knows."""
        if self.budget is None:
            return 0.0
        return None if self.final is None else max(0.0, self.final - self.budget)

    @property
    def overrun_ratio(self) -> float:
        """The overrun by the budget; of a budget of nothing every overrun is infinite."""
        overrun = self.overrun
        if not overrun or self.budget is None:
            return 0.0
        return overrun / self.budget if self.budget else math.inf


def burn_rate(
    since: datetime | None, window_usd: float, run_usd: float, now: datetime, window: timedelta
) -> float | None:
    """Dollars a minute: of the trailing window of activity, else of the runs so far; None: nothing burns.

    Args:
        since: when the oldest run that is under way began.
        window_usd, run_usd: what runs that are under way took in the window, and in all.
    """
    if since is None:
        return None
    elapsed = max((now - since).total_seconds() / 60, LEAST_MINUTES)
    rate = window_usd / min(window.total_seconds() / 60, elapsed) if window_usd > 0 else run_usd / elapsed
    return rate or None


def minutes_left(budget: float | None, spent: float, rate: float | None) -> float | None:
    """Minutes until the budget is gone; None where there is none, or nothing burns."""
    return None if budget is None or rate is None else max(0.0, budget - spent) / rate


def tell(samples: Samples, projects: Sequence[ProjectMoney]) -> None:
    """Put the shortest runways and the sums of active projects into samples."""
    shortest = sorted((each for each in projects if each.minutes is not None), key=lambda each: each.minutes or 0.0)
    for rank, each in zip(RANKS, shortest, strict=False):
        values = {
            "minutes": each.minutes, "budget_usd": each.budget, "spent_usd": each.spent,
            "burn_usd_per_minute": each.burn_per_min, "projected_overrun_usd": each.overrun,
        }  # fmt: skip
        for name, value in values.items():
            if value is not None:
                samples.put(f"plms_budget_runway_{name}", value, rank)
    budgeted = [each for each in projects if each.budget is not None]
    for status in STATUSES:
        known = (each.status if each.budget is not None else "unknown" for each in projects)
        samples.put("plms_budget_status", sum(word == status for word in known), status)
    samples.put_all({
        "plms_budget_projects": len(budgeted),
        "plms_budget_unforecast_projects": sum(each.final is None for each in budgeted),
        "plms_budget_usd": _sum(each.budget for each in budgeted),
        "plms_budget_spent_usd": _sum(each.spent for each in projects),
        "plms_budget_reserved_usd": _sum(each.reserved for each in projects),
        "plms_budget_burn_usd_per_minute": _sum(each.burn_per_min for each in projects),
        "plms_budget_projected_final_usd": _sum(each.final for each in projects),
        "plms_budget_projected_overrun_usd": _sum(each.overrun for each in projects),
        "plms_budget_overrun_ratio_max": max((each.overrun_ratio for each in projects), default=0.0),
    })  # fmt: skip
    for over in OVERRUNS:
        beyond = sum(each.overrun_ratio > int(over) / 100 for each in projects)
        samples.put("plms_budget_overruns", beyond, over)


def _sum(values: Iterable[float | None]) -> float:
    return math.fsum(value for value in values if value is not None)
