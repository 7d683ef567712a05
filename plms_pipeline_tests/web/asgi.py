"""Speak ASGI to an application, exactly as written: an HTTP client would tidy up what an attacker would not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any


class Answer:
    """What an application answered to one HTTP request."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.raw_headers = messages[0]["headers"]
        self.headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        self.body: bytes = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (("host", "localhost:3000"),),
    body: bytes = b"",
    query: str = "",
    chunks: int = 1,
    peer: str | None = None,
) -> Answer:
    """Send one request, its body in `chunks` pieces, and wait for the whole answer."""
    sent: list[dict[str, Any]] = []
    size = max(1, -(-len(body) // chunks))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    queue = [{"type": "http.request", "body": part, "more_body": n + 1 < len(parts)} for n, part in enumerate(parts)]

    async def receive() -> dict[str, Any]:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": (peer, 40000) if peer is not None else None,
    }
    asyncio.run(app(scope, receive, send))
    return Answer(sent)


def text(payload: object) -> dict[str, Any]:
    """A WebSocket text message."""
    return {"type": "websocket.receive", "text": json.dumps(payload)}


def talk(app: Any, messages: Sequence[dict[str, Any]], headers: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Open a WebSocket on /graphql, send the messages, hang up; what the application sent."""
    sent: list[dict[str, Any]] = []
    queue = [{"type": "websocket.connect"}, *messages, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> dict[str, Any]:
        return queue.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {
        "type": "websocket",
        "path": "/graphql",
        "query_string": b"",
        "headers": raw,
        "subprotocols": ["graphql-ws"],
    }
    asyncio.run(app(scope, receive, send))
    return sent
