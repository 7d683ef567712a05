"""How do the budgets of all active projects stand?

What was spent, and how fast, is read now; what a project will have cost is a forecast, which whoever watches the budgets made
within the last minutes (`runway_snapshots`). Making it here would take seconds for a thousand projects. One that is older, or
was never made, is not told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.budget.runway import BURN_WINDOW, Activity, Spell, runway_to
from plms_pipeline.monitoring.exporter.runways import ProjectMoney
from plms_pipeline.monitoring.exporter.store import money as store

# Idle projects are looked at every ten minutes.
FORECASTS_ARE_OLD_AFTER: Final = timedelta(minutes=15)


def stand(session: Session, now: datetime, *, has_forecasts: bool) -> list[ProjectMoney]:
    """Every active project.

    Args:
        has_forecasts: whether this registry has the tables in which they lie.
    """
    purses = store.active(session)
    spent = store.spent(session, [purse.project_id for purse in purses if purse.settled is None])
    since = store.running_since(session)
    window = store.spent_since(session, now - BURN_WINDOW)
    quiet = [purse.project_id for purse in purses if purse.project_id in since and not window.get(purse.project_id)]
    in_run = store.spent_by_running(session, quiet)
    forecasts = store.forecasts(session, now - FORECASTS_ARE_OLD_AFTER) if has_forecasts else {}
    found = []
    for purse in purses:
        number = purse.project_id
        so_far = spent.get(number, 0.0) if purse.settled is None else purse.settled
        final = forecasts.get(number)
        activity = Activity(since.get(number), Spell(window.get(number, 0.0)), Spell(in_run.get(number, 0.0)))
        standing = runway_to(
            spent=so_far, reserved=purse.reserved, budget=purse.budget, activity=activity, now=now,
            # What was spent since the forecast was made is not less than what it said.
            final=None if final is None else max(final, so_far),
        )  # fmt: skip
        found.append(ProjectMoney(standing, number in forecasts))
    return found
