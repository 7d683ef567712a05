"""Single runs over HTTP: shown, followed, called off, repeated, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, OutboxEvent, RunLineage
from plms_pipeline.runs.actions.closing import close_due
from plms_pipeline.runs.session_fields import SessionReport as ReportFields
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, live, world
from plms_pipeline_tests.runs.test_replay import closed, end
from plms_pipeline_tests.runs.worlds import PROVIDERS, planned_project

NOBODY = "/api/runs/00000000-0000-4000-8000-000000000000"


@dataclass
class Executor:
    """What a start asks of an executor."""

    providers: dict[str, str] = field(default_factory=lambda: dict(PROVIDERS))

    def provider_state(self) -> Any:
        return SimpleNamespace(providers=self.providers)

    def health(self) -> Any:
        return SimpleNamespace(capabilities=("cancel_card",))


@pytest.fixture
def executor() -> Executor:
    return Executor()


@pytest.fixture
def api(settings: Settings, registry: Registry, executor: Executor) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    planned_project(registry)
    return world(settings, registry, SystemClock(), pas=lambda: executor)


@pytest.fixture
def client(api: World) -> Iterator[httpx.Client]:
    with live(api.app) as found:
        found.headers.update(api.headers("operator", "ann"))
        yield found


def started(client: httpx.Client) -> str:
    answer = client.post("/api/projects/42/start", json={}, headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


def replay(client: httpx.Client, run_id: str, key: str, **body: object) -> httpx.Response:
    return client.post(f"/api/runs/{run_id}/replay", json=body, headers={"Idempotency-Key": key})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_run_is_listed_shown_and_its_log_told(client: httpx.Client) -> None:
    """Whoever has only HTTP must see what `plms run list`, `show` and `follow` print."""
    run_id = started(client)
    [listed] = client.get("/api/runs", params={"project_id": 42, "status": "QUEUED"}).json()["runs"]
    shown = client.get(f"/api/runs/{run_id}").json()
    assert (listed["run_id"], listed["tasks_by_status"]) == (run_id, {"QUEUED": 4})
    assert {name: shown[name] for name in listed} == listed
    assert [task["task_id"] for task in shown["tasks"]] == ["a", "b", "c", "d"]
    log = client.get(f"/api/runs/{run_id}/log").json()
    assert (log["status"], log["has_ended"]) == ("QUEUED", False)
    assert {"kind", "subject", "from", "to", "actor", "at", "reason"} == set(log["lines"][0])
    assert client.get("/api/runs", params={"project_id": 7}).json() == {"runs": []}


def test_runs_are_paged_to_the_last_one(client: httpx.Client) -> None:
    """Beyond the first hundred a run could not be found; pages must neither skip nor repeat while more are started."""
    ids = [started(client) for _ in range(5)]
    first = client.get("/api/runs", params={"limit": 2}).json()
    assert first["next_after"] == ids[3]
    newer = started(client)
    pages, cursor = [first["runs"]], first["next_after"]
    while cursor is not None:
        page = client.get("/api/runs", params={"limit": 2, "after": cursor, "project_id": 42}).json()
        pages.append(page["runs"])
        cursor = page["next_after"]
    assert [row["run_id"] for page in pages for row in page] == ids[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]
    whole = client.get("/api/runs").json()
    assert [row["run_id"] for row in whole["runs"]] == [newer, *ids[::-1]]
    assert list(whole) == ["runs"], "who does not page gets the answer as it was"
    assert client.get("/api/runs", params={"after": ids[0]}).json() == {"runs": [], "next_after": None}


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("query", "told"),
    [({"limit": 0}, (422, "validation_failed")), ({"limit": 1001}, (422, "validation_failed")),
     ({"after": "../x"}, (422, "validation_failed")), ({"after": "nobody"}, (404, "unknown_cursor"))],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused(client: httpx.Client, query: dict[str, Any], told: tuple[int, str]) -> None:
    """An empty page for a misspelt cursor would read as the end of the list."""
    assert code(client.get("/api/runs", params=query)) == told


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["", "/log", "/report", "/replay", "/comparison"])
def test_a_run_that_is_not_there_is_404(client: httpx.Client, path: str) -> None:
    """`run_not_found` tells a misspelt id from a run without a report."""
    answer = client.get(NOBODY + path)
    assert code(answer) == (404, "run_not_found")
    assert "GET /api/runs show" in answer.json()["detail"]


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/metrics", "/status", "/budget-runway", "/simulate"])
def test_a_project_that_is_not_there_is_404_with_where_to_look(client: httpx.Client, path: str) -> None:
    """Whoever mistyped an id needs the list of those that exist, not the word `not found` alone."""
    answer = client.get(f"/api/projects/4711{path}")
    assert code(answer) == (404, "project_not_found")
    assert "GET /api/projects show" in answer.json()["detail"]


def test_a_run_is_called_off_once_and_audited(client: httpx.Client, registry: Registry) -> None:
    """Nothing was handed out, so it ends at once; what has ended never changes."""
    run_id = started(client)
    answer = client.post(f"/api/runs/{run_id}/cancel", json={"reason": "wrong branch"})
    assert (answer.status_code, answer.json()) == (200, {"run_id": run_id, "has_ended": True})
    shown = client.get(f"/api/runs/{run_id}").json()
    assert (shown["status"], "wrong branch" in shown["reason"]) == ("SKIPPED", True)
    assert client.get(f"/api/runs/{run_id}/log").json()["has_ended"]
    assert code(client.post(f"/api/runs/{run_id}/cancel")) == (409, "run_ended")
    assert code(client.post(f"{NOBODY}/cancel")) == (404, "run_not_found")
    with registry.reading() as session:
        assert session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "run.cancel")).all() == ["ann"]


def test_a_run_that_is_under_way_is_ended_by_the_executor(client: httpx.Client, registry: Registry) -> None:
    """The money stops when the executor stops; until then the run is not said to have ended, and asking again is safe."""
    run_id = started(client)
    with registry.writing() as session:
        from plms_pipeline.runs.store.transitions import move_run

        move_run(
            session, run_id, expected="QUEUED", new="RUNNING", at=SystemClock().now(), actor="dispatcher", reason=None
        )
    for _ in range(2):
        answer = client.post(f"/api/runs/{run_id}/cancel")
        assert (answer.status_code, answer.json()["has_ended"]) == (200, False)
    with registry.reading() as session:
        asked = session.scalars(select(OutboxEvent.kind).where(OutboxEvent.subject_id == run_id)).all()
    assert asked.count("terminate_run") == 1


def test_a_replay_is_started_once_per_key(client: httpx.Client, registry: Registry) -> None:
    """A client that lost the answer repeats the request: the same answer, no second run."""
    run_id = started(client)
    assert code(replay(client, run_id, str(uuid4()))) == (409, "run_not_ended")
    end(registry, run_id)
    assert client.get(f"/api/runs/{run_id}/replay").json() == {
        "run_id": run_id, "would_repeat": True, "differences": [],
    }  # fmt: skip
    key = str(uuid4())
    first, again = replay(client, run_id, key), replay(client, run_id, key)
    assert [each.headers["Idempotent-Replay"] for each in (first, again)] == ["false", "true"]
    assert first.json() == again.json()
    assert code(replay(client, run_id, key, accept_drift=True)) == (422, "idempotency_key_reused")
    assert code(client.post(f"/api/runs/{run_id}/replay")) == (400, "invalid_idempotency_key")
    with registry.reading() as session:
        assert session.execute(select(RunLineage.parent_run_id, RunLineage.relation)).all() == [(run_id, "replay")]


def test_drift_refuses_a_replay_says_where_and_never_changes_an_answer(
    client: httpx.Client, registry: Registry, executor: Executor, api: World
) -> None:
    """The key of a replay that was started keeps its answer, also when a new one would be refused by now."""
    run_id = started(client)
    end(registry, run_id)
    key = str(uuid4())
    first = replay(client, run_id, key)
    executor.providers["openai/gpt-4"] = "gpt-4-0314"
    api.state.extras.clear()
    found = client.get(f"/api/runs/{run_id}/replay").json()
    assert (found["would_repeat"], [one["now"] for one in found["differences"]]) == (False, ["gpt-4-0314"])
    assert code(replay(client, run_id, str(uuid4()))) == (409, "replay_differs")
    assert replay(client, run_id, key).json() == first.json()
    assert replay(client, run_id, str(uuid4()), accept_drift=True).status_code == 200


def test_files_of_a_replay_are_compared_when_both_are_closed(client: httpx.Client, registry: Registry) -> None:
    """The digest says whether a replay repeated its original; until both are closed nobody knows."""
    run_id = started(client)
    end(registry, run_id)
    again = str(replay(client, run_id, str(uuid4())).json()["run_id"])
    assert code(client.get(f"/api/runs/{run_id}/comparison")) == (409, "no_replay")
    assert code(client.get(f"/api/runs/{again}/comparison")) == (404, "run_not_closed")
    end(registry, again)
    closed(registry, run_id, {"a.py": "1" * 64, "b.py": "2" * 64})
    closed(registry, again, {"a.py": "1" * 64, "b.py": "3" * 64})
    found = client.get(f"/api/runs/{again}/comparison").json()
    assert (found["is_identical"], found["same"], found["different"]) == (False, ["a.py"], ["b.py"])


def test_the_report_of_a_run_is_told_with_its_56_fields(
    client: httpx.Client, registry: Registry, settings: Settings
) -> None:
    """What reads the report's file reads the same over HTTP; without one the answer says so, not that the run is unknown."""
    run_id = started(client)
    assert code(client.get(f"/api/runs/{run_id}/report")) == (404, "no_report")
    client.post(f"/api/runs/{run_id}/cancel")
    close_due(registry, settings=settings, clock=SystemClock())
    found = client.get(f"/api/runs/{run_id}/report").json()
    assert set(found) == {*ReportFields.model_fields, "revision", "path"}
    assert (found["RUN_ID"], found["RESULT"], found["revision"]) == (run_id, "SKIPPED", 1)
    assert not found["path"].startswith("/")


def test_who_may_only_look_calls_nothing_off(client: httpx.Client, api: World) -> None:
    """A viewer's token lies on every wall screen."""
    run_id = started(client)
    viewer = api.headers("viewer")
    for path in ("cancel", "replay"):
        answer = client.post(f"/api/runs/{run_id}/{path}", headers=viewer | {"Idempotency-Key": str(uuid4())})
        assert code(answer) == (403, "missing_scope")
    assert client.get(f"/api/runs/{run_id}", headers=viewer).status_code == 200
