"""From which parts is a serving process put together?

Clock, ids, stop watch, keys, registry, executor and cache meet here and nowhere else. What the server need not do itself is
done by a process beside it (`worker.py`), which it asks through a pipe.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from plms_pipeline.access.answers import AnswerCache, NoCache
from plms_pipeline.access.routes import AppState
from plms_pipeline.clock import SystemClock
from plms_pipeline.evidence.metrics import ObserverMetrics
from plms_pipeline.evidence.service.observer import Observer
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.pas.service import pas_client
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import require_head
from plms_pipeline.runs.stopping.actions import STOPPED
from plms_pipeline.runs.stopping.service import watching
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.routes.app import create_app
from plms_pipeline.web.api.routes.ops import BACKGROUND_SEEN
from plms_pipeline.web.api.service.background import Background
from plms_pipeline.web.api.service.bell import Bell
from plms_pipeline.web.api.service.door import doorkeeper
from plms_pipeline.web.api.service.web_works import works_of_the_web
from plms_pipeline.web.api.service.worker import worker_beside

STOP_S = 10.0
# How long a thread may keep the interpreter while others want it. A read gives it away at every statement, and each time a
# thread that computes in the background would keep it for the 5 ms that Python has by default: a read of eight statements
# then takes 40 ms.
SWITCH_S = 0.0002


@contextmanager
def running(settings: Settings, heard_at: Path | None = None) -> Iterator[Any]:
    """The ASGI application with everything behind it, at work; all of it ended when the block ends.

    Args:
        settings: of this process; the process that works beside it reads the environment.
        heard_at: the pipe of a worker process that several web processes share; one of its own when omitted.

    Raises:
        Unavailable: the registry is away or not at head.
        NoData: no token keys were made yet.
    """
    clock = SystemClock()
    registry = Registry.open(settings.database_url, is_in_a_hurry=True)
    with ExitStack() as at_the_end:
        at_the_end.callback(registry.close)
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
        bell = Bell(heard_at or at_the_end.enter_context(worker_beside()))
        at_the_end.callback(bell.close)
        state.extras[BACKGROUND_SEEN] = bell.status

        def nudge(*names: str) -> None:
            bell.ring(*(names or ("settle", "dispatch")))

        state.nudge = nudge
        watch = at_the_end.enter_context(watching(settings, clock, state.pas))
        state.extras[STOPPED] = watch.reason
        background = Background(works_of_the_web(state, watch, episodes))
        app = create_app(state)
        background.start()
        at_the_end.callback(background.stop, STOP_S)
        sys.setswitchinterval(SWITCH_S)
        # What exists by now stays: without this every full collection walks it again, and some request waits 50 ms for that.
        gc.collect()
        gc.freeze()
        with late_observer(state, app.state.metrics.registry):
            yield app


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
