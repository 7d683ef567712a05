"""What does a process that dispatches hold in its hands?

Client, registry, clock, the name of the process and the data directory, put together once: for the thread of `plms serve`,
for a Dagster op, for a command that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.instance.process import is_dead
from plms_pipeline.pas.client import PasClient
from plms_pipeline.portfolio.actions.guards import end_dead_leases
from plms_pipeline.portfolio.actions.scheduling import DispatchPolicy, dispatch_policy
from plms_pipeline.portfolio.actions.switches import stop_reason
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.dispatch import DispatchResult, dispatch_due, has_work
from plms_pipeline.runs.actions.evidence import owed_by
from plms_pipeline.runs.actions.idempotency import forget_expired
from plms_pipeline.runs.actions.passports import restore_copies, write_due
from plms_pipeline.runs.actions.replay import compare_due
from plms_pipeline.runs.files.passports import write_comparison, write_copy
from plms_pipeline.runs.process import is_dead as is_dispatcher_dead
from plms_pipeline.runs.process import lease_holder
from plms_pipeline.runs.stopping.actions import known_stop
from plms_pipeline.settings import Settings

FORGET_EVERY = timedelta(minutes=5)
SWEEP_EVERY = timedelta(seconds=15)
ASK_EVERY = timedelta(seconds=60)


class Dispatcher:
    """Ticks: each hands over what is due and writes the copies of passports; may be called by any number of threads.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        pas: gives the client of the executor.
        extras: what else this process knows (see `runs.stopping.actions.known_stop`).
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        clock: Clock,
        pas: Callable[[], PasClient],
        extras: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._extras = extras
        self._settings, self._registry, self._clock, self._pas = settings, registry, clock, pas
        self._holder = lease_holder()
        self._forgot_at: datetime | None = None
        self._swept_at: datetime | None = None
        self._can_pause, self._asked_at = False, datetime.min.replace(tzinfo=UTC)

    def tick(self) -> DispatchResult:
        """Do what is due now.

        Raises:
            Unavailable: the registry is away.
        """
        self.write_copies()
        self._forget()
        compare_due(self._registry, clock=self._clock, holder=self._holder, write=self._write_comparison)
        return dispatch_due(
            self._registry,
            clock=self._clock,
            pas=self._pas(),
            holder=self._holder,
            data_dir=str(self._settings.data_dir),
            stopped=self.stopped,
            is_dead=is_dispatcher_dead,
            evidence=owed_by(self._settings),
            policy=self.policy(),
            sweeps=self._is_time_to_sweep(),
        )

    def policy(self) -> DispatchPolicy:
        """What bounds a tick now."""
        return dispatch_policy(self._settings, can_pause=self._executor_can_pause())

    def has_work(self) -> bool:
        """Whether anything is due. Reads only."""
        return has_work(self._registry, clock=self._clock)

    def stopped(self) -> str | None:
        """Why nothing may start at all, or None; what is stopped of a project or a lane is asked where that is decided."""
        return stop_reason(self._registry, flag=lambda: known_stop(self._extras, self._settings.data_dir))

    def write_copies(self) -> int:
        """Write the copies of passports that were asked for; how many."""
        return write_due(self._registry, clock=self._clock, holder=self._holder, write=self._write)

    def restore_copies(self) -> list[str]:
        """Write the newest runs' copies that are missing or differ; their runs."""
        return restore_copies(self._registry, write=self._write)

    def _executor_can_pause(self) -> bool:
        """Whether the executor pauses single tasks; asked now and then, and an executor that is away cannot."""
        now = self._clock.now()
        if self._settings.lane_preemption == "on" and abs(now - self._asked_at) >= ASK_EVERY:
            self._asked_at = now
            try:
                self._can_pause = "pause_task" in self._pas().health().capabilities
            except PlmsError:
                self._can_pause = False
        return self._can_pause

    def _is_time_to_sweep(self) -> bool:
        """Whoever makes cards ready queues them; now and then somebody has to look whether that was forgotten."""
        now = self._clock.now()
        if self._swept_at is not None and abs(now - self._swept_at) < SWEEP_EVERY:
            return False
        self._swept_at = now
        return True

    def _forget(self) -> None:
        """Now and then, remove answers and end the launcher's leases whose time is over."""
        now = self._clock.now()
        if self._forgot_at is None or abs(now - self._forgot_at) >= FORGET_EVERY:
            self._forgot_at = now
            forget_expired(self._registry, clock=self._clock)
            end_dead_leases(self._registry, clock=self._clock, is_dead=is_dead)

    def _write_comparison(self, run_id: str, text: str) -> bool:
        return write_comparison(self._settings.data_dir, run_id, text)

    def _write(self, run_id: str, text: str) -> bool:
        return write_copy(self._settings.data_dir, run_id, text)
