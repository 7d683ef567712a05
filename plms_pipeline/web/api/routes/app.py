"""Of what is the HTTP application made?

The routes of every domain that has some, the routes about the process itself, one form for errors, and the envelope around
them all. Everything that touches the world comes in through the state, so that tests build the same application that
`plms serve` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from plms_pipeline import __version__
from plms_pipeline.access.actions import RefusalBook
from plms_pipeline.access.hosts import metrics_hosts
from plms_pipeline.access.routes import AppState, DoneAtOnce, ToldAtOnce
from plms_pipeline.alerts.routes import ROUTERS as ALERT_ROUTERS
from plms_pipeline.intake.routes import ROUTERS as EVENT_ROUTERS
from plms_pipeline.letters.routes import ROUTERS as LETTER_ROUTERS
from plms_pipeline.models.decision.routes import ROUTERS as MODEL_ROUTERS
from plms_pipeline.portfolio.routes import ROUTERS as PORTFOLIO_ROUTERS
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.routes import ROUTERS as RUN_ROUTERS
from plms_pipeline.web.api import store
from plms_pipeline.web.api.envelope import Envelope, Refusal, Scope
from plms_pipeline.web.api.methods import MethodTable
from plms_pipeline.web.api.metrics import ApiMetrics
from plms_pipeline.web.api.neighbours import browser_refusal, scrape_refusal, session_refusal
from plms_pipeline.web.api.remembered import Read, Remembered, Version
from plms_pipeline.web.api.routes import errors, openapi, ops, sessions
from plms_pipeline.web.api.shortcut import Deed, Shortcut
from plms_pipeline.web.page.routes import PAGE
from plms_pipeline.web.page.routes import ROUTERS as PAGE_ROUTERS
from plms_pipeline.web.page.same_origin import page_refusal

DOMAIN_ROUTERS: tuple[APIRouter, ...] = (
    *RUN_ROUTERS, *EVENT_ROUTERS, *PORTFOLIO_ROUTERS, *LETTER_ROUTERS, *ALERT_ROUTERS, *MODEL_ROUTERS, *PAGE_ROUTERS,
    sessions.router,
)  # fmt: skip


class PlmsApi(FastAPI):
    """FastAPI with our OpenAPI document."""

    documented: tuple[APIRoute, ...] = ()

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self, self.documented, __version__)
        return self.openapi_schema


def create_app(state: AppState, extra_routers: tuple[APIRouter, ...] = ()) -> FastAPI:
    """The application.

    Args:
        state: kept in `app.state.plms`.
        extra_routers: further routes, for tests.
    """
    app = PlmsApi(
        title="PLMS Pipeline",
        version=__version__,
        # The pages of FastAPI load scripts from elsewhere; the document itself is all that programs need.
        docs_url=None,
        redoc_url=None,
        # A redirect answers before anybody asked who is there, and drops the body of a POST.
        redirect_slashes=False,
    )
    routers = (ops.router, *DOMAIN_ROUTERS, *extra_routers)
    for router in routers:
        app.include_router(router)
    app.documented = tuple(route for router in routers for route in router.routes if isinstance(route, APIRoute))
    app.include_router(PAGE)
    served = (*app.documented, *(route for route in PAGE.routes if isinstance(route, APIRoute)))
    endpoints = [(route.path, method) for route in served for method in sorted(route.methods or ())]
    metrics, methods = ApiMetrics(endpoints), MethodTable([*endpoints, ("/openapi.json", "GET")])
    app.state.plms = state
    app.state.metrics = metrics
    book = RefusalBook(state.registry)
    errors.install(app, book, methods)

    scrapers = metrics_hosts(state.settings.metrics_hosts)

    def judge(scope: Scope) -> Refusal | None:
        refusal = browser_refusal(scope) if state.door.is_open else session_refusal(state.door, scope)
        return (
            refusal or scrape_refusal(scope, scrapers) or page_refusal(scope, is_ambient=state.door.is_ambient(scope))
        )

    async def refused(scope: Scope, refusal: Refusal) -> None:
        await errors.audited_path(scope, refusal, book)

    app.add_middleware(
        Remembered, door=state.door, version=_version(state.registry), reads=_reads(app.documented, state)
    )
    app.add_middleware(Shortcut, door=state.door, deeds=_deeds(app.documented, state))
    app.add_middleware(
        Envelope,
        ids=state.ids,
        stopwatch=state.stopwatch,
        max_body_bytes=state.settings.api_max_body_bytes,
        observe=metrics.observe,
        once=metrics.answered_once,
        methods=methods,
        judge=judge,
        refused=refused,
    )
    return app


def _reads(routes: Iterable[APIRoute], state: AppState) -> list[Read]:
    """The routes that read nothing but the books (`of_the_books`) or are told at once, and are not open to everybody."""
    found = []
    for route in routes:
        is_of_the_books = bool(getattr(route.endpoint, "reads_only_books", False))
        told: ToldAtOnce | None = getattr(route.endpoint, "told_at_once", None)
        scope = openapi.scope_of(route.dependant) if route.methods == {"GET"} else None
        if scope is None or not (is_of_the_books or told):
            continue
        # A database behind a network may keep its reader waiting, and this one stands on the event loop.
        at_once = partial(told, state) if told is not None and state.registry.dialect == "sqlite" else None
        found.append(Read(route, scope, is_of_the_books, at_once))
    return found


def _deeds(routes: Iterable[APIRoute], state: AppState) -> list[Deed]:
    """The routes that are done at once, and are not open to everybody."""
    found = []
    for route in routes:
        done: DoneAtOnce | None = getattr(route.endpoint, "done_at_once", None)
        scope = openapi.scope_of(route.dependant) if route.methods == {"POST"} else None
        if done is not None and scope is not None:
            found.append(Deed(route, scope, partial(done, state)))
    return found


def _version(registry: Registry) -> Version:
    read: Callable[[], object | None] | None = None
    is_quick = registry.dialect == "sqlite"

    async def version() -> object | None:
        nonlocal read
        if read is None:
            # On the thread that will go on asking.
            read = store.version_reader(registry)
        return read() if is_quick else await run_in_threadpool(read)

    return version
