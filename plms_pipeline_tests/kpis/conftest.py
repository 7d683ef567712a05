"""A world to evaluate in, artifacts written in one line, and a loopback server that speaks Neo4j's HTTP protocol."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.clock import Clock
from plms_pipeline.kpis.actions.world import World, world_of
from plms_pipeline.kpis.process import Limits
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

QUICK = Limits(wall_s=20.0, cpu_s=20)
Builder = Callable[..., Path]


@pytest.fixture
def artifact(tmp_path: Path) -> Builder:
    """Writes an artifact: `artifact("name", {"tests/test_a.py": "…", "blob": b"…"})`."""

    def build(name: str, files: dict[str, str | bytes]) -> Path:
        root = tmp_path / "work" / name
        root.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return build


def make_world(registry: Registry, settings: Settings, clock: Clock, **changes: Any) -> World:
    numbers = itertools.count(1)
    world = world_of(
        registry=registry, settings=settings, clock=clock, elapsed=lambda: 0.0, sleep=lambda _: None,
        new_id=lambda: f"{next(numbers):08x}-0000-4000-8000-0123456789ab",
    )  # fmt: skip
    return replace(world, limits=QUICK, **changes)


@pytest.fixture
def world(sqlite_registry: Registry, settings: Settings, clock: Clock) -> World:
    return make_world(sqlite_registry, settings, clock)


@dataclass
class FakeGraph:
    """What the loopback server answers, and what it was asked."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    password: str | None = None
    speaks_query_api: bool = True
    value: Any = 7


def _body(graph: FakeGraph, path: str, request: dict[str, Any]) -> tuple[int, bytes]:
    if graph.answers:
        return graph.answers.pop(0)
    if path.endswith("/query/v2") and graph.speaks_query_api:
        assert request["accessMode"] == "READ"
        return 202, json.dumps({"data": {"fields": ["n"], "values": [[graph.value]]}, "bookmarks": []}).encode()
    if path.endswith("/tx/commit"):
        assert request["statements"][0]["statement"]
        row = {"row": [graph.value], "meta": [None]}
        return 200, json.dumps({"results": [{"columns": ["n"], "data": [row]}], "errors": []}).encode()
    return 404, b"not found"


@pytest.fixture
def graph_server() -> Iterator[FakeGraph]:
    """A real HTTP server on loopback with the two endpoints that Neo4j has."""
    graph = FakeGraph()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            graph.requests.append({"path": self.path, "headers": dict(self.headers), "body": request})
            given = self.headers.get("Authorization", "")
            wanted = "Basic " + base64.b64encode(f"neo4j:{graph.password}".encode()).decode()
            if graph.password is not None and given != wanted:
                status, body = 401, b'{"errors":[{"code":"Neo.ClientError.Security.Unauthorized","message":"no"}]}'
            else:
                status, body = _body(graph, self.path, request)
            self.send_response(status)
            if status in (301, 302, 307, 308):
                self.send_header("Location", "http://127.0.0.1:9/stolen")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        graph.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield graph
        server.shutdown()
        thread.join()
