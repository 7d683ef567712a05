"""What is there to do behind the answers, and how often is it looked for?

Two lists. What concerns the books is the work of a process beside the web processes (`worker.py`); what a web process itself
must know or write down is done by threads of its own, and costs them next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from plms_pipeline.access.actions import record_cache_episode
from plms_pipeline.access.routes import AppState
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.letters.service import Retrier
from plms_pipeline.runs.routes.start import worlds_of
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.service.settler import Settler
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.runs.stopping.actions import STOPPED
from plms_pipeline.runs.stopping.service import LOOK_EVERY_S, StopWatch
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.routes.ops import EXECUTOR_SEEN
from plms_pipeline.web.api.service.background import Work

# A burst of starts is one look at what is due, not one for each; nobody waits for these milliseconds.
GATHER_S = 0.05
EXECUTOR_EVERY_S = 15.0
CLOSE_EVERY_S = 15.0
RECONCILE_EVERY_S = 15.0
# The first wait of a dead letter is one second at most.
LETTERS_EVERY_S = 1.0


def works_of_the_books(
    settings: Settings, registry: Registry, clock: Clock, pas: Callable[[], PasClient], watch: StopWatch
) -> tuple[Work, ...]:
    """Settle what arrived, dispatch what is due, find what was never told, try again what failed, close what ended."""
    dispatcher = Dispatcher(settings, registry, clock, pas, {STOPPED: watch.reason})
    settler = Settler(settings, registry, clock, pas)
    worlds = Worlds(settings, pas)
    retrier = Retrier(settings, registry, clock, worlds.gathered, dispatcher.stopped)
    return (
        Work("settle", lambda: settler.tick().did_something, wakes=("dispatch",)),
        Work("dispatch", lambda: dispatcher.tick().did_something, gather_s=GATHER_S),
        Work(
            "reconcile",
            lambda: settler.reconcile().did_something,
            wakes=("settle", "dispatch"),
            idle_s=min(RECONCILE_EVERY_S, settings.reconcile_after_s),
        ),
        Work("letters", lambda: retrier.tick().did_something, wakes=("dispatch",), idle_s=LETTERS_EVERY_S),
        Work("close", lambda: bool(settler.close_due()), idle_s=CLOSE_EVERY_S),
        _look_at_switch(watch),
    )


def works_of_the_web(state: AppState, watch: StopWatch, episodes: deque[tuple[bool, str]]) -> tuple[Work, ...]:
    """Look after the executor and the kill switch, write down what the cache did."""
    return (
        _look_at_switch(watch),
        Work("episodes", lambda: _write_episode(state, episodes), idle_s=1.0),
        Work("executor", lambda: _look_at_executor(state), idle_s=EXECUTOR_EVERY_S),
    )


def _look_at_switch(watch: StopWatch) -> Work:
    return Work("killswitch", watch.step, idle_s=LOOK_EVERY_S)


def _write_episode(state: AppState, episodes: deque[tuple[bool, str]]) -> bool:
    """Write down one outage of the cache; it stays in the queue until it is written."""
    if not episodes:
        return False
    is_up, reason = episodes[0]
    record_cache_episode(state.registry, at=state.clock.now(), is_up=is_up, reason=reason)
    episodes.popleft()
    return True


def _look_at_executor(state: AppState) -> bool:
    """Ask PAS how it is, so that `/readyz` knows without making anybody wait."""
    seen: dict[str, Any] = {"is_up": True, "asked_at": state.clock.now().isoformat()}
    try:
        answer = state.pas().health()
        seen["answer"] = str(answer.status)
    except PlmsError as error:
        seen = {**seen, "is_up": False, "error": error.code}
    state.extras[EXECUTOR_SEEN] = seen
    worlds = worlds_of(state)
    if seen["is_up"] and worlds.is_stale:
        worlds.refresh()
    return False
