"""May this request be done without asking the framework which route, parameters and dependencies it has?

For a request that is asked for by the thousand and always in the same words, finding that out takes longer than checking it.
Whoever may, and asks in the plainest form, is answered here; everything else is left to the route, which also says what is
wrong: an error that was met on the way is handed to it to be raised there, so nothing is tried twice and every refusal reads
the same.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import MET_AT_ONCE
from plms_pipeline.errors import PlmsError
from plms_pipeline.web.api.envelope import App, Message, Receive, Scope, Send
from plms_pipeline.web.api.remembered import pattern_of

# (who asks, what stands in the braces of the path, headers, body) → the answer, an ASGI application; None: ask the route.
Do = Callable[[Principal, tuple[str, ...], dict[bytes, bytes], bytes], Awaitable[Any] | None]


@dataclass(frozen=True, slots=True)
class Deed:
    """A POST route that may be done at once: the scope that it needs, and how it is done."""

    route: Any
    scope: str
    do: Do


class Shortcut:
    """The middleware that does the plainest requests itself.

    Args:
        app: the routes.
        door: turns a request's header into a principal.
        deeds: the routes that may be done here.
    """

    def __init__(self, app: App, *, door: Doorkeeper, deeds: Sequence[Deed]) -> None:
        self._app, self._door = app, door
        self._deeds = [(re.compile(pattern_of(deed.route.path)[0]), deed) for deed in deeds]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do it, or hand it on."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        for pattern, deed in self._deeds:
            found = pattern.fullmatch(scope["path"])
            if found is not None:
                await self._done(deed, found.groups(), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _done(self, deed: Deed, values: tuple[str, ...], scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        principal = self._who(scope, deed.scope) if len(headers) == len(scope["headers"]) else None
        if principal is None or headers.get(b"content-type") != b"application/json":
            await self._app(scope, receive, send)
            return
        # The envelope has read the whole body.
        message = await receive()
        doing = None
        try:
            if message["type"] == "http.request" and not message.get("more_body", False):
                doing = deed.do(principal, values, headers, message.get("body", b""))
            answer = await doing if doing is not None else None
        except PlmsError as error:
            scope["state"][MET_AT_ONCE] = error
            answer = None
        if answer is None:
            await self._app(scope, _again(message, receive), send)
            return
        # The envelope counts by route.
        scope["route"] = deed.route
        await answer(scope, receive, send)

    def _who(self, scope: Scope, wanted: str) -> Principal | None:
        try:
            principal = self._door.of(scope)
        except PlmsError:
            return None
        return principal if principal.may(wanted) else None


def _again(message: Message, receive: Receive) -> Receive:
    """A `receive` that gives `message` once more and then whatever comes."""
    waiting = [message]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received
