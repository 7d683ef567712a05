"""Which model does an answer carry the name of?

The one that was loaded when its request began, in three headers, also where the answer is a refusal: whoever compares answers
of two servers, or of two minutes, needs to know what answered. Taken once per request and handed on with it, so that no
promotion can come between an answer and its signature. Beside it every exception is counted by its class before the framework
turns it into an answer.
"""

from __future__ import annotations

from collections.abc import Callable

from plms_pipeline.models.serving.served import Served
from plms_pipeline.web.api.envelope import App, Message, Receive, Scope, Send

CANDIDATE, PROMOTION, DIGEST = b"x-plms-model-candidate", b"x-plms-model-promotion", b"x-plms-model-sha256"


class Signed:
    """The outermost middleware.

    Args:
        app: everything else.
        served: the model that is loaded now.
        name: under which a request's state holds it.
    """

    def __init__(self, app: App, *, served: Callable[[], Served | None], name: str) -> None:
        self._app, self._served, self._name = app, served, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[self._name] = self._served()

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A route that loads another model answers with that one.
                served: Served | None = state[self._name]
                if served is not None:
                    message = {**message, "headers": [*message.get("headers", ()), *_headers(served)]}
            await send(message)

        await self._app(scope, receive, signed)


class Counting:
    """The innermost middleware: counts what a route did not catch, and lets it go on.

    Args:
        app: the routes.
        failed: told path, method and class of every exception.
    """

    def __init__(self, app: App, *, failed: Callable[[str, str, str], None]) -> None:
        self._app, self._failed = app, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            self._failed(scope["path"], scope["method"], type(error).__name__)
            raise


def _headers(served: Served) -> list[tuple[bytes, bytes]]:
    version = served.version
    return [
        (CANDIDATE, version.candidate_id.encode("ascii", "replace")),
        (PROMOTION, version.promotion_id.encode("ascii", "replace")),
        (DIGEST, version.model_sha256.encode("ascii", "replace")),
    ]


def endpoint_of(path: str) -> str:
    """The path as the sources' labels have it: without its slash."""
    return path.removeprefix("/")
