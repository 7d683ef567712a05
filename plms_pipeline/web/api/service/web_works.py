"""What does a web process do by itself, behind the answers that it gives?"""

from __future__ import annotations

from collections import deque
from typing import Any

from plms_pipeline.access.actions import record_cache_episode
from plms_pipeline.access.routes import AppState
from plms_pipeline.errors import PlmsError
from plms_pipeline.runs.routes.start import worlds_of
from plms_pipeline.runs.stopping.service import StopWatch
from plms_pipeline.web.api.routes.ops import EXECUTOR_SEEN
from plms_pipeline.web.api.service.background import Work
from plms_pipeline.web.api.service.works import look_at_switch

EXECUTOR_EVERY_S = 15.0


def works_of_the_web(state: AppState, watch: StopWatch, episodes: deque[tuple[bool, str]]) -> tuple[Work, ...]:
    """Look after the executor and the kill switch, write down what the cache did."""
    return (
        look_at_switch(watch),
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
