"""How is what goes through the front door counted without a hand in it?

Plain ASGI around the guard: it sees what came and what was answered, and needs to know nothing of how the guard decides. A
refusal tells its code in its own answer (problem details), a mutation its fields in the body that the guard reads. `/metrics`
is answered here, to the same host names as every page: a page of another site must not read it through somebody's browser.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from plms_pipeline.access.hosts import Authority
from plms_pipeline.web.operations import BadRequest, operations_of_body
from plms_pipeline.web.origins import host_refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METRICS_PATH: Final = "/metrics"
KINDS: Final = ("page", "asset", "graphql", "websocket", "report", "login", "metrics", "other")
OUTCOMES: Final = ("allowed", "refused")
CODES: Final = (
    "host_not_allowed", "cross_origin", "cross_site", "method_not_allowed", "report_endpoint_closed", "doubled_header",
    "bad_path", "json_required", "form_required", "mutation_needs_post", "too_large", "bad_graphql_request",
    "bad_graphql_message", "launch_not_understood", "sign_in_needed", "token_missing", "token_expired", "token_forged",
    "missing_scope", "other",
)  # fmt: skip
# What a mutation does, by how Dagster calls it; the first that fits. One that nobody knows is `unknown`.
_BEGINNINGS: Final = (
    ("launchPartitionBackfill", "backfill"), ("cancelPartitionBackfill", "backfill"), ("resumePartitionBackfill", "backfill"),
    ("reexecutePartitionBackfill", "backfill"), ("launch", "launch"), ("terminate", "terminate"),
    ("deleteDynamicPartitions", "partition"), ("addDynamicPartition", "partition"), ("deleteConcurrencyLimit", "pool"),
    ("setConcurrencyLimit", "pool"), ("freeConcurrencySlots", "pool"), ("deleteAppManaged", "reload"),
    ("setAppManaged", "reload"), ("delete", "delete"), ("wipe", "delete"), ("report", "report"), ("startSensor", "sensor"),
    ("stopSensor", "sensor"), ("resetSensor", "sensor"), ("setSensorCursor", "sensor"), ("sensorDryRun", "sensor"),
    ("setAutoMaterializePaused", "sensor"), ("startSchedule", "schedule"), ("stopRunningSchedule", "schedule"),
    ("resetSchedule", "schedule"), ("scheduleDryRun", "schedule"), ("reload", "reload"), ("shutdownRepository", "reload"),
    ("refreshComponent", "reload"), ("logTelemetry", "log"), ("setNuxSeen", "log"),
)  # fmt: skip
UNKNOWN: Final = "unknown"
CLASSES: Final = (*dict.fromkeys(name for _, name in _BEGINNINGS), UNKNOWN)
_POLICY_VIOLATION: Final = 1008
# So much of an answer is looked at for a refusal, and so much of a request for a mutation.
_LOOKED_AT: Final = 64 * 1024
_MOST_FIELDS: Final = 20
_PROBLEM: Final = b"application/problem+json"
_UNAUTHORIZED: Final = b"UnauthorizedError"
_PATHS: Final = MappingProxyType({
    "/graphql": "graphql", METRICS_PATH: "metrics", "/login": "login", "/logout": "login", "/session": "login",
})  # fmt: skip
_STARTS: Final = (("/report_", "report"), ("/static/", "asset"), ("/vendor/", "asset"), ("/favicon", "asset"))
_SAFE: Final = frozenset({"GET", "HEAD"})


class Counts(Protocol):
    """Where it is counted."""

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """One answer."""

    def refused(self, code: str) -> None:
        """One refusal."""

    def mutation(self, mutation_class: str, outcome: str) -> None:
        """One field of a mutation."""

    def websocket(self, change: int) -> None:
        """A WebSocket more or less."""

    def exposition(self) -> bytes:
        """The page of the series."""


def kind_of(scope: Scope) -> str:
    """What kind of page a request asks for; whatever path a stranger makes up is a page or `other`."""
    if scope["type"] == "websocket":
        return "websocket"
    path: str = scope["path"]
    if path in _PATHS:
        return _PATHS[path]
    for start, kind in _STARTS:
        if path.startswith(start):
            return kind
    return "page" if scope["method"] in _SAFE else "other"


def class_of(field: str) -> str:
    """What a mutation does."""
    return next((name for beginning, name in _BEGINNINGS if field.startswith(beginning)), UNKNOWN)


class CountedDoor:
    """Counts what an application answers, and answers `/metrics` itself.

    Args:
        app: the guarded UI.
        counts: where it is counted.
        allowed_hosts: host names that `/metrics` is answered to.
        stopwatch: seconds on a clock that never jumps.
        media_type: of the page of metrics.
    """

    def __init__(
        self, app: App, counts: Counts, allowed_hosts: Iterable[Authority], *, stopwatch: Callable[[], float],
        media_type: str,
    ) -> None:  # fmt: skip
        self._app = app
        self._counts = counts
        self._allowed = frozenset(allowed_hosts)
        self._stopwatch = stopwatch
        self._media_type = media_type.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one connection on and count what becomes of it."""
        if scope["type"] == "http" and self._is_answered_here(scope):
            await self._page(scope["method"], send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_answered_here(self, scope: Scope) -> bool:
        if scope["path"] != METRICS_PATH or scope["method"] not in _SAFE:
            return False
        return host_refusal(_header(scope["headers"], b"host"), self._allowed) is None

    async def _page(self, method: str, send: Send) -> None:
        body = self._counts.exposition()
        headers = [(b"content-type", self._media_type), (b"content-length", str(len(body)).encode())]
        headers += [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        self._counts.answered("metrics", 200, 0.0)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, began = kind_of(scope), self._stopwatch()
        asked, answer = _Body(), _Answer(send)
        try:
            await self._app(scope, asked.tapping(receive) if kind == "graphql" else receive, answer.send)
        finally:
            self._counts.answered(kind, answer.status, self._stopwatch() - began)
            if (code := answer.code()) is not None:
                self._counts.refused(code)
            for field in asked.mutations():
                outcome = "refused" if answer.status >= 400 or answer.is_unauthorized else "allowed"
                self._counts.mutation(class_of(field), outcome)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, is_open = self._stopwatch(), False

        async def watched(message: Message) -> None:
            nonlocal is_open
            if message["type"] == "websocket.accept" and not is_open:
                is_open = True
                self._counts.answered("websocket", 200, self._stopwatch() - began)
                self._counts.websocket(1)
            elif message["type"] == "websocket.close":
                if not is_open:
                    self._counts.answered("websocket", 403, self._stopwatch() - began)
                if message.get("code") == _POLICY_VIOLATION:
                    reason = str(message.get("reason") or "")
                    # Of a message that breaks the protocol the reason is a sentence.
                    self._counts.refused("bad_graphql_message" if " " in reason else reason or "other")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if is_open:
                self._counts.websocket(-1)


class _Body:
    """What a request's body said, seen as it passes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def tapping(self, receive: Receive) -> Receive:
        async def tapped() -> Message:
            message = await receive()
            if message["type"] == "http.request" and self._size <= _LOOKED_AT:
                part = message.get("body", b"")
                self._parts.append(part)
                self._size += len(part)
            return message

        return tapped

    def mutations(self) -> list[str]:
        """Fields of the mutations in it; of one that is too large or cannot be read, none or an unknown one."""
        body = b"".join(self._parts)
        if b"mutation" not in body:
            return []
        if self._size > _LOOKED_AT:
            return [UNKNOWN]
        try:
            return list(operations_of_body(body).mutation_fields)[:_MOST_FIELDS]
        except BadRequest:
            return []


class _Answer:
    """Passes an answer on, and remembers its status and how it begins where that may be a refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_problem = False
        self._begin = b""
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            media_type = _header(message.get("headers", ()), b"content-type") or ""
            self._is_problem = self.status >= 400 and media_type.encode().startswith(_PROBLEM)
        elif message["type"] == "http.response.body" and len(self._begin) < _LOOKED_AT:
            self._begin += message.get("body", b"")[: _LOOKED_AT - len(self._begin)]
        await self._send(message)

    def code(self) -> str | None:
        """The code of a refusal; None when it is none."""
        if not self._is_problem:
            return None
        try:
            return str(json.loads(self._begin)["code"])
        except (ValueError, KeyError, TypeError):
            return "other"

    @property
    def is_unauthorized(self) -> bool:
        """Whether Dagster itself refused: it says so in an answer of status 200."""
        return _UNAUTHORIZED in self._begin


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)
