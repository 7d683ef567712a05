"""How do all projects under way stand: their runways, their risks, and the drift of the lanes' estimates?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plms_pipeline.budget.runway import status_of
from plms_pipeline.clock import Clock
from plms_pipeline.errors import NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs import views as rules
from plms_pipeline.runs.actions import views
from plms_pipeline.runs.store import breaches, lane_drift

MOST_PROJECTS: Final = 1000


def runways(registry: Registry, *, clock: Clock) -> list[dict[str, Any]]:
    """The runway of every project whose money is looked at, the shortest first; what lasts for an unknown time at the end."""
    found = [views.budget_runway(registry, project, clock=clock) for project in _projects(registry)]
    return sorted(found, key=_urgency)


def _urgency(one: Mapping[str, Any]) -> tuple[bool, float, float, int]:
    minutes, over = one["runway"]["minutes_to_depletion"], one["runway"]["projected_overrun_usd"]
    return minutes is None, minutes or 0.0, -(over or 0.0), one["project_id"]


def contradictions(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Projects whose status is not the one that their numbers say, each with both."""
    wrong = []
    for one in found:
        told = one["runway"]
        says = status_of(
            budget=one["budget"]["usd_max"], minutes=told["minutes_to_depletion"],
            overrun=told["projected_overrun_usd"], is_active=one["budget"]["burn_per_min"] is not None,
        )  # fmt: skip
        is_rounding = told["minutes_to_depletion"] in (10.0, 30.0)
        # Something may run that burns nothing yet: then the warning is that nobody knows what is left.
        is_open = told["projected_overrun_usd"] is None and one["status"] in ("ok", "warning")
        if says != one["status"] and not is_rounding and not is_open:
            wrong.append(f"project {one['project_id']}: {one['status']}, its numbers say {says}")
    return wrong


def heatmaps(registry: Registry) -> list[dict[str, Any]]:
    """The risks of every project whose money is looked at."""
    found = []
    for project in _projects(registry):
        try:
            found.append(views.risk_heatmap(registry, project))
        except NotFound:  # pragma: no cover - projects are never deleted
            continue
    return found


def drifts(registry: Registry) -> list[dict[str, Any]]:
    """Per lane with work of ours: the errors of the last ten projects (fractions), oldest first, and their trend."""
    with registry.reading() as session:
        errors = lane_drift.errors_by_lane(session, most=views.MAX_HISTORY)
    return [
        {
            "lane_id": lane,
            "lane_name": name,
            "history": history,
            "trend": rules.trend([one["mae_pct"] for one in history]),
        }
        for lane, name, history in errors
    ]


def _projects(registry: Registry) -> list[int]:
    with registry.reading() as session:
        return list(breaches.looked_at(session))[-MOST_PROJECTS:]
