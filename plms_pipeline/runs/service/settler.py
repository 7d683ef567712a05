"""What does a process that settles hold in its hands?

The world of measurements, the executor's client and the name of the process, put together once: for the thread of `plms
serve`, for a Dagster op, for a command that waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.estimates.actions.refreshing import warm_up
from plms_pipeline.kpis.actions.world import World, world_of
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.closing import close_due, close_runs
from plms_pipeline.runs.actions.reconcile import GRACE, ReconcileResult, reconcile_runs
from plms_pipeline.runs.actions.settle import MOST_EVENTS, SettleResult, count_due, settle_due
from plms_pipeline.runs.process import lease_holder
from plms_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did."""

    settled: SettleResult
    reconciled: ReconcileResult
    closed: int

    @property
    def did_something(self) -> bool:
        """Whether another tick may find more."""
        return self.settled.did_something or self.reconciled.did_something


class Settler:
    """Ticks: each settles what is due, looks after runs that a hint named, and closes runs that ended.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        pas: gives the client of the executor.
    """

    def __init__(self, settings: Settings, registry: Registry, clock: Clock, pas: Callable[[], PasClient]) -> None:
        self._settings, self._registry, self._clock, self._pas = settings, registry, clock, pas
        self._holder = f"{lease_holder()}:settle:{uuid4().hex[:6]}"
        self._is_warm = False

    @property
    def world(self) -> World:
        """What measurements reach the world through."""
        return world_of(
            registry=self._registry, settings=self._settings, clock=self._clock, new_id=lambda: str(uuid4()),
            elapsed=time.monotonic, sleep=time.sleep,
        )  # fmt: skip

    def due(self) -> int:
        """How many events and ends wait to be settled."""
        return count_due(self.world)

    def tick(self, *, limit: int = MOST_EVENTS, may_measure: bool = True) -> Tick:
        """Do what is due now.

        Args:
            limit: how many events at most.
            may_measure: False leaves what needs a child process to a caller with more time.

        Raises:
            Unavailable: the registry is away.
        """
        if not self._is_warm:
            warm_up(self._registry, now=self._clock.now(), alpha=self._settings.alpha)
            self._is_warm = True
        settled = settle_due(self.world, holder=self._holder, limit=limit, may_measure=may_measure)
        reconciled = ReconcileResult()
        if settled.hinted:
            reconciled = self.reconcile(only=settled.hinted)
        closed = self.close(settled.ended_runs)
        return Tick(settled, reconciled, closed)

    def reconcile(self, *, only: Collection[str] | None = None, grace: timedelta = GRACE) -> ReconcileResult:
        """Compare runs with the executor's status; what ended unheard waits in the inbox afterwards."""
        try:
            pas = self._pas()
        except PlmsError as error:
            return ReconcileResult(away=error.message)
        return reconcile_runs(
            self._registry, settings=self._settings, clock=self._clock, pas=pas, elapsed=time.monotonic, only=only,
            grace=grace,
        )  # fmt: skip

    def close(self, run_ids: Collection[str]) -> int:
        """Promote artifacts of runs that just ended and write their logs and reports; how many."""
        return close_runs(self._registry, settings=self._settings, clock=self._clock, run_ids=run_ids)

    def close_due(self) -> int:
        """The same for runs that ended while nobody closed them, and for those whose verdict was overridden since."""
        return len(close_due(self._registry, settings=self._settings, clock=self._clock))
