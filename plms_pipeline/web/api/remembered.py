"""Has anything been written since this was answered the last time?

A dashboard asks the same few questions again and again, and between two commits the answer cannot differ. Asking the database
whether anybody has committed costs microseconds; asking it the question costs a hundred times that. So the answer of a route
that reads nothing but the books is kept, and given again while the books' version is the very same: never stale, not even for
a moment, unlike anything with a time to live. Who asks is checked each time; whoever may not is left to the route, which
refuses and audits. What an answer takes from the clock, from files or from the executor must not be kept.

What is asked for the first time after a commit is told at once where a route has a way for that (`told_at_once`): finding the
route, its parameters and its dependencies takes the framework longer than reading the books.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.errors import PlmsError
from plms_pipeline.web.api.envelope import App, Message, Receive, Scope, Send

MAX_KEPT = 2048
MAX_BODY = 256 * 1024
# What identifies the state of all books: equal versions mean equal answers. None: unknown, so nothing is kept.
Version = Callable[[], Awaitable[object | None]]


# (what stands in the braces of the path, query string) → the JSON of the answer, or None
AtOnce = Callable[[tuple[str, ...], bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Read:
    """A GET route that reads: the scope that it needs, whether it reads nothing but the books, how it is told at once."""

    route: Any
    scope: str
    is_of_the_books: bool
    at_once: AtOnce | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and the version of the books that it was read from."""

    version: object
    start: Message
    body: Message


class Remembered:
    """The middleware that gives an answer again while nothing was written.

    Args:
        app: the routes.
        door: turns a request's header into a principal.
        version: the present version of the books.
        reads: the routes that may be answered here.
    """

    def __init__(self, app: App, *, door: Doorkeeper, version: Version, reads: Sequence[Read]) -> None:
        self._app = app
        self._door = door
        self._version = version
        self._reads: dict[int, Read] = {}
        parts, group = [], 1
        for read in reads:
            pattern, values = pattern_of(read.route.path)
            self._reads[group] = read
            parts.append(f"({pattern})")
            group += 1 + values
        self._pattern = re.compile("|".join(parts) or r"(?!)")
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory or at once, or hand on and remember."""
        found = self._pattern.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None or found.lastindex is None:
            await self._app(scope, receive, send)
            return
        read = self._reads[found.lastindex]
        version = await self._version() if read.is_of_the_books else None
        key = (scope["path"], scope["query_string"])
        kept = self._kept.get(key) if version is not None else None
        if (kept is not None or read.at_once is not None) and self._may(scope, read.scope):
            if kept is None or kept.version != version:
                kept = self._told(read, found, scope["query_string"], version, key)
            if kept is not None:
                # The envelope counts by route.
                scope["route"] = read.route
                await send(kept.start)
                await send(kept.body)
                return
        if version is None:
            await self._app(scope, receive, send)
            return

        def keep(start: Message, body: Message) -> None:
            # A path may fit a template and yet be another route's.
            if scope.get("route") is read.route:
                self._keep(key, version, start, body)

        await self._app(scope, receive, _watching(send, keep))

    def _may(self, scope: Scope, wanted: str) -> bool:
        try:
            return self._door.of(scope).may(wanted)
        except PlmsError:
            return False

    def _told(
        self, read: Read, found: re.Match[str], query: bytes, version: object | None, key: tuple[str, bytes]
    ) -> Kept | None:
        """What a route has to say at once; None when it would rather be asked itself."""
        if read.at_once is None:
            return None
        first = found.lastindex or 0
        try:
            body = read.at_once(found.groups()[first:], query)
        except PlmsError:
            return None
        if body is None:
            return None
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        whole: Message = {"type": "http.response.body", "body": body}
        if version is None or len(body) > MAX_BODY:
            return Kept(version, start, whole)
        return self._keep(key, version, start, whole)

    def _keep(self, key: tuple[str, bytes], version: object, start: Message, body: Message) -> Kept:
        kept = self._kept[key] = Kept(version, start, body)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return kept


def _watching(send: Send, keep: Callable[[Message, Message], None]) -> Send:
    """A `send` that keeps an answer of one piece with status 200."""
    start: Message | None = None

    async def watched(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message if message["status"] == 200 else None
        elif start is not None:
            if not message.get("more_body", False) and len(message.get("body", b"")) <= MAX_BODY:
                keep(start, message)
            start = None
        await send(message)

    return watched


def pattern_of(template: str) -> tuple[str, int]:
    """The expression that a path template stands for, and how many braces it has."""
    parts = re.split(r"\{[^/{}]+\}", template)
    return "([^/]+)".join(re.escape(part) for part in parts), len(parts) - 1
