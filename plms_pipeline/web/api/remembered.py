"""Has anything been written since this was answered the last time?

A dashboard asks the same few questions again and again, and between two commits the answer cannot differ. Asking the database
whether anybody has committed costs microseconds; asking it the question costs a hundred times that. So the answer of a route
that reads nothing but the books is kept, and given again while the books' version is the very same: never stale, not even for
a moment, unlike anything with a time to live. Who asks is checked each time; whoever may not is left to the route, which
refuses and audits. What an answer takes from the clock, from files or from the executor must not be kept.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.errors import PlmsError
from plms_pipeline.web.api.envelope import App, Message, Receive, Scope, Send

MAX_KEPT = 2048
MAX_BODY = 256 * 1024
# What identifies the state of all books: equal versions mean equal answers. None: unknown, so nothing is kept.
Version = Callable[[], Awaitable[object | None]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, the version of the books that it was read from, and what is needed to ask for it."""

    version: object
    scope: str
    route: Any
    start: Message
    body: Message


class Remembered:
    """The middleware that gives an answer again while nothing was written.

    Args:
        app: the routes.
        door: turns a request's header into a principal.
        version: the present version of the books.
        templates: path template of each route that reads nothing but the books → the scope that it needs.
    """

    def __init__(self, app: App, *, door: Doorkeeper, version: Version, templates: Mapping[str, str]) -> None:
        self._app = app
        self._door = door
        self._version = version
        self._templates = dict(templates)
        self._pattern = re.compile("|".join(_pattern(path) for path in templates) or r"(?!)")
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or hand on and remember."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._pattern.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        version = await self._version()
        key = (scope["path"], scope["query_string"])
        kept = self._kept.get(key)
        if kept is not None and version is not None and kept.version == version and self._may(scope, kept.scope):
            # The envelope counts by route.
            scope["route"] = kept.route
            await send(kept.start)
            await send(kept.body)
            return
        if version is None:
            await self._app(scope, receive, send)
            return
        await self._app(
            scope, receive, _watching(send, lambda start, body: self._keep(key, version, scope, start, body))
        )

    def _may(self, scope: Scope, wanted: str) -> bool:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            return self._door.principal(header.decode("latin-1") if header is not None else None).may(wanted)
        except PlmsError:
            return False

    def _keep(self, key: tuple[str, bytes], version: object, scope: Scope, start: Message, body: Message) -> None:
        route = scope.get("route")
        wanted = self._templates.get(getattr(route, "path", ""))
        if wanted is None:
            return
        self._kept[key] = Kept(version, wanted, route, start, body)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


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


def _pattern(template: str) -> str:
    return "[^/]+".join(re.escape(part) for part in re.split(r"\{[^/{}]+\}", template))
