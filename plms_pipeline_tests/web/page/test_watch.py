"""Does everybody who listens hear of every commit, and does it cost what one listener costs?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from plms_pipeline.access.extras import IS_ENDING
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Forbidden, Unavailable
from plms_pipeline.portfolio.files import raise_flag
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Candidate, Project
from plms_pipeline.settings import Settings
from plms_pipeline.web.page import service
from plms_pipeline.web.page.service import Watch
from plms_pipeline_tests.api_world import world
from plms_pipeline_tests.runs.worlds import AT, planned_project

WAIT_S = 20.0


async def anybody() -> None:
    """Whoever listens may."""


def heard(part: bytes) -> tuple[str, dict[str, Any], str | None]:
    fields = dict(line.split(": ", 1) for line in part.decode().strip().split("\n"))
    return fields["event"], json.loads(fields["data"]), fields.get("id")


async def next_of(stream: AsyncIterator[bytes], name: str) -> tuple[dict[str, Any], str | None]:
    while True:
        event, data, event_id = heard(await asyncio.wait_for(anext(stream), WAIT_S))
        if event == name:
            return data, event_id


def rename(registry: Registry, project_id: int, name: str) -> None:
    with registry.writing() as session:
        session.execute(update(Project).where(Project.id == project_id).values(name=name))


def trained(registry: Registry) -> None:
    with registry.writing() as session:
        session.execute(
            insert(Candidate).values(
                candidate_id="c1", family="market", folder="automation_runs/c1", trials=1, gates_passed=True,
                **{f"{name}_sha256": "1" * 64 for name in ("model", "evaluation", "data", "manifest", "experiment")},
                alerts_json=[], action="promote", blockers_json=[], requested_by="ann", requested_by_verified=True,
                created_at=AT, expires_at=AT + timedelta(days=14),
            )
        )  # fmt: skip


@pytest.fixture
def watch(settings: Settings, registry: Registry, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Watch:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(service, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(service, "FRESH_S", 0.0)
    monkeypatch.setattr(service, "BEAT_EVERY_S", 0.05)
    planned_project(registry, project_id=42)
    return Watch(world(settings, registry, clock).state)


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def test_a_model_that_waits_and_one_that_is_decided_about_are_told_at_once(watch: Watch) -> None:
    """A risk lead who looks at the page must not have to load it again to see that a model waits, or no longer does."""
    registry = watch.state.registry

    async def scene() -> None:
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        trained(registry)
        assert (await next_of(stream, "change"))[0]["sections"] == ["inbox"]
        assert [one.kind for one in (await watch.snapshot()).waiting if one.subject == "c1"] == ["candidate"]
        with registry.writing() as session:
            session.execute(update(Candidate).values(state="expired"))
        assert (await next_of(stream, "change"))[0]["sections"] == ["inbox"]
        assert [one for one in (await watch.snapshot()).waiting if one.subject == "c1"] == []
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator

    run(scene)


def test_a_commit_is_told_to_everybody_and_read_once(watch: Watch) -> None:
    """A hundred walls that each ask the database are a hundred times its load."""

    async def scene() -> None:
        streams = [watch.events(None, anybody) for _ in range(20)]
        for stream in streams:
            await next_of(stream, "hello")
        before = watch.reads
        rename(watch.state.registry, 42, "renamed")
        for stream in streams:
            told, _ = await next_of(stream, "change")
            assert (told["sections"], told["projects"]) == (["projects"], [42])
        assert watch.reads == before + 1
        assert (await watch.snapshot()).projects[0].name == "renamed"
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert watch.streams == 0

    run(scene)


@pytest.mark.one_database
def test_whoever_comes_back_is_told_what_he_missed(watch: Watch) -> None:
    """The connection of a phone breaks in every lift."""

    async def scene() -> None:
        first, second = watch.events(None, anybody), watch.events(None, anybody)
        _, seen = await next_of(first, "hello")
        await next_of(second, "hello")
        await first.aclose()  # type: ignore[attr-defined]  # it is a generator
        rename(watch.state.registry, 42, "while he was away")
        _, newest = await next_of(second, "change")
        told, _ = await next_of(watch.events(seen, anybody), "change")
        assert told["projects"] == [42]
        assert heard(await anext(watch.events(newest, anybody)))[0] == "resumed"
        assert heard(await anext(watch.events("another-7", anybody)))[0] == "hello"

    run(scene)


@pytest.mark.one_database
def test_one_slow_look_does_not_put_off_the_next_one(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gave it no time for a minute was not looked at for four more: `make prove-page` found pages that old."""
    monkeypatch.setattr(service, "MOST_OF_THE_TIME", 1e-9)
    monkeypatch.setattr(service, "LONGEST_PAUSE_S", 0.02)

    async def scene() -> None:
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        rename(watch.state.registry, 42, "seen all the same")
        assert (await next_of(stream, "change"))[0]["projects"] == [42]

    run(scene)


