"""What holds for every request, whatever route it asks for?

A request id that is ours or safe to repeat, a path that means what it says, a body of bounded length that any of our
databases can store, a clock around it, and an answer without our inside when something unexpected happens. Plain ASGI, so
that it costs microseconds and can be read in one sitting. The obvious version checks Content-Length only: a chunked body
has none and fills the memory.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from plms_pipeline.access.problems import MEDIA_TYPE, problem
from plms_pipeline.web.api.methods import MethodTable, allow_header

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# endpoint template, method, status, seconds
Observe = Callable[[str, str, int, float], None]

REQUEST_ID_HEADER = "x-request-id"
UNMATCHED = "other"
_KEY_HEADER = b"idempotency-key"
_REPLAY_HEADER = b"idempotent-replay"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")
# Encoded separators, and what only a client that is up to something encodes: control characters and an encoded dot.
_SUSPICIOUS = re.compile(rb"%(2f|5c|2e|25|[01][0-9a-f]|7f)|\\|//", re.IGNORECASE)
_DOT_SEGMENTS = re.compile(r"(^|/)\.{1,2}(/|$)")
# In JSON these are the only ways to write what PostgreSQL or UTF-8 cannot store; both are rare enough to look closer.
_UNSTORABLE_HINT = re.compile(rb"\\u(0000|d[89a-f])", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not even handed to a route."""

    status: int
    code: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


class Envelope:
    """The middleware around all routes.

    Args:
        app: the routes.
        ids: makes request ids.
        stopwatch: seconds on a clock that never jumps.
        max_body_bytes: longer bodies are refused with 413.
        observe: told about every answered request.
        once: told about every answer that is given once per Idempotency-Key: whether it was given before.
        methods: which methods a path has.
        judge: why a request is refused whatever it asks for, or None.
        refused: awaited for every refused path or request, for the audit log.
    """

    def __init__(
        self,
        app: App,
        *,
        ids: Callable[[], str],
        stopwatch: Callable[[], float],
        max_body_bytes: int,
        observe: Observe,
        once: Callable[[bool], None],
        methods: MethodTable,
        judge: Callable[[Scope], Refusal | None],
        refused: Callable[[Scope, Refusal], Awaitable[None]],
    ) -> None:
        self._app = app
        self._ids = ids
        self._stopwatch = stopwatch
        self._max_body_bytes = max_body_bytes
        self._observe = observe
        self._once = once
        self._methods = methods
        self._judge = judge
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._stopwatch()
        request_id = _given_id(scope) or self._ids()
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        try:
            await self._serve(scope, receive, answer)
        finally:
            seconds = self._stopwatch() - started
            route = scope.get("route")
            endpoint = getattr(route, "path", None) or UNMATCHED
            self._observe(endpoint, scope["method"], answer.status, seconds)
            if answer.is_replay is not None:
                self._once(answer.is_replay)
            _log.info(
                "event=request method=%s endpoint=%s status=%d ms=%.1f request_id=%s",
                scope["method"],
                endpoint,
                answer.status,
                seconds * 1000,
                request_id,
            )

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        refusal = path_refusal(scope) or self._judge(scope)
        if refusal is not None:
            await self._refused(scope, refusal)
        elif allowed := self._methods.refused(scope["path"], scope["method"]):
            refusal = method_refusal(allowed)
        elif _may_have_body(scope):
            refusal = key_refusal(scope)
            if refusal is None:
                refusal, receive = await self._body(scope, receive)
        if refusal is not None:
            await answer.refuse(scope, refusal)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            request_id = scope["state"]["request_id"]
            _log.exception("event=unexpected_error method=%s request_id=%s", scope["method"], request_id)
            if answer.status:
                # Half an answer is out: the server must close the connection, or the client takes it for a whole one.
                raise
            detail = "Something unexpected happened; the log has it under the request id."
            await answer.refuse(scope, Refusal(500, "internal_error", detail))

    async def _body(self, scope: Scope, receive: Receive) -> tuple[Refusal | None, Receive]:
        too_large = Refusal(
            413,
            "body_too_large",
            f"A request body may hold at most {self._max_body_bytes} bytes (PLMS_API_MAX_BODY_BYTES).",
        )
        length = _header(scope, b"content-length")
        if length is not None and (not length.isdigit() or len(length) > 18 or int(length) > self._max_body_bytes):
            return too_large, receive
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None, _replaying(message, receive)
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                return too_large, receive
            parts.append(part)
            more = message.get("more_body", False)
        body = b"".join(parts)
        refusal = ambiguous(body) or unstorable(body)
        return refusal, _replaying({"type": "http.request", "body": body, "more_body": False}, receive)


