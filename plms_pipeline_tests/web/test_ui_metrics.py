"""Is what goes through the front door counted, and by nothing that a stranger made up?"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plms_pipeline.access.hosts import parse_allowed
from plms_pipeline.web.guard import FrontDoor
from plms_pipeline.web.metrics import MEDIA_TYPE, UiMetrics
from plms_pipeline.web.ui_metrics import CLASSES, CODES, KINDS, UNKNOWN, CountedDoor, class_of
from plms_pipeline_tests.web.asgi import Answer, ask
from plms_pipeline_tests.web.doors import ADA, CLOCK, keeper

ALLOWED = parse_allowed(["localhost"])
HOST = ("host", "localhost:3000")
JSON = ("content-type", "application/json")


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the guarded UI: refuses `/no`, closes WebSockets to `/no`, and answers everything else."""
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close", "code": 1008, "reason": "cross_origin"})
            return
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
        return
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    refused = scope["path"] == "/no" or (b"x-refuse", b"1") in scope["headers"]
    body = json.dumps(
        {"code": "host_not_allowed" if refused else None, "data": scope["query_string"].decode()}
    ).encode()
    media_type = b"application/problem+json" if refused else b"application/json"
    headers = [(b"content-type", media_type)]
    await send({"type": "http.response.start", "status": 403 if refused else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class World:
    """A counted door and its page."""

    def __init__(self, app: Any = refusing) -> None:
        self.counts = UiMetrics()
        ticks = iter(range(10_000))
        self.door = CountedDoor(
            app, self.counts, ALLOWED, stopwatch=lambda: next(ticks) / 100, media_type=MEDIA_TYPE
        )  # fmt: skip

    def ask(self, method: str = "GET", path: str = "/", *headers: tuple[str, str], **more: Any) -> Answer:
        return ask(self.door, method, path, (HOST, *headers), **more)

    def graphql(self, document: str, *headers: tuple[str, str], query: str = "", chunks: int = 1) -> Answer:
        body = json.dumps({"query": document}).encode()
        return self.ask("POST", "/graphql", JSON, *headers, body=body, query=query, chunks=chunks)

    def value(self, name: str, **labels: str) -> float:
        page = self.counts.exposition().decode()
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        return found[name, tuple(sorted(labels.items()))]


def test_everything_exists_with_zero_before_anything_happened() -> None:
    """Otherwise the first refusal makes a series and no `rate()` sees it."""
    world = World()
    for kind in KINDS:
        assert world.value("plms_ui_requests_total", kind=kind, status="5xx") == 0
    for code in CODES:
        assert world.value("plms_ui_refusals_total", code=code) == 0
    for each in CLASSES:
        assert world.value("plms_ui_mutations_total", **{"class": each, "outcome": "refused"}) == 0
    assert world.value("plms_ui_latency_seconds_count", kind="page") == 0
    assert world.value("plms_ui_websockets_open") == 0


def test_answers_are_counted_by_kind_and_paths_make_no_series() -> None:
    """Otherwise whoever asks for a thousand paths makes a thousand series."""
    world = World()
    for path in ("/runs/1", "/assets/x", "/static/a.js", "/report_asset_check", "/login", "/graphql"):
        world.ask("GET", path)
    world.ask("DELETE", "/x")
    assert world.value("plms_ui_requests_total", kind="page", status="2xx") == 2
    for kind in ("asset", "report", "login", "graphql", "other"):
        assert world.value("plms_ui_requests_total", kind=kind, status="2xx") == 1
    assert world.value("plms_ui_latency_seconds_sum", kind="page") == pytest.approx(0.02)


def test_refusals_are_counted_by_their_code() -> None:
    """Otherwise nobody sees that another site tries to launch runs through somebody's browser."""
    world = World()
    world.ask("GET", "/no")
    assert world.value("plms_ui_refusals_total", code="host_not_allowed") == 1
    assert world.value("plms_ui_requests_total", kind="page", status="4xx") == 1


def test_mutations_are_counted_by_class_and_what_became_of_them() -> None:
    """Otherwise nobody can tell a day of looking from a day of deleting."""
    world = World()
    world.graphql("query { launchRun }")
    world.graphql("mutation M { launchRun { __typename } wipeAssets { __typename } }", chunks=3)
    world.graphql("mutation { nobodyKnows { __typename } }", ("x-refuse", "1"))
    world.graphql("mutation { terminateRun { __typename } }", query="UnauthorizedError")
    told = {("launch", "allowed"), ("delete", "allowed"), (UNKNOWN, "refused"), ("terminate", "refused")}
    for each in CLASSES:
        for outcome in ("allowed", "refused"):
            expected = float((each, outcome) in told)
            assert world.value("plms_ui_mutations_total", **{"class": each, "outcome": outcome}) == expected


def test_every_mutation_of_dagster_has_a_class() -> None:
    """Otherwise an upgrade brings a mutation that is counted with the harmless ones."""
    from dagster_graphql.schema.roots.mutation import GrapheneMutation

    classes = {name: class_of(name) for name in GrapheneMutation._meta.fields}
    assert UNKNOWN not in classes.values(), classes
    assert classes["launchPartitionBackfill"] == "backfill"
    assert classes["deleteRun"] == "delete"
    assert classes["reportRunlessAssetEvents"] == "report"


def test_the_page_is_answered_to_our_own_names_only() -> None:
    """Otherwise a page of another site reads what goes on here, by a name that leads to this machine."""
    world = World()
    answer = world.ask("GET", "/metrics")
    assert answer.status == 200
    assert b"plms_ui_requests_total" in answer.body
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"plms_ui" not in ask(world.door, "GET", "/metrics", (("host", "evil.example"),)).body
    assert world.value("plms_ui_requests_total", kind="metrics", status="2xx") >= 1


def test_sockets_are_counted_while_they_are_open() -> None:
    """Otherwise a UI that hangs on its subscriptions looks idle."""
    world = World()
    seen: list[float] = []

    def connect(path: str, ended: list[str]) -> None:
        messages = [{"type": "websocket.connect"}, *({"type": kind} for kind in ended)]

        async def receive() -> Any:
            if messages[0]["type"] == "websocket.disconnect":
                seen.append(world.value("plms_ui_websockets_open"))
            return messages.pop(0)

        async def send(_message: Any) -> None:
            return

        scope = {"type": "websocket", "path": path, "headers": [], "query_string": b""}
        asyncio.run(world.door(scope, receive, send))

    connect("/graphql", ["websocket.disconnect"])
    connect("/no", ["websocket.disconnect"])
    assert seen == [1.0]
    assert world.value("plms_ui_websockets_open") == 0
    assert world.value("plms_ui_requests_total", kind="websocket", status="2xx") == 1
    assert world.value("plms_ui_requests_total", kind="websocket", status="4xx") == 1
    assert world.value("plms_ui_refusals_total", code="cross_origin") == 1


def test_the_real_door_s_refusals_are_told_by_their_own_code() -> None:
    """Otherwise the codes of the door and those that are counted drift apart, and everything is `other`."""
    world = World(FrontDoor(refusing, ALLOWED, keeper(ADA), CLOCK))
    ask(world.door, "GET", "/", (("host", "evil.example"),))
    world.ask("POST", "/graphql", ("content-type", "text/plain"), body=b"{}")
    world.ask("PUT", "/x")
    for code in ("host_not_allowed", "json_required", "method_not_allowed"):
        assert world.value("plms_ui_refusals_total", code=code) == 1
