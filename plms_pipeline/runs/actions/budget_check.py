"""Whose money is due to be looked at, how does it stand, and does its policy have to act?

A look at a project under way every minute, at one at rest every ten: the history takes what has changed, and a breach is acted
upon in the same look. Any number of processes look; each project is looked at by one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from plms_pipeline.budget.history import store as history
from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json, to_usd
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.actions.breach import Acted, apply_breach_policies
from plms_pipeline.runs.actions.runway import ProjectRunway, project_runway
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.store import breaches as store
from plms_pipeline.runs.store import projects

IDLE_EVERY_S: Final = 600.0
# A look that comes a little early (two timers never beat as one) is not put off for a whole round.
EARLY: Final = 0.9
MOST_HISTORY: Final = 2000


@dataclass(frozen=True, slots=True)
class Checked:
    """What a round did: projects looked at, looks that were new to the history, and what policies did."""

    looked_at: int
    remembered: int
    acted: tuple[Acted, ...]


def check_budgets(
    registry: Registry, *, clock: Clock, ids: NewId, every_s: float, idle_every_s: float = IDLE_EVERY_S
) -> Checked:
    """Look at every project that is due.

    Args:
        every_s, idle_every_s: between two looks at a project that works, and at one that rests.
    """
    now = clock.now()
    with registry.reading() as session:
        projects_now, last = store.looked_at(session), history.last_checks(session)
    due = [
        (project, now - timedelta(seconds=EARLY * (every_s if is_active else max(every_s, idle_every_s))))
        for project, is_active in projects_now.items()
    ]
    # A moment in the future is a clock that was set back.
    due = [(project, before) for project, before in due if project not in last or not before < last[project] <= now]
    looked, remembered = [], 0
    for project, before in due:
        seen = project_runway(registry, project, clock=clock)
        with registry.writing() as session:
            known = history.take(session, project, now=now, before=before)
            if known is None:
                continue
            looked.append(project)
            row = snapshot(seen)
            digest = _digest(row)
            if digest != known:
                history.remember(session, project, digest=digest, at=now, seen=row)
                remembered += 1
    return Checked(
        len(looked), remembered, tuple(apply_breach_policies(registry, clock=clock, ids=ids, project_ids=looked))
    )


def snapshot(seen: ProjectRunway) -> dict[str, Any]:
    """A look as a row of the history."""
    found = seen.runway
    minutes, final = found.depletion_90 or (None, None), found.final_90 or (None, None)
    return {
        "spent_usd": to_usd(found.spent_usd), "reserved_usd": to_usd(found.reserved_usd),
        "budget_usd": None if found.budget_usd is None else to_usd(found.budget_usd),
        "burn_usd_per_min": _rounded(found.burn_usd_per_min, 6), "minutes_left": _rounded(found.minutes_left, 2),
        "minutes_low": _rounded(minutes[0], 2), "minutes_high": _rounded(minutes[1], 2),
        "final_usd": _rounded(found.final_usd, 6), "final_low": _rounded(final[0], 6),
        "final_high": _rounded(final[1], 6), "overrun_usd": _rounded(found.overrun_usd, 6),
        "tasks_left": seen.left.tasks, "status": found.status,
    }  # fmt: skip


def _digest(row: Mapping[str, Any]) -> str:
    told = {name: str(value) for name, value in row.items()}
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()


def runway_history(
    registry: Registry, project_id: int, *, since: datetime | None = None, limit: int = 500
) -> dict[str, Any]:
    """How the money of a project stood, oldest first: at most `limit` newest looks, after `since`.

    Raises:
        NotFound: no such project.
    """
    with registry.reading() as session:
        if not projects.id_is_taken(session, project_id):
            raise no_project(project_id)
        rows = history.history(session, project_id, since=since, limit=min(limit, MOST_HISTORY))
    return {"project_id": project_id, "history": [_told(row) for row in rows]}


def _told(row: Any) -> dict[str, Any]:
    told = dict(zip(history.COLUMNS, row, strict=True))
    for name in ("spent_usd", "reserved_usd", "budget_usd"):
        told[name] = None if told[name] is None else float(told[name])
    return told | {"at": told["at"].isoformat()}


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
