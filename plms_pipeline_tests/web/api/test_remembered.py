"""Is an answer given again only while nobody has written anything, and only to who may have it?"""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Response

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import ProjectId, State, of_the_books, requires
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.api import remembered
from plms_pipeline.web.api.store import table_count, version_reader
from plms_pipeline_tests.api_world import World, live, world

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Viewer = Annotated[Principal, requires("projects.view")]


def write(registry: Registry) -> None:
    """Any commit by anybody."""
    with registry.writing() as session:
        audit.record(session, at=AT, actor=Actor("x"), action="test", subject="x", outcome="x")


class Counting:
    """Routes that say how often they were really asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.router = APIRouter()
        self.router.get("/kept/{project_id}")(self._kept())
        self.router.get("/fresh/{project_id}")(self._fresh())
        self.router.post("/kept/{project_id}")(self._changed())

    def _kept(self) -> Any:
        @of_the_books
        def kept(
            project_id: ProjectId, _: Viewer, response: Response, say: str = "", status: int = 200
        ) -> dict[str, Any]:
            """Reads the books."""
            self.asked += 1
            response.status_code = status
            response.headers["x-of-the-route"] = say
            return {"id": project_id, "asked": self.asked, "long": "x" * (300_000 if say == "long" else 1)}

        return kept

    def _fresh(self) -> Any:
        def fresh(project_id: ProjectId, _: Viewer) -> dict[str, int]:
            """Reads the clock, too."""
            self.asked += 1
            return {"id": project_id, "asked": self.asked}

        return fresh

    def _changed(self) -> Any:
        def changed(project_id: ProjectId, state: State, _: Viewer) -> dict[str, int]:
            """Writes."""
            write(state.registry)
            return {"id": project_id}

        return changed


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def served(settings: Settings, registry: Registry, clock: FrozenClock, counting: Counting) -> World:
    return world(settings, registry, clock, routers=(counting.router,))


@pytest.fixture
def client(served: World) -> Iterator[httpx.Client]:
    with live(served.app) as found:
        found.headers.update(served.headers("viewer"))
        yield found


def test_an_answer_is_given_again_until_somebody_commits(
    client: httpx.Client, served: World, counting: Counting
) -> None:
    """The reason for having it, and the promise that makes it harmless."""
    assert [client.get("/kept/1").json()["asked"] for _ in range(5)] == [1] * 5
    write(served.state.registry)
    assert [client.get("/kept/1").json()["asked"] for _ in range(5)] == [2] * 5
    client.post("/kept/1")
    assert client.get("/kept/1").json()["asked"] == 3
    assert counting.asked == 3


@pytest.mark.live
def test_a_commit_of_another_process_counts(client: httpx.Client, served: World, registry_url: str) -> None:
    """The daemon settles while the API answers."""
    assert client.get("/kept/1").json()["asked"] == 1
    # Without the imports of this file, which take it seconds.
    script = (
        "import sys; from datetime import UTC, datetime; from plms_pipeline.access import store as audit; "
        "from plms_pipeline.access.actors import Actor; from plms_pipeline.registry.engine import Registry\n"
        f"AT = datetime({AT.year}, {AT.month}, {AT.day}, tzinfo=UTC)\n"
        f"{inspect.getsource(write)}\n"
        "write(Registry.open(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, registry_url], check=True)
    assert client.get("/kept/1").json()["asked"] == 2


def test_no_answer_is_older_than_the_last_commit(client: httpx.Client, served: World, counting: Counting) -> None:
    """Readers and a writer at once: whoever asks after a commit never gets what was answered before it."""
    stale: list[tuple[int, int]] = []

    def commit_and_look() -> None:
        with httpx.Client(base_url=client.base_url, headers=client.headers) as own:
            for _ in range(40):
                # Whatever was asked up to here was asked before this commit.
                before = counting.asked
                write(served.state.registry)
                answered = own.get("/kept/1").json()["asked"]
                if answered <= before:
                    stale.append((answered, before))

    threads = [threading.Thread(target=commit_and_look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stale == []


def test_each_question_has_its_own_answer(client: httpx.Client) -> None:
    """Path and query together are the question."""
    answers = {path: client.get(path).json() for path in ("/kept/1", "/kept/2", "/kept/1?say=b", "/kept/1?say=c")}
    assert len({answer["asked"] for answer in answers.values()}) == 4
    assert {path: client.get(path).json() for path in answers} == answers
    assert client.get("/kept/1?say=b").headers["x-of-the-route"] == "b"


def test_a_kept_answer_has_its_own_request_id_and_is_counted(client: httpx.Client) -> None:
    """A repetition is a request like any other."""
    ids = {client.get("/kept/1").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    line = 'plms_api_latency_seconds_count{endpoint="/kept/{project_id}",method="GET"} 3.0'
    assert line in client.get("/metrics").text


def test_who_may_not_ask_is_refused_however_often_it_was_answered(client: httpx.Client, served: World) -> None:
    """A cache before the door is a hole in the door."""
    assert client.get("/kept/1").status_code == 200
    assert httpx.get(f"{client.base_url}/kept/1").status_code == 401
    assert httpx.get(f"{client.base_url}/kept/1", headers=served.headers("pas")).status_code == 403
    old = served.token("viewer", now=AT - timedelta(days=1))
    assert httpx.get(f"{client.base_url}/kept/1", headers={"Authorization": f"Bearer {old}"}).status_code == 401


def test_what_is_not_marked_is_asked_each_time(client: httpx.Client) -> None:
    """An answer that takes something from the clock grows old without a commit."""
    assert [client.get("/fresh/1").json()["asked"] for _ in range(3)] == [1, 2, 3]


def test_errors_and_long_answers_are_not_kept(client: httpx.Client) -> None:
    """An outage must not be repeated after it is over, and memory is for answers, not for exports."""
    assert [client.get("/kept/1?status=404").json()["asked"] for _ in range(2)] == [1, 2]
    assert [client.get("/kept/1?say=long").json()["asked"] for _ in range(2)] == [3, 4]
    assert client.get("/kept/0").status_code == 422


def test_memory_is_bounded(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that walks through all ids would keep them all."""
    monkeypatch.setattr(remembered, "MAX_KEPT", 3)
    first = client.get("/kept/1").json()["asked"]
    for number in range(2, 6):
        client.get(f"/kept/{number}")
    assert client.get("/kept/1").json()["asked"] > first


def test_a_version_changes_with_every_commit_and_with_nothing_else(registry: Registry) -> None:
    """Reading, and a transaction that is rolled back, change nothing that anybody can see."""
    read = version_reader(registry)
    seen = [read()]
    for _ in range(5):
        write(registry)
        seen.append(read())
    assert None not in seen
    assert len(set(seen)) == 6
    with registry.reading() as session:
        table_count(session)
    assert read() == seen[-1]


def test_a_database_that_is_away_has_no_version() -> None:
    """Then nothing is given from memory and the route says what is wrong."""
    away = Registry.open("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=1")
    assert version_reader(away)() is None
