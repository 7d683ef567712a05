"""Of what is the application of the model server made?

The routes of the model, behind the same envelope, errors and door as those of the API: tokens and scopes, host names and
origins, bodies of bounded length, problem details.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from plms_pipeline import __version__
from plms_pipeline.access.actions import RefusalBook
from plms_pipeline.access.hosts import metrics_hosts
from plms_pipeline.access.routes import AppState
from plms_pipeline.models.serving.names import UNCOUNTED
from plms_pipeline.models.serving.routes import SERVED, router, server_of
from plms_pipeline.web.api.envelope import Envelope, Refusal, Scope
from plms_pipeline.web.api.methods import MethodTable
from plms_pipeline.web.api.neighbours import browser_refusal, scrape_refusal, session_refusal
from plms_pipeline.web.api.routes import errors, openapi
from plms_pipeline.web.serving.signed import Counting, Signed, endpoint_of

TITLE = "PLMS Pipeline: model server"
DESCRIPTION = """\
Predictions and guardrails of the promoted model. Every answer names the model in the headers `X-PLMS-Model-Candidate`,
`X-PLMS-Model-Promotion` and `X-PLMS-Model-SHA256`. Every request but `/healthz`, `/health` and `/metrics` needs
`Authorization: Bearer <token>`; errors are problem details (RFC 9457) with a stable `code`.
"""
Handler = Callable[[Request, Exception], Awaitable[Response]]


class ModelApi(FastAPI):
    """FastAPI with our OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            routes = [route for route in router.routes if isinstance(route, APIRoute)]
            found = openapi.document(self, routes, __version__)
            found["info"] |= {"title": TITLE, "description": DESCRIPTION}
            self.openapi_schema = found
        return self.openapi_schema


def create_model_app(state: AppState) -> FastAPI:
    """The application.

    Args:
        state: kept in `app.state.plms`; its extras hold the `ModelServer`.
    """
    app = ModelApi(title=TITLE, version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(router)
    server = server_of(state)
    endpoints = [
        (route.path, method)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]
    methods = MethodTable([*endpoints, ("/openapi.json", "GET")])
    app.state.plms = state
    book = RefusalBook(state.registry)
    errors.install(app, book, methods)

    def failed(path: str, method: str, exception: str) -> None:
        server.metrics.failed(endpoint_of(path), method, exception)

    def observe(path: str, method: str, status: int, seconds: float) -> None:
        if path not in UNCOUNTED:
            server.answered(endpoint_of(path), method, status, seconds)

    for kind, handler in list(app.exception_handlers.items()):
        if isinstance(kind, type):
            app.add_exception_handler(kind, _counted(handler, failed))

    scrapers = metrics_hosts(state.settings.metrics_hosts)

    def judge(scope: Scope) -> Refusal | None:
        refusal = browser_refusal(scope) if state.door.is_open else session_refusal(state.door, scope)
        return refusal or scrape_refusal(scope, scrapers)

    async def refused(scope: Scope, refusal: Refusal) -> None:
        await errors.audited_path(scope, refusal, book)

    app.add_middleware(Counting, failed=failed)
    app.add_middleware(
        Envelope,
        ids=state.ids,
        stopwatch=state.stopwatch,
        max_body_bytes=state.settings.api_max_body_bytes,
        observe=observe,
        once=lambda _is_replay: None,
        methods=methods,
        judge=judge,
        refused=refused,
    )
    app.add_middleware(Signed, served=lambda: server.served, name=SERVED)
    return app


def _counted(handler: Any, failed: Callable[[str, str, str], None]) -> Handler:
    """A handler of exceptions that counts their real class first; the framework's own ones may be plain functions."""

    async def handled(request: Request, error: Exception) -> Response:
        failed(request.url.path, request.method, type(error).__name__)
        answer = handler(request, error)
        response: Response = await answer if isinstance(answer, Awaitable) else answer
        return response

    return handled
