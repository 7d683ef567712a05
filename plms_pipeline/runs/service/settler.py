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
from plms_pipeline.runs.actions.reconcile import ReconcileResult, reconcile_runs, resolve_suspects
from plms_pipeline.runs.actions.settle import MOST_EVENTS, SettleResult, count_due, settle_due
from plms_pipeline.runs.process import is_dead, lease_holder
from plms_pipeline.settings import Settings

LOOK_EVERY_S = 2.0
# Whoever settles rests as long as it took, so long at most: others write meanwhile, and what comes in is settled together.
LONGEST_REST_S = 0.3


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
        self._looked_s: float | None = None

    @property
    def world(self) -> World:
        """What measurements reach the world through."""
        return world_of(
            registry=self._registry, settings=self._settings, clock=self._clock, new_id=lambda: str(uuid4()),
            elapsed=time.monotonic, sleep=time.sleep,
        )  # fmt: skip

    @property
    def nothing(self) -> SettleResult:
        """What a tick did that found nothing due."""
        return SettleResult()

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
        settled = settle_due(self.world, holder=self._holder, limit=limit, may_measure=may_measure, is_dead=is_dead)
        reconciled = ReconcileResult()
        if settled.hinted:
            reconciled = self.reconcile(only=settled.hinted)
        closed = self.close(settled.ended_runs)
        return Tick(settled, reconciled, closed)

    def look(self) -> bool:
        """Ask the executor about every run, at most every other second: for a machine to which it cannot send events."""
        now_s = time.monotonic()
        if self._looked_s is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        return self.reconcile(age=timedelta(seconds=LOOK_EVERY_S)).did_something

    def reconcile(self, *, only: Collection[str] | None = None, age: timedelta | None = None) -> ReconcileResult:
        """Compare runs with the executor's status; what ended there unheard waits in the inbox afterwards.

        Args:
            only: just these runs, because a hint named them.
            age: younger runs are left to their events; default PLMS_RECONCILE_AFTER_S.
        """
        try:
            pas = self._pas()
        except PlmsError as error:
            return ReconcileResult(away=error.message)
        if only is None:
            resolve_suspects(self._registry, settings=self._settings, clock=self._clock, pas=pas)
        return reconcile_runs(
            self._registry, settings=self._settings, clock=self._clock, pas=pas, elapsed=time.monotonic, only=only,
            age=timedelta(seconds=self._settings.reconcile_after_s) if age is None else age,
        )  # fmt: skip

    def drain(
        self,
        *,
        idle_s: float,
        longest_s: float,
        after_each: Callable[[], object] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> SettleResult:
        """Tick until nothing came for `idle_s` seconds, or `longest_s` are over; what all ticks did.

        Args:
            after_each: called after each tick that did something: what ended makes room for what waits.
        """
        total, began = self.nothing, time.monotonic()
        last = began
        while time.monotonic() - began < longest_s:
            ticked = time.monotonic()
            tick = self.tick()
            total = total.plus(tick.settled)
            if tick.did_something:
                last = time.monotonic()
                after_each()
                sleep(min(last - ticked, LONGEST_REST_S))
            elif time.monotonic() - last >= idle_s:
                break
            else:
                sleep(min(0.5, idle_s))
        return total

    def close(self, run_ids: Collection[str]) -> int:
        """Promote artifacts of runs that just ended and write their logs and reports; how many."""
        return close_runs(self._registry, settings=self._settings, clock=self._clock, run_ids=run_ids)

    def close_due(self) -> int:
        """The same for runs that ended while nobody closed them, and for those whose verdict was overridden since."""
        return len(close_due(self._registry, settings=self._settings, clock=self._clock))