@pytest.mark.one_database
def test_the_flag_file_is_seen_without_any_commit(watch: Watch) -> None:
    """It is what people put up when the registry is away."""

    async def scene() -> None:
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        raise_flag(watch.state.settings.data_dir, "smoke in the rack")
        told, _ = await next_of(stream, "change")
        assert told["sections"] == ["portfolio", "killswitch"]

    run(scene)


@pytest.mark.one_database
def test_a_registry_that_is_away_is_said_and_what_was_missed_is_told_after(watch: Watch) -> None:
    """A page that goes on looking live shows yesterday's runway."""
    read = watch.read

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("the registry does not answer", code="registry_unavailable")

    async def scene() -> None:
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        watch.read = away
        rename(watch.state.registry, 42, "unseen")
        while (told := (await next_of(stream, "beat"))[0])["blind"] is None:
            pass
        assert told["blind"]["code"] == "registry_unavailable"
        watch.read = read
        told, _ = await next_of(stream, "change")
        assert told["projects"] == [42]
        assert (await next_of(stream, "beat"))[0]["blind"] is None

    run(scene)


@pytest.mark.one_database
def test_a_stream_ends_with_the_right_to_read_and_with_the_server(watch: Watch) -> None:
    """A token that was withdrawn would be shown everything for as long as a tab is open; and Ctrl-C would wait for it."""

    async def nobody() -> None:
        raise Forbidden("Missing scope: projects.view", code="missing_scope")

    async def scene() -> None:
        told, _ = await next_of(watch.events(None, nobody), "bye")
        assert told["code"] == "missing_scope"
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        watch.state.extras[IS_ENDING] = lambda: True
        with pytest.raises(StopAsyncIteration):
            while True:
                await asyncio.wait_for(anext(stream), WAIT_S)

    run(scene)


@pytest.mark.one_database
def test_nobody_looks_while_nobody_listens(watch: Watch) -> None:
    """An idle server must be idle; and what happened meanwhile is in the first answer all the same."""

    async def scene() -> None:
        stream = watch.events(None, anybody)
        await next_of(stream, "hello")
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert watch._looking is not None
        await asyncio.wait_for(watch._looking, WAIT_S)  # a look that was under way ends in its own time
        reads = watch.reads
        rename(watch.state.registry, 42, "unheard")
        await asyncio.sleep(0.3)
        assert watch.reads == reads
        assert (await watch.snapshot()).projects[0].name == "unheard"

    run(scene)


@pytest.mark.one_database
def test_what_is_worked_out_is_worked_out_once_until_its_key_differs(watch: Watch) -> None:
    """Risk of a hundred projects for a hundred pages at once would be a hundred readings."""
    calls: list[object] = []

    async def scene() -> None:
        async def ask(key: object) -> object:
            return await watch.derived("it", key, lambda _registry, _snapshot: calls.append(key) or key)

        assert await asyncio.gather(*(ask(1) for _ in range(10))) == [1] * 10
        assert await ask(2) == 2
        assert calls == [1, 2]

    run(scene)


def test_hundred_projects_are_read_by_as_many_statements_as_one(watch: Watch) -> None:
    """One statement for each project is what made the first dashboards slow."""
    from sqlalchemy import event

    from plms_pipeline.registry.prepared import AskingDriver
    from plms_pipeline.web.page.actions.snapshot import read_snapshot

    registry, said = watch.state.registry, []
    event.listen(registry.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    original = AskingDriver.rows

    def counted(self: AskingDriver, prepared: Any, **values: Any) -> Any:
        said.append(prepared)
        return original(self, prepared, **values)

    def statements() -> int:
        said.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AskingDriver, "rows", counted)
            read_snapshot(registry, now=watch.state.clock.now() + timedelta(), outside=())
        return len(said)

    alone = statements()
    with registry.writing() as session:
        rows = [{"id": number, "name": "p", "status": "executing", "created_at": AT} for number in range(100, 200)]
        session.execute(insert(Project), rows)
    assert statements() == alone
    assert alone < 40
