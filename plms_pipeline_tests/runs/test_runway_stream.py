"""The runway as a stream, and its history over HTTP."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from plms_pipeline.access.extras import IS_ENDING
from plms_pipeline.access.routes import AppState
from plms_pipeline.errors import Forbidden, NotFound, Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline.runs.service import runway_stream
from plms_pipeline.runs.service.runway_stream import BEAT, RunwayWatch
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask, world
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch


async def still_may() -> None:
    """Nobody took the right away."""


@pytest.fixture
def state(settings: Settings, sqlite_registry: Registry) -> AppState:
    Shelf(sqlite_registry).project(42, tokens=[1, 1])
    found: AppState = world(settings, sqlite_registry, Watch(AT)).app.state.plms
    return found


def payload(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"event: runway\ndata: ")
    found: dict[str, Any] = json.loads(event.partition(b"data: ")[2])
    return found


def change(state: AppState, usd: str) -> None:
    with state.registry.writing() as session:
        session.execute(update(Project).values(budget_cost_usd_max=Decimal(usd)))


@pytest.mark.one_database
def test_a_stream_tells_the_runway_at_once_and_then_each_change(state: AppState) -> None:
    """The page shows what the endpoint says, without asking for it."""

    async def follow() -> list[bytes]:
        watch = RunwayWatch(state, look_every_s=0.01)
        events = watch.events(42, await watch.opened(42), still_may)
        found = [await anext(events)]
        change(state, "5")
        found.append(await anext(events))
        assert watch.streams == 1
        await events.aclose()
        assert watch.streams == 0
        return found

    first, second = (payload(event) for event in asyncio.run(follow()))
    assert first["budget"]["usd_max"] == 2.0
    assert second == budget_runway(state.registry, 42, clock=state.clock)
    assert second["budget"]["usd_max"] == 5.0


@pytest.mark.one_database
def test_a_stream_beats_ends_with_the_server_and_with_the_right_to_read(state: AppState) -> None:
    """A silent stream is cut by proxies; one that never ends keeps the server from ending."""

    async def may_not() -> None:
        raise Forbidden("no more", code="missing_scope")

    async def follow() -> None:
        watch = RunwayWatch(state, look_every_s=0.01, beat_every_s=0.02)
        events = watch.events(42, await watch.opened(42), still_may)
        payload(await anext(events))
        assert await anext(events) == BEAT
        state.extras[IS_ENDING] = lambda: True
        assert [event async for event in events] == []
        state.extras[IS_ENDING] = lambda: False
        shut = watch.events(42, await watch.opened(42), may_not)
        assert len([event async for event in shut]) == 1
        assert watch.streams == 0

    asyncio.run(follow())


@pytest.mark.one_database
def test_streams_are_bounded_and_share_what_they_read(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is left open in a hundred tabs must not be a hundred questions a second."""

    async def follow() -> None:
        watch = RunwayWatch(state, look_every_s=60)
        with pytest.raises(NotFound):
            await watch.opened(7)
        many = [watch.events(42, await watch.opened(42), still_may) for _ in range(20)]
        for events in many:
            await anext(events)
        assert (watch.streams, watch.reads) == (20, 2)
        monkeypatch.setattr(runway_stream, "MOST_STREAMS", 20)
        with pytest.raises(Unavailable, match="20 streams"):
            await watch.opened(42)
        for events in many:
            await events.aclose()

    asyncio.run(follow())


@pytest.mark.one_database
def test_stream_and_history_need_the_right_to_read_and_a_project(sqlite_registry: Registry, settings: Settings) -> None:
    """What is refused for the runway is refused for its stream."""
    Shelf(sqlite_registry).project(42, tokens=[1])
    api = world(settings, sqlite_registry, Watch(AT))
    who = api.headers("viewer")
    for path in ("stream", "history"):
        assert ask(api.app, "GET", f"/api/projects/42/budget-runway/{path}").status_code == 401
        assert ask(api.app, "GET", f"/api/projects/77/budget-runway/{path}", headers=who).status_code == 404
    found = ask(api.app, "GET", "/api/projects/42/budget-runway/history", headers=who)
    assert found.json() == {"project_id": 42, "history": []}
    bad = ask(api.app, "GET", "/api/projects/42/budget-runway/history?since=2026-03-01T12:00:00", headers=who)
    assert (bad.status_code, bad.json()["code"]) == (400, "no_zone")
    assert ask(api.app, "GET", "/api/projects/42/budget-runway/history?since=0.5", headers=who).status_code == 422
