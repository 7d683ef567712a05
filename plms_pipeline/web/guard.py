"""Who may do what through the Dagster UI's front door?

Open-source Dagster has no login, and its webserver runs a mutation that arrives by GET: one `<img>` on any page that a
user visits launches a run. This middleware stands in front of it: it answers to its own host names only, lets changes
in only as JSON posted by its own pages (or by programs, which need no browser's help), closes the WebSocket to
anything but subscriptions and the endpoints by which anyone could report a check as passed, and stamps the actor.

Plain ASGI and nothing of Dagster, so that it can be read in one sitting and tested without a server.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from plms_pipeline.instance.actors import ACTOR_HEADER, header_value
from plms_pipeline.web.operations import (
    BadRequest,
    Operations,
    check_websocket_message,
    operations_of_body,
    operations_of_url,
    shown,
)
from plms_pipeline.web.origins import (
    SAFE_METHODS,
    Authority,
    Refusal,
    embedding_refusal,
    host_refusal,
    origin_refusal,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GRAPHQL_PATH = "/graphql"
REPORT_PREFIX = "/report_asset_"
MAX_BODY_BYTES = 8 * 1024 * 1024
POLICY_VIOLATION = 1008
SINGLE_HEADERS = frozenset({"host", "origin", "content-type", "content-length", "sec-fetch-site"})
SECURITY_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
FRAME_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")

_log = logging.getLogger(__name__)


class FrontDoor:
    """The guard, as an ASGI application around Dagster's.

    Args:
        app: the webserver to protect.
        allowed_hosts: names (and ports) that a request may be addressed to.
        actor: who acts, as far as this door knows; written into `ACTOR_HEADER` for every request.
    """

    def __init__(self, app: App, allowed_hosts: Iterable[Authority], actor: str) -> None:
        self._app = app
        self._allowed = frozenset(allowed_hosts)
        self._actor = header_value(actor).encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one connection and hand it on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, _with_security_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, doubled = _headers(scope)
        refusal = _doubled(doubled) or self._judge(scope, headers)
        if refusal is None and scope["path"] == GRAPHQL_PATH and scope["method"] == "POST":
            refusal, receive = await self._judge_body(receive)
        if refusal is not None:
            _log.warning("event=refused code=%s method=%s path=%.80r", refusal.code, scope["method"], scope["path"])
            await _answer(refusal, send)
            return
        await self._app(self._stamped(scope), receive, send)

    def _judge(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        method, path = scope["method"], scope["path"]
        if refusal := host_refusal(headers.get("host"), self._allowed) or _path_refusal(path):
            return refusal
        if method not in SAFE_METHODS | {"POST"}:
            return Refusal(405, "method_not_allowed", f"{method} is not used here.", allow="GET, HEAD, OPTIONS, POST")
        if path.startswith(REPORT_PREFIX):
            return Refusal(
                403,
                "report_endpoint_closed",
                "Materializations and checks are not reported to this address: it cannot know who reports them.",
            )
        if method == "POST":
            return origin_refusal(headers) or _media_type_refusal(headers)
        if refusal := embedding_refusal(method, headers):
            return refusal
        return _url_refusal(scope) if path == GRAPHQL_PATH else None

    async def _judge_body(self, receive: Receive) -> tuple[Refusal | None, Receive]:
        body = await _read_body(receive)
        if body is None:
            return Refusal(413, "too_large", f"A request body may hold at most {MAX_BODY_BYTES} bytes."), receive
        try:
            operations = operations_of_body(body)
        except BadRequest as error:
            return Refusal(400, "bad_graphql_request", str(error)), receive
        self._note(operations)
        return None, _replay(body, receive)

    def _note(self, operations: Operations) -> None:
        if operations.mutates:
            fields = shown(operations.mutation_fields)
            _log.info("event=graphql_mutation fields=%s actor=%s", fields, self._actor.decode("ascii"))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, doubled = _headers(scope)
        refusal = _doubled(doubled) or host_refusal(headers.get("host"), self._allowed) or origin_refusal(headers)
        if refusal is not None:
            _log.warning("event=refused code=%s websocket path=%.80r", refusal.code, scope["path"])
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.code})
            return

        async def checked_receive() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                check_websocket_message(message.get("text"))
            except BadRequest as error:
                _log.warning("event=refused code=bad_graphql_message websocket path=%.80r", scope["path"])
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)[:120]})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        await self._app(self._stamped(scope), checked_receive, send)

    def _stamped(self, scope: Scope) -> Scope:
        kept = [(name, value) for name, value in scope["headers"] if not _claims_actor(name)]
        return {**scope, "headers": [*kept, (ACTOR_HEADER.encode("ascii"), self._actor)]}


def _claims_actor(name: bytes) -> bool:
    return name.decode("latin-1").lower().replace("_", "-").startswith(ACTOR_HEADER)


def _headers(scope: Scope) -> tuple[dict[str, str], str | None]:
    """Headers by lower-case name, and the name of one that may occur once but occurs twice."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and name in SINGLE_HEADERS:
            return found, name
        found.setdefault(name, raw_value.decode("latin-1"))
    return found, None


def _doubled(name: str | None) -> Refusal | None:
    return Refusal(400, "doubled_header", f"The header {name} may occur only once.") if name else None


def _path_refusal(path: str) -> Refusal | None:
    r"""Starlette matches a route up to `$`, which in Python also stands before a final newline: `/graphql%0A` is the
    GraphQL endpoint to the router and some unknown page to a comparison."""
    if path.isprintable():
        return None
    return Refusal(400, "bad_path", "The path holds a character that no page of this server has in its name.")


def _media_type_refusal(headers: dict[str, str]) -> Refusal | None:
    """Only `application/json` itself: Dagster also takes `text/plain; x=application/json`, which any site may send."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return None
    return Refusal(415, "json_required", "What changes something is posted with Content-Type: application/json.")


def _url_refusal(scope: Scope) -> Refusal | None:
    try:
        operations = operations_of_url(scope.get("query_string", b""))
    except BadRequest as error:
        return Refusal(400, "bad_graphql_request", str(error))
    if operations is None or operations.only("query"):
        return None
    return Refusal(
        405,
        "mutation_needs_post",
        "By GET only queries are answered; a mutation is posted as JSON, by this server's own pages.",
        allow="POST",
    )


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None when it is larger than any request of the UI."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_security_headers(send: Send) -> Send:
    names = {name for name, _ in SECURITY_HEADERS}

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            message = {**message, "headers": [*kept, *SECURITY_HEADERS, FRAME_POLICY]}
        await send(message)

    return secured


async def _answer(refusal: Refusal, send: Send) -> None:
    """RFC 9457 problem details, with the stable code beside them."""
    problem = {"title": "Refused by the front door", "status": refusal.status, "code": refusal.code}
    body = json.dumps({"type": "about:blank", **problem, "detail": refusal.detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    if refusal.allow:
        headers.append((b"allow", refusal.allow.encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
