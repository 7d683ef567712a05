"""How does a page follow the runway of a project without asking again and again?

Each project that somebody follows is read once a second whoever follows it, in a thread, and told to everybody when it has
changed. Minutes pass by themselves: a runway of which only the time has moved on is told every fifteen seconds. The obvious
version reads for each page, and is never told that the server is to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from plms_pipeline.access.extras import IS_ENDING
from plms_pipeline.access.routes import AppState
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline.runs.actions.views_told import as_json

LOOK_EVERY_S: Final = 1.0
BEAT_EVERY_S: Final = 15.0
MOST_STREAMS: Final = 200
WATCH: Final = "runway_watch"
# Set by the server: whether it is asked to end.
BEAT: Final = b": still here\n\n"


@dataclass(slots=True)
class _Seen:
    at_s: float
    told: dict[str, Any]


@dataclass
class RunwayWatch:
    """The streams of one process.

    Args:
        state: registry, clock, and what the server has put into `extras`.
        look_every_s, beat_every_s: shorter in tests.
    """

    state: AppState
    look_every_s: float = LOOK_EVERY_S
    beat_every_s: float = BEAT_EVERY_S
    streams: int = field(default=0, init=False)
    reads: int = field(default=0, init=False)
    _seen: dict[int, _Seen] = field(default_factory=dict, init=False)

    async def opened(self, project_id: int) -> dict[str, Any]:
        """The runway that a new stream begins with.

        Raises:
            Unavailable: there are as many streams as this process bears (`too_many_streams`).
            NotFound: no such project.
        """
        if self.streams >= MOST_STREAMS:
            raise Unavailable(
                f"{MOST_STREAMS} streams are open here, which is all that one process bears; ask GET "
                f"/api/projects/{project_id}/budget-runway from time to time instead.",
                code="too_many_streams",
            )
        return await self._look(project_id)

    async def events(
        self, project_id: int, first: dict[str, Any], still_may: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[bytes]:
        """The events of one stream, until the server ends or the reader may not read any more."""
        self.streams += 1
        try:
            told, told_at_s = first, self._now()
            yield _event(told)
            while not self._is_ending():
                await asyncio.sleep(self.look_every_s)
                is_beat = self._now() - told_at_s >= self.beat_every_s
                try:
                    if is_beat:
                        await still_may()
                    found = await self._look(project_id)
                except Unavailable:
                    # The registry is away: who follows learns of it by silence between heartbeats, and goes on after it.
                    found = told
                except PlmsError:
                    return
                if _lasting(found) != _lasting(told) or (is_beat and found != told):
                    told, told_at_s = found, self._now()
                    yield _event(told)
                elif is_beat:
                    told_at_s = self._now()
                    yield BEAT
        finally:
            self.streams -= 1
            if not self.streams:
                self._seen.clear()

    async def _look(self, project_id: int) -> dict[str, Any]:
        known = self._seen.get(project_id)
        if known is not None and self._now() - known.at_s < self.look_every_s / 2:
            return known.told
        self.reads += 1
        told = await asyncio.to_thread(budget_runway, self.state.registry, project_id, clock=self.state.clock)
        self._seen[project_id] = _Seen(self._now(), told)
        return told

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _is_ending(self) -> bool:
        ending: Callable[[], bool] | None = self.state.extras.get(IS_ENDING)
        return ending is not None and ending()


def watch_of(state: AppState) -> RunwayWatch:
    """The watch of an application."""
    watch: RunwayWatch = state.extras.setdefault(WATCH, RunwayWatch(state))
    return watch


def _event(told: dict[str, Any]) -> bytes:
    return b"event: runway\ndata: " + as_json(told) + b"\n\n"


def _lasting(told: dict[str, Any]) -> dict[str, Any]:
    """What does not change by the passing of time alone."""
    budget, runway = dict(told["budget"]), dict(told["runway"])
    budget.pop("burn_per_min")
    for name in ("minutes_to_depletion", "minutes_to_depletion_ci_90"):
        runway.pop(name)
    return {**told, "budget": budget, "runway": runway}
