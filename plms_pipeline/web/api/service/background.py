"""Who settles and dispatches right after an event, without making the sender wait?

A thread per kind of work, each woken by `nudge()` and otherwise every few seconds; the sensors of the daemon are the safety
net behind them. Threads, because a gate that is measured for minutes must not keep cards from going out, and neither may
hold the event loop. They keep no state of their own: killed at any point, the rows say what is left to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from plms_pipeline.errors import PlmsError

IDLE_S = 5.0
LONGEST_PAUSE_S = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Args:
        name: for the log and the thread.
        step: does what is due, a bounded amount; True when there may be more.
        wakes: the kinds of work that have something to do once this has done something.
        idle_s: seconds after which it looks without being asked.
        gather_s: seconds by which it lets several askings become one look.
        rest_s: after a step that did something it rests as long as that took, so many seconds at most: whoever else writes
            has waited meanwhile, and what comes in is done together. Whom it wakes need not wait for that.
    """

    name: str
    step: Callable[[], bool]
    wakes: tuple[str, ...] = ()
    idle_s: float = IDLE_S
    gather_s: float = 0.0
    rest_s: float = 0.0


class Background:
    """Runs each kind of work in a thread of its own until stopped."""

    def __init__(self, works: tuple[Work, ...]) -> None:
        self._stopping = threading.Event()
        self._alarms = {work.name: threading.Event() for work in works}
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), name=f"plms-{work.name}", daemon=True) for work in works
        ]

    def start(self) -> None:
        """Begin, with one look at everything."""
        self.nudge()
        for thread in self._threads:
            thread.start()

    def nudge(self, *names: str) -> None:
        """Ask for these kinds of work now, or for all; returns at once."""
        for name in names or self._alarms:
            if name in self._alarms:
                self._alarms[name].set()

    def stop(self, timeout_s: float) -> bool:
        """Ask every thread to end after its present step; False when one was still busy after `timeout_s` in all."""
        self._stopping.set()
        self.nudge()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _keep(self, work: Work) -> None:
        alarm, pause_s = self._alarms[work.name], work.idle_s
        while not self._stopping.is_set():
            if alarm.wait(pause_s) and work.gather_s:
                self._stopping.wait(work.gather_s)
            alarm.clear()
            pause_s = work.idle_s if self._drain(work) else min(2 * pause_s, LONGEST_PAUSE_S)

    def _drain(self, work: Work) -> bool:
        """Step until nothing is left; False when a step failed."""
        try:
            began = time.monotonic()
            while not self._stopping.is_set() and work.step():
                if work.wakes:
                    self.nudge(*work.wakes)
                if work.rest_s:
                    self._stopping.wait(min(time.monotonic() - began, work.rest_s))
                began = time.monotonic()
        except PlmsError as error:
            _log.warning("event=background_failed work=%s code=%s detail=%s", work.name, error.code, error.message)
            return False
        except Exception:  # noqa: BLE001 - a bug in one kind of work must not end it for good: the next event may differ
            _log.exception("event=background_failed work=%s", work.name)
            return False
        return True
