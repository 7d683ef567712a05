"""From which parts is a serving process put together?

Clock, ids, stop watch, keys, registry, executor and cache meet here and nowhere else. What the threads beside the server do
is also told here: settle what arrived, dispatch what is due, look after the executor, write down what the cache did.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any
from uuid import uuid4

from plms_pipeline.access.actions import record_cache_episode
from plms_pipeline.access.actors import local_actor
from plms_pipeline.access.answers import AnswerCache, NoCache
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.files import KeyRing
from plms_pipeline.access.principals import unchecked
from plms_pipeline.access.routes import AppState
from plms_pipeline.clock import Clock, SystemClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.evidence.metrics import ObserverMetrics
from plms_pipeline.evidence.service.observer import Observer
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.pas.service import pas_client
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import require_head
from plms_pipeline.runs.letters.service import Retrier
from plms_pipeline.runs.routes.start import worlds_of
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.service.settler import Settler
from plms_pipeline.runs.stopping.actions import STOPPED
from plms_pipeline.runs.stopping.service import LOOK_EVERY_S, StopWatch
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.routes.app import create_app
from plms_pipeline.web.api.routes.ops import EXECUTOR_SEEN
from plms_pipeline.web.api.service.background import Background, Work

STOP_S = 10.0
# A burst of starts is one look at what is due, not one for each; nobody waits for these milliseconds.
GATHER_S = 0.05
EXECUTOR_EVERY_S = 15.0
CLOSE_EVERY_S = 15.0
RECONCILE_EVERY_S = 15.0
# The first wait of a dead letter is one second at most.
LETTERS_EVERY_S = 1.0
# How long a thread may keep the interpreter while others want it. A read gives it away at every statement, and each time a
# thread that computes in the background would keep it for the 5 ms that Python has by default: a read of eight statements
# then takes 40 ms.
SWITCH_S = 0.0002


def doorkeeper(settings: Settings, clock: Clock) -> Doorkeeper:
    """Who checks the tokens; with PLMS_AUTH=disabled nobody does.

    Raises:
        NoData: no keys were made yet (`no_token_keys`).
        BadInput: the keys cannot be used.
    """
    ring = KeyRing(settings.data_dir, settings.jwt_public_keys)
    everybody = unchecked(local_actor()) if settings.auth == "disabled" else None
    if everybody is None:
        ring.keys(clock.now())
    return Doorkeeper(ring.keys, clock, issuer=settings.jwt_issuer, audience=settings.jwt_audience, everybody=everybody)


@contextmanager
def running(settings: Settings) -> Iterator[Any]:
    """The ASGI application with everything behind it, and its threads at work; all of it ended when the block ends.

    Raises:
        Unavailable: the registry is away or not at head.
        NoData: no token keys were made yet.
    """
    clock = SystemClock()
    registry = Registry.open(settings.database_url)
    try:
        require_head(registry)
        episodes: deque[tuple[bool, str]] = deque(maxlen=100)
        state = AppState(
            settings=settings,
            registry=registry,
            clock=clock,
            ids=lambda: str(uuid4()),
            door=doorkeeper(settings, clock),
            pas=cache(lambda: pas_client(settings)),
            cache=answer_cache(settings, episodes),
            stopwatch=time.perf_counter,
        )
        watched = Registry.open(settings.database_url)
        watch = StopWatch(settings, watched, clock, state.pas)
        state.extras[STOPPED] = watch.reason
        background = Background((*works(state, episodes), Work("killswitch", watch.step, idle_s=LOOK_EVERY_S)))
        state.nudge = lambda *names: background.nudge(*(names or ("settle", "dispatch")))
        app = create_app(state)
        background.start()
        sys.setswitchinterval(SWITCH_S)
        # What exists by now stays: without this every full collection walks it again, and some request waits 50 ms for that.
        gc.collect()
        gc.freeze()
        try:
            with late_observer(state, app.state.metrics.registry):
                yield app
        finally:
            background.stop(STOP_S)
            watch.close()
            watched.close()
    finally:
        registry.close()


def late_observer(state: AppState, metrics: Any) -> AbstractContextManager[object]:
    """The observer of late evidence, counted among the metrics of this process; nothing where it is switched off.

    Raises:
        BadInput: the settings do not say where evidence lies.
    """
    if not state.settings.late_obs_enabled:
        return nullcontext()
    return beside(Observer(state.settings, state.registry, state.clock, metrics=ObserverMetrics(metrics)))


def answer_cache(settings: Settings, episodes: deque[tuple[bool, str]]) -> AnswerCache:
    """The cache of finished answers that the settings ask for. What happens to it is put into `episodes`."""
    if not settings.redis_is_used or settings.redis_url is None:
        return NoCache()
    from plms_pipeline.access.client import RedisAnswers

    return RedisAnswers(
        settings.redis_url,
        stopwatch=time.monotonic,
        lock=threading.Lock(),
        on_episode=lambda is_up, reason: episodes.append((is_up, reason)),
    )


def works(state: AppState, episodes: deque[tuple[bool, str]]) -> tuple[Work, ...]:
    """What the threads beside the server do."""
    dispatcher = Dispatcher(state.settings, state.registry, state.clock, state.pas, state.extras)
    settler = Settler(state.settings, state.registry, state.clock, state.pas)
    retrier = Retrier(
        state.settings, state.registry, state.clock, lambda: worlds_of(state).gathered(), dispatcher.stopped
    )  # fmt: skip
    return (
        Work("settle", lambda: settler.tick().did_something, wakes=("dispatch",)),
        Work("dispatch", lambda: dispatcher.tick().did_something, gather_s=GATHER_S),
        Work(
            "reconcile",
            lambda: settler.reconcile().did_something,
            wakes=("settle", "dispatch"),
            idle_s=min(RECONCILE_EVERY_S, state.settings.reconcile_after_s),
        ),
        Work("letters", lambda: retrier.tick().did_something, wakes=("dispatch",), idle_s=LETTERS_EVERY_S),
        Work("close", lambda: bool(settler.close_due()), idle_s=CLOSE_EVERY_S),
        Work("episodes", lambda: _write_episode(state, episodes), idle_s=1.0),
        Work("executor", lambda: _look_at_executor(state), idle_s=EXECUTOR_EVERY_S),
    )


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