class _Answer:
    """Sends an answer with the headers that every answer has, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._headers = [
            (REQUEST_ID_HEADER.encode(), request_id.encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        self.status = 0
        self.is_replay: bool | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name == _REPLAY_HEADER:
                    self.is_replay = value == b"true"
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        await self._send(message)

    async def refuse(self, scope: Scope, refusal: Refusal) -> None:
        told = problem(
            refusal.status,
            detail=refusal.detail,
            code=refusal.code,
            instance=shown_path(scope["path"]),
            request_id=scope["state"]["request_id"],
        )
        body = json.dumps(told).encode()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in refusal.headers]
        if refusal.status == 413:
            # What is left of the body is not read, so the connection cannot be used again.
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def method_refusal(allowed: frozenset[str]) -> Refusal:
    """405, with what a path has instead."""
    told = allow_header(allowed)
    return Refusal(405, "method_not_allowed", f"This path has {told}.", (("allow", told),))


def path_refusal(scope: Scope) -> Refusal | None:
    r"""Why a path is refused before any route sees it, or None.

    Ids of ours need no encoding, so an encoded separator, dot or control character is somebody trying where an id ends up.
    """
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    path: str = scope["path"]
    if (
        _SUSPICIOUS.search(raw.split(b"?", 1)[0])
        or not path.isprintable()
        or "\ufffd" in path
        or _DOT_SEGMENTS.search(path)
    ):
        return Refusal(
            400, "bad_path", "The path holds what no path of this API has: an encoded separator, dot or control."
        )
    if b"%00" in scope.get("query_string", b""):
        return Refusal(400, "bad_query", "The query holds a NUL character, which no parameter of this API has.")
    return None


def key_refusal(scope: Scope) -> Refusal | None:
    """Why a request with several Idempotency-Keys is refused: whichever of them was taken, the client may mean the other."""
    if sum(name == _KEY_HEADER for name, _ in scope["headers"]) < 2:
        return None
    return Refusal(
        400,
        "invalid_idempotency_key",
        "The request holds several Idempotency-Key headers; send one, new for each start.",
    )


def ambiguous(body: bytes) -> Refusal | None:
    """Why a JSON body is refused whatever it asks for: a name that stands twice in one object says two things.

    Parsers take the first or the last; who logs, signs or compares a body then sees another request than who obeys it.
    """
    try:
        json.loads(body, object_pairs_hook=_once_each)
    except _Twice as twice:
        name = shown_path(str(twice))
        return Refusal(422, "duplicate_json_key", f"The body names {name!r} twice in one object; name each field once.")
    except (ValueError, RecursionError):
        pass  # The route says what is wrong with it.
    return None


def unstorable(body: bytes) -> Refusal | None:
    """Why a JSON body is refused whatever it asks for: text with NUL or half a surrogate pair cannot be stored."""
    # JSON in UTF-16 or UTF-32 is read as well, and there every ASCII character stands beside a NUL byte.
    if b"\0" not in body and not _UNSTORABLE_HINT.search(body):
        return None
    try:
        loaded = json.loads(body)
    except (ValueError, RecursionError):
        return None  # The route says what is wrong with it.
    if not any("\x00" in text or not _is_text(text) for text in _texts(loaded)):
        return None
    return Refusal(422, "unstorable_text", "The body holds a NUL character or half a surrogate pair, which is no text.")


def shown_path(path: str) -> str:
    """A path as it may stand in an answer or log: printable, of bounded length."""
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in path[:200])


class _Twice(Exception):
    """A name stands twice in one JSON object."""


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _texts(value: object) -> list[str]:
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            waiting.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            waiting.extend(item)
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _may_have_body(scope: Scope) -> bool:
    if scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}:
        return True
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)


def _given_id(scope: Scope) -> str | None:
    """The client's request id when it is harmless: it is repeated in headers, logs and the audit."""
    given = _header(scope, REQUEST_ID_HEADER.encode())
    return given.decode("ascii") if given is not None and _REQUEST_ID.fullmatch(given) else None


def _replaying(first: Message, receive: Receive) -> Receive:
    """A `receive` that gives `first` and then whatever comes."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return replayed
