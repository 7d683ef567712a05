"""How long does a project's budget last, and what will the project cost?

The one answer that page, terminal, alerts, the history and the breach policy read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plms_pipeline.budget.depletion import Interval, Lumps
from plms_pipeline.budget.runway import BURN_WINDOW, Activity, Runway, Spell, runway
from plms_pipeline.clock import Clock
from plms_pipeline.estimates.prices.store import repriced
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import Asking
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.remaining import NOTHING, Remaining, remaining
from plms_pipeline.runs.store import runway_rows as store

HISTORY: Final = "/api/projects/{project_id}/budget-runway/history"


@dataclass(frozen=True, slots=True)
class ProjectRunway:
    """The runway of a project, what its forecast rests on, and what happens when it is overrun."""

    project_id: int
    status: str
    breach_policy: str
    runway: Runway
    left: Remaining

    def as_json(self) -> dict[str, Any]:
        """The fields of the sources, and ours beside them."""
        found = self.runway
        return {
            "project_id": self.project_id,
            "budget": {
                "usd_max": found.budget_usd, "usd_spent": found.spent_usd, "usd_reserved": found.reserved_usd,
                "burn_per_min": _rounded(found.burn_usd_per_min, 6),
            },
            "runway": {
                "minutes_to_depletion": _rounded(found.minutes_left, 2),
                "minutes_to_depletion_ci_90": _interval(found.depletion_90, 2),
                "projected_overrun_usd": _rounded(found.overrun_usd, 6),
                "projected_overrun_pct": _rounded(found.overrun_pct, 1),
                "projected_final_usd": _rounded(found.final_usd, 6),
                "projected_final_ci_90": _interval(found.final_90, 6),
                "overrun_probability": _rounded(found.overrun_chance, 4),
            },
            "left": {
                "tasks": self.left.tasks, "tasks_without_forecast": self.left.unknown,
                "repriced": [one.as_json() for one in self.left.repriced],
            },
            "status": found.status,
            "history": HISTORY.format(project_id=self.project_id),
        }  # fmt: skip


def budget_runway(registry: Registry, project_id: int, *, clock: Clock) -> dict[str, Any]:
    """What was spent, how fast, how long the budget lasts, and by how much it will be overrun.

    Raises:
        NotFound: no such project.
    """
    return project_runway(registry, project_id, clock=clock).as_json()


def project_runway(registry: Registry, project_id: int, *, clock: Clock) -> ProjectRunway:
    """The runway of a project as it stands.

    Raises:
        NotFound: no such project.
    """
    now = clock.now()
    with registry.asking() as ask:
        return runway_of(ask, project_id, now=now)


def runway_of(ask: Asking, project_id: int, *, now: datetime) -> ProjectRunway:
    """The runway of a project on an open snapshot.

    Raises:
        NotFound: no such project.
    """
    rows = store.runway_rows(ask, project_id, now=now, window=BURN_WINDOW)
    if rows is None:
        raise no_project(project_id)
    head, money = store.head_of(rows), store.spending_of(rows)
    left = NOTHING
    if not is_terminal("project", head.status):
        changed = repriced(ask, store.cells_of(rows), on=now.astimezone(UTC).date()) if rows.has_prices else {}
        left = remaining(
            rows.left, rows.priors, rows.planned, tuple(changed.values()), max_attempts=head.max_attempts,
            was_started=head.newest_run is not None,
        )  # fmt: skip
    found = runway(
        spent=float(money.spent), reserved=float(money.reserved),
        budget=None if head.budget_usd is None else float(head.budget_usd), left=left.total,
        activity=Activity(
            money.since, Spell(float(money.window_usd), receipts=money.window_receipts),
            Spell(float(money.run_usd), money.run_lumpiness or 1.0, money.run_receipts),
            Lumps(money.durations, money.duration_lumpiness or 1.0),
        ),
        now=now,
    )  # fmt: skip
    return ProjectRunway(project_id, head.status, head.breach_policy, found, left)


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)


def _interval(ends: Interval | None, places: int) -> list[float] | None:
    return None if ends is None else [round(end, places) for end in ends]
