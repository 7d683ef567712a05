"""How is one connection read and answered, in plain ASGI?"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from plms_pipeline.web.origins import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SINGLE_HEADERS = frozenset({"host", "origin", "content-type", "content-length", "sec-fetch-site", "authorization"})
SECURITY_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
FRAME_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")


def headers_of(scope: Scope) -> tuple[dict[str, str], str | None]:
    """Headers by lower-case name, and the name of one that may occur once but occurs twice."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and name in SINGLE_HEADERS:
            return found, name
        found.setdefault(name, raw_value.decode("latin-1"))
    return found, None


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when it is larger than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read before, and then whatever comes."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def with_security_headers(send: Send) -> Send:
    """A `send` whose answers carry our headers, each once."""
    names = {name for name, _ in SECURITY_HEADERS}

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            message = {**message, "headers": [*kept, *SECURITY_HEADERS, FRAME_POLICY]}
        await send(message)

    return secured


async def refuse(refusal: Refusal, send: Send) -> None:
    """RFC 9457 problem details, with the stable code beside them; `errors` is what a GraphQL client looks for."""
    problem = {"title": "Refused by the front door", "status": refusal.status, "code": refusal.code}
    errors = [{"message": refusal.detail, "extensions": {"code": refusal.code}}]
    body = json.dumps({"type": "about:blank", **problem, "detail": refusal.detail, "errors": errors}).encode()
    headers = [(b"content-type", b"application/problem+json")]
    if refusal.allow:
        headers.append((b"allow", refusal.allow.encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="plms"'))
    await respond(refusal.status, headers, body, send)


async def respond(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
    """One answer in one piece."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
