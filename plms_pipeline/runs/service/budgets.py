"""What does a process that looks after the money of projects hold in its hands?"""

from __future__ import annotations

import logging
from uuid import uuid4

from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.budget_check import Checked, check_budgets
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)


class BudgetWatch:
    """Looks at the money of projects that are due; any number of processes may.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
    """

    def __init__(self, settings: Settings, registry: Registry, clock: Clock) -> None:
        self._settings, self._registry, self._clock = settings, registry, clock

    def look(self) -> Checked:
        """One round.

        Raises:
            Unavailable: the registry is away.
        """
        done = check_budgets(
            self._registry, clock=self._clock, ids=lambda: str(uuid4()), every_s=self._settings.budget_check_s
        )
        for one in done.acted:
            log.warning("budget_breach project=%d did=%s runs_told=%d", one.project_id, one.what, one.runs_told)
        return done

    def step(self) -> bool:
        """One round; whether a policy acted, of which the dispatcher tells the executor."""
        return bool(self.look().acted)
