"""Whose budget ends first, and how do all of them stand together?

A label with a project's number would make a series per project and remember each of them for ever; a rank makes ten. What is
not known has no series: a runway of zero minutes would page somebody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plms_pipeline.budget.runway import Runway, is_over
from plms_pipeline.monitoring.exporter.catalogue.money import OVERRUNS, RANKS, STATUSES
from plms_pipeline.monitoring.exporter.series import Samples


@dataclass(frozen=True, slots=True)
class ProjectMoney:
    """How the budget of one active project stands; `is_forecast`: somebody looked lately at what it will have cost."""

    runway: Runway
    is_forecast: bool

    @property
    def status(self) -> str:
        """The word for it; unknown without a budget, and where nobody has looked."""
        return self.runway.status if self.is_forecast and self.runway.budget_usd is not None else "unknown"

    @property
    def overrun_ratio(self) -> float:
        """The overrun by the budget, 0 where nobody knows; of a budget of nothing every overrun is infinite."""
        found = self.runway
        if not found.overrun_usd or found.budget_usd is None:
            return 0.0
        return found.overrun_usd / found.budget_usd if found.budget_usd else math.inf


def tell(samples: Samples, projects: Sequence[ProjectMoney]) -> None:
    """Put the shortest runways and the sums of active projects into samples."""
    runways = [each.runway for each in projects]
    shortest = sorted(
        (each for each in runways if each.minutes_left is not None), key=lambda each: each.minutes_left or 0
    )
    for rank, each in zip(RANKS, shortest, strict=False):
        values = {
            "minutes": each.minutes_left, "budget_usd": each.budget_usd, "spent_usd": each.spent_usd,
            "burn_usd_per_minute": each.burn_usd_per_min, "projected_overrun_usd": each.overrun_usd,
        }  # fmt: skip
        for name, value in values.items():
            if value is not None:
                samples.put(f"plms_budget_runway_{name}", value, rank)
    for status in STATUSES:
        samples.put("plms_budget_status", sum(each.status == status for each in projects), status)
    budgeted = [each for each in runways if each.budget_usd is not None]
    samples.put_all({
        "plms_budget_projects": len(budgeted),
        "plms_budget_unforecast_projects": sum(each.final_usd is None for each in budgeted),
        "plms_budget_usd": _sum(each.budget_usd for each in budgeted),
        "plms_budget_spent_usd": _sum(each.spent_usd for each in runways),
        "plms_budget_reserved_usd": _sum(each.reserved_usd for each in runways),
        "plms_budget_burn_usd_per_minute": _sum(each.burn_usd_per_min for each in runways),
        "plms_budget_projected_final_usd": _sum(each.final_usd for each in runways),
        "plms_budget_projected_overrun_usd": _sum(each.overrun_usd for each in runways),
        "plms_budget_overrun_ratio_max": max((each.overrun_ratio for each in projects), default=0.0),
    })  # fmt: skip
    for over in OVERRUNS:
        samples.put("plms_budget_overruns", sum(is_over(each, float(over)) for each in runways), over)


def _sum(values: Iterable[float | None]) -> float:
    return math.fsum(value for value in values if value is not None)
