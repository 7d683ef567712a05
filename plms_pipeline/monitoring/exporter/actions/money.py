"""How do the budgets of all active projects stand? The arithmetic is the runway's, the statements ask for all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.monitoring.exporter.runways import ProjectMoney
from plms_pipeline.monitoring.exporter.store import money as store
from plms_pipeline.monitoring.exporter.store.money import Purse
from plms_pipeline.runs.views import BURN_WINDOW, burn

# A plan whose forecasts were changed without being estimated anew is read again after so long.
PLANS_ARE_OLD_AFTER: Final = timedelta(minutes=10)


@dataclass(slots=True)
class Money:
    """What is remembered between two pages: what tasks of each plan are expected to cost, by when the plan was estimated."""

    plans: dict[int, tuple[datetime | None, Mapping[str, float]]] = field(default_factory=dict)
    forgotten_at: datetime | None = None

    def read(self, session: Session, now: datetime) -> list[ProjectMoney]:
        """Every active project."""
        purses = store.active(session)
        ids = [purse.project_id for purse in purses]
        unknown = [purse.project_id for purse in purses if purse.settled is None]
        spent = store.spent(session, unknown)
        left = self._left(session, purses, now)
        since = store.running_since(session)
        window = store.spent_since(session, now - BURN_WINDOW)
        in_run = store.spent_by_running(session, [number for number in ids if number in since and number not in window])
        found = []
        for purse in purses:
            number = purse.project_id
            so_far = spent.get(number, 0.0) if purse.settled is None else purse.settled
            stands = burn(
                spent=so_far, budget=purse.budget, left_usd=left[number], active_since=since.get(number),
                window_usd=window.get(number, 0.0), run_usd=in_run.get(number, 0.0), now=now,
            )  # fmt: skip
            found.append(
                ProjectMoney(
                    purse.budget, so_far, purse.reserved, stands.usd_per_min, stands.minutes_left, stands.final_usd,
                    stands.status,
                )
            )  # fmt: skip
        return found

    def _left(self, session: Session, purses: Sequence[Purse], now: datetime) -> dict[int, float]:
        """Project → what tasks that have not ended are expected to cost; all planned ones while there is no run."""
        if self.forgotten_at is None or not timedelta(0) <= now - self.forgotten_at < PLANS_ARE_OLD_AFTER:
            self.plans, self.forgotten_at = {}, now
        none: tuple[object, Mapping[str, float]] = ("never read", {})
        new = [each for each in purses if self.plans.get(each.project_id, none)[0] != each.estimated_at]
        read = store.plans(session, [each.project_id for each in new])
        self.plans |= {each.project_id: (each.estimated_at, read[each.project_id]) for each in new}
        ids = [each.project_id for each in purses]
        working, tasks = store.open_tasks(session, ids)
        left = {number: 0.0 if number in working else math.fsum(self.plans[number][1].values()) for number in ids}
        for number, task in tasks:
            left[number] += self.plans[number][1].get(task, 0.0)
        return left
