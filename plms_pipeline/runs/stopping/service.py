"""Who sees within a moment that a kill switch was turned on, even when the registry is away?

A look every quarter of a second: the flag file, the rows, and then whatever is to be asked and told. What runs is remembered
from the last look that succeeded, so that the executor can be told to pause it while the registry cannot be read; when it is
back that is written down. A registry that fails at once is away after 0.75 s, one that does not answer at all after 5 s,
because a slow answer is no reason to stop everything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.pas.client import PasClient, PasRefused
from plms_pipeline.portfolio.files import flag_reason, lower_flag, raise_flag
from plms_pipeline.portfolio.switch import TERMINATE_AFTER_S, UNREADABLE
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.runs.process import lease_holder
from plms_pipeline.runs.stopping import actions
from plms_pipeline.runs.stopping.actions import PAUSED, Stopping
from plms_pipeline.runs.stopping.store import Working
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.25
FAILING_S = 0.75
SILENT_S = 5.0
REMEMBER_EVERY_S = 0.5
AT_ONCE = 8
PATIENCE_S = 1.0


class StopWatch:
    """Looks after the kill switch for one process; any number of processes may.

    Args:
        settings: of this process.
        registry: open, at head; one of its own, so that a crowd of requests does not keep it waiting.
        clock: what time it is.
        pas: gives the client of the executor.
        monotonic_s: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        clock: Clock,
        pas: Callable[[], PasClient],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._registry, self._clock, self._pas = settings, registry, clock, pas
        self._monotonic_s = monotonic_s
        self._holder = lease_holder()
        self._file = sqlite_file(settings.database_url)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="plms-stop-look")
        self._tellers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="plms-stop-tell")
        self._asked: Future[Stopping] | None = None
        self._asked_at_s = 0.0
        self._failing_since_s: float | None = None
        self._remembered: list[Working] = []
        self._remembered_at_s: float | None = None
        self._away_since_s: float | None = None
        self._acknowledged: dict[str, bool] = {}

    def step(self) -> bool:
        """One look; always False, so that whoever runs it waits before the next."""
        try:
            found = self._look()
        except Exception as error:  # noqa: BLE001 - whatever the reason, nobody knows then whether the switch is on
            self._failed(error)
        else:
            if found is not None:
                self._answered(found)
        return False

    def reason(self) -> str | None:
        """Why nothing may start while the registry cannot be read; None when it can.

        A file that is gone counts from that moment on: a process keeps it open, and would go on writing what nobody reads.
        """
        return UNREADABLE if self._away_since_s is not None or self._is_gone() else None

    def close(self) -> None:
        """Let the threads end."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._tellers.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> Stopping | None:
        """What is stopped; None while the registry has not answered yet.

        Raises:
            Exception: it cannot be read, or has not answered for too long.
        """
        if self._is_gone():
            raise FileNotFoundError(str(self._file))
        if self._asked is None:
            flag = flag_reason(self._settings.data_dir)
            self._asked = self._reader.submit(actions.look, self._registry, clock=self._clock, flag=flag)
            self._asked_at_s = self._monotonic_s()
        try:
            found = self._asked.result(timeout=LOOK_EVERY_S)
        except NoAnswer:
            if self._asked.done():
                self._asked = None
                raise
            if self._monotonic_s() - self._asked_at_s >= SILENT_S:
                raise
            return None
        except BaseException:
            self._asked = None
            raise
        self._asked = None
        return found

    def _is_gone(self) -> bool:
        return self._file is not None and not self._file.exists()

    def _answered(self, found: Stopping) -> None:
        self._failing_since_s = None
        now_s = self._monotonic_s()
        try:
            if self._away_since_s is not None:
                paused = sum(self._acknowledged.values())
                actions.record_outage(self._registry, clock=self._clock, paused=paused)
                log.warning("registry_back paused=%d", paused)
                self._away_since_s, self._acknowledged = None, {}
            if found.stops or found.asked:
                self._tell()
            if self._remembered_at_s is None or now_s - self._remembered_at_s >= REMEMBER_EVERY_S:
                self._remembered = actions.working(self._registry)
                self._remembered_at_s = now_s
        except PlmsError as error:
            log.warning("stopping_failed code=%s", error.code)

    def _tell(self) -> None:
        taken, waiting = actions.tell(
            self._registry, clock=self._clock, pas=self._pas(), holder=self._holder, together=self._tellers.map
        )
        if taken or waiting:
            log.warning("kill_switch told=%d waiting=%d", taken, waiting)

    def _failed(self, error: Exception) -> None:
        now_s = self._monotonic_s()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if not isinstance(error, NoAnswer) and now_s - self._failing_since_s < FAILING_S:
            return
        if self._away_since_s is None:
            self._away_since_s = now_s
            log.error("registry_unreadable error=%s runs=%d", type(error).__name__, len(self._remembered))
        self._pause_remembered(end=now_s - self._away_since_s >= TERMINATE_AFTER_S)

    def _pause_remembered(self, *, end: bool) -> None:
        """Ask the executor to pause, or after a minute to end, what ran when the registry was last read."""
        left = [run for run in self._remembered if not self._acknowledged.get(run.run_id)]
        if not left:
            return
        pas = self._pas()

        def told(run: Working) -> bool:
            try:
                answer = (pas.terminate if end else pas.pause)(run.executor_id, UNREADABLE)
            except PasRefused:
                return True
            except PlmsError:
                return False
            return answer.status in PAUSED

        for run, is_done in zip(left, self._tellers.map(told, left), strict=True):
            self._acknowledged[run.run_id] = is_done


@contextmanager
def watching(settings: Settings, clock: Clock, pas: Callable[[], PasClient]) -> Iterator[StopWatch]:
    """A watch with a registry of its own, while the block runs; somebody calls its `step` every `LOOK_EVERY_S`."""
    with ExitStack() as at_the_end:
        registry = Registry.open(settings.database_url)
        at_the_end.callback(registry.close)
        watch = StopWatch(settings, registry, clock, pas)
        at_the_end.callback(watch.close)
        yield watch


def is_unreadable(error: PlmsError) -> bool:
    """Whether it says that the registry is away or damaged: then nobody knows what is written there, and the flag decides."""
    return isinstance(error, Unavailable)


@contextmanager
def flag_unless_written(data_dir: Path, reason: str, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Put the flag up when the block, which writes the switch into the registry, takes long or cannot.

    A registry that is locked answers after half a minute, one that is damaged never, and who pulls the switch may lose
    patience: what spends must have stopped by then. Where the block succeeds late the flag is taken down again, if it was not
    up before.
    """
    was_up, raised = flag_reason(data_dir) is not None, threading.Event()

    def put_up() -> None:
        if not was_up:
            raise_flag(data_dir, reason)
            raised.set()

    late = threading.Timer(patience_s, put_up)
    late.daemon = True
    late.start()
    try:
        yield
    except BaseException as error:
        late.cancel()
        late.join()
        # What was asked for wrongly (no reason, say) stops nothing.
        is_refusal = isinstance(error, PlmsError) and not is_unreadable(error)
        if is_refusal and raised.is_set():
            lower_flag(data_dir)
        elif not is_refusal and not was_up:
            raise_flag(data_dir, reason)
        raise
    late.cancel()
    late.join()
    if raised.is_set():
        lower_flag(data_dir)
