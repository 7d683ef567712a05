"""How long the money of the projects lasts: the shortest runways by rank, and sums. Never a project by name."""

from __future__ import annotations

from typing import Final

from plms_pipeline.monitoring.exporter.series import Label, Series

RANKS: Final = tuple(str(rank) for rank in range(1, 11))
STATUSES: Final = ("ok", "warning", "critical", "unknown")
OVERRUNS: Final = ("20", "25")
_RUNWAY: Final = "guide 000, 1"
_RANK: Final = (Label("rank", RANKS),)
_FEWER: Final = "Fewer projects burn money."

MONEY: Final = (
    Series(
        "plms_budget_runway_minutes", "gauge", "registry", "Minutes until a budget is gone; rank 1 is the shortest.", _RUNWAY,
        _RANK, absent=_FEWER,
    ),
    Series("plms_budget_runway_budget_usd", "gauge", "registry", "The budget of that rank.", _RUNWAY, _RANK, absent=_FEWER),
    Series("plms_budget_runway_spent_usd", "gauge", "registry", "What it has spent.", _RUNWAY, _RANK, absent=_FEWER),
    Series(
        "plms_budget_runway_burn_usd_per_minute", "gauge", "registry", "What it burns.", _RUNWAY, _RANK, absent=_FEWER
    ),
    Series(
        "plms_budget_runway_projected_overrun_usd", "gauge", "registry", "By how much it will exceed its budget.", _RUNWAY,
        _RANK, absent=_FEWER,
    ),
    Series(
        "plms_budget_status", "gauge", "registry", "Active projects by their budget; unknown: they have none, or no forecast.",
        _RUNWAY, (Label("status", STATUSES),),
    ),
    Series("plms_budget_projects", "gauge", "registry", "Active projects that have a budget.", _RUNWAY),
    Series(
        "plms_budget_unforecast_projects", "gauge", "registry",
        "Those of them of which nobody knows what they will have cost: no forecast, or none of the last 15 minutes.", _RUNWAY,
    ),
    Series("plms_budget_usd", "gauge", "registry", "Sum of their budgets.", _RUNWAY),
    Series("plms_budget_spent_usd", "gauge", "registry", "What active projects have spent.", _RUNWAY),
    Series("plms_budget_reserved_usd", "gauge", "registry", "What is reserved for their work that goes on.", _RUNWAY),
    Series("plms_budget_burn_usd_per_minute", "gauge", "registry", "What active projects burn.", _RUNWAY),
    Series(
        "plms_budget_projected_final_usd", "gauge", "registry", "What active projects will have cost, where that was forecast.",
        _RUNWAY,
    ),
    Series(
        "plms_budget_projected_overrun_usd", "gauge", "registry", "By how much those that exceed their budget will do so.",
        _RUNWAY,
    ),
    Series(
        "plms_budget_overruns", "gauge", "registry",
        "Active projects that will exceed their budget by more than so many percent.", _RUNWAY, (Label("over", OVERRUNS),),
    ),
    Series(
        "plms_budget_overrun_ratio_max", "gauge", "registry", "The largest projected overrun by its budget (0.25: 25 %).",
        _RUNWAY,
    ),
)  # fmt: skip
