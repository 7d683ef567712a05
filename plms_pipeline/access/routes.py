"""What does every route need to know about its application and its caller?

Routes live in every domain and the application above all of them, so what they share stands here, below them: the state
that the application carries, the dependency that names the scope a route needs, and the types of ids in paths. The check
reads one header and, for a token seen before, makes one digest; nothing is read from the registry.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from plms_pipeline.access.answers import AnswerCache, NoCache
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.principals import Principal
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Forbidden, PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

E = TypeVar("E", bound=Callable[..., Any])
# PostgreSQL's INTEGER: a larger number is no id, and asking for it would be an error of the driver.
MAX_ID = 2**31 - 1
RUN_ID_FORM = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_CANONICAL = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_PLAIN = re.compile(rb"[A-Za-z0-9_-]+=[A-Za-z0-9_-]+")


def _canonical(written: object) -> object:
    """An id has one spelling: pydantic also reads "+1", "1.0" and "1_0", and two spellings are two idempotency keys."""
    if isinstance(written, str) and not _CANONICAL.fullmatch(written):
        raise ValueError("an id is written with digits only, the first one not 0")
    return written


ProjectId = Annotated[
    int, Path(ge=1, le=MAX_ID, description="Id of a project.", examples=[42]), BeforeValidator(_canonical)
]
RunId = Annotated[
    str,
    Path(
        pattern=RUN_ID_FORM,
        description="Id of a run.",
        examples=["3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"],
    ),
]


@dataclass(slots=True)
class AppState:
    """What the routes of an application reach the world through; kept in `app.state.plms`.

    Args:
        settings: validated once.
        registry: open, at head.
        clock: what time it is.
        ids: makes a new unique id (UUID text).
        door: turns a request's header into a principal.
        pas: gives the client of PAS (`plms_pipeline.pas.client.PasClient`), one per process.
        cache: finished idempotent answers.
        nudge: asks for the named kinds of background work now (`settle`, `dispatch`), or for all; returns at once.
        stopwatch: seconds on a clock that never jumps.
        extras: what one domain's routes share among themselves, by a name of theirs.
    """

    settings: Settings
    registry: Registry
    clock: Clock
    ids: Callable[[], str]
    door: Doorkeeper
    pas: Callable[[], Any]
    cache: AnswerCache = field(default_factory=NoCache)
    nudge: Callable[..., None] = lambda *_names: None
    stopwatch: Callable[[], float] = lambda: 0.0
    extras: dict[str, Any] = field(default_factory=dict)


def state_of(request: Request) -> AppState:
    """The state of the application that a request was sent to."""
    state: AppState = request.app.state.plms
    return state


@dataclass(frozen=True, slots=True)
class ScopeCheck:
    """A FastAPI dependency: the caller's principal, who holds `scope`.

    The OpenAPI document finds it among a route's dependencies and says 401, 403 and the scope there.
    """

    scope: str

    async def __call__(self, request: Request) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: nobody we know (401).
            Forbidden: somebody who may not (403, `Missing scope: …`).
        """
        principal = _known(request)
        if not principal.may(self.scope):
            raise Forbidden(f"Missing scope: {self.scope}", code="missing_scope")
        return principal


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """A FastAPI dependency: the caller's principal, whatever scopes they hold."""

    async def __call__(self, request: Request) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: nobody we know (401).
        """
        return _known(request)


def _known(request: Request) -> Principal:
    principal = state_of(request).door.of(request.scope)
    # Kept for the audit of a refusal and for the log.
    request.state.principal = principal
    return principal


def requires(scope: str) -> Any:
    """`principal: Annotated[Principal, requires("projects.view")]` in a route: the caller must hold the scope."""
    return Depends(ScopeCheck(scope))


def of_the_books(endpoint: E) -> E:
    """Mark a GET route whose answer depends on nothing but its path, its query and the registry.

    Its answers are given again while nobody has committed anything. Not for what also looks at the clock, at files or at the
    executor, and not for what differs between callers. Stands below the route's own decorator.
    """
    endpoint.reads_only_books = True  # type: ignore[attr-defined]  # read by the application when it collects its routes
    if inspect.iscoroutinefunction(endpoint) or "state" not in inspect.signature(endpoint).parameters:
        return endpoint
    return quick_read(endpoint)


# (state, what stands in the braces of the path, query string) → the JSON of the answer; None: let the route answer.
ToldAtOnce = Callable[[AppState, tuple[str, ...], bytes], bytes | None]


def told_at_once(by: ToldAtOnce) -> Callable[[E], E]:
    """Mark a plain GET route whose usual questions need none of the framework: `by` answers them, or leaves them to the route.

    It is asked on the event loop, after the caller's token was checked for the scope of the route, and only where the registry
    is SQLite. Whatever is not the plainest form of a question (a parameter that it does not know well, an error) it leaves to
    the route, which must give the same bytes. Stands below the route's own decorator, above `of_the_books`.
    """

    def marked(endpoint: E) -> E:
        endpoint.told_at_once = by  # type: ignore[attr-defined]  # read by the application when it collects its routes
        return endpoint

    return marked


# (state, who asks, what stands in the braces of the path, headers, body) → the answer; None: let the route answer.
DoneAtOnce = Callable[[AppState, Principal, tuple[str, ...], dict[bytes, bytes], bytes], Awaitable[Any] | None]
# Under which name a request's state holds the error that was met when it was done at once: the route raises it.
MET_AT_ONCE = "met_at_once"


def done_at_once(by: DoneAtOnce) -> Callable[[E], E]:
    """Mark a POST route whose plainest requests need none of the framework: `by` does them, or leaves them to the route.

    It is asked after the caller's token was checked for the scope of the route, with a body that calls itself JSON and no
    header or query that the framework would have to weigh. A `PlmsError` that it raises is handed to the route as
    `met_at_once(request)`, to be raised there and not to be met again. Stands below the route's own decorator.
    """

    def marked(endpoint: E) -> E:
        endpoint.done_at_once = by  # type: ignore[attr-defined]  # read by the application when it collects its routes
        return endpoint

    return marked


def met_at_once(request: Request) -> None:
    """Raise what was met when this request was done at once.

    Raises:
        PlmsError: that.
    """
    error: PlmsError | None = getattr(request.state, MET_AT_ONCE, None)
    if error is not None:
        raise error


def plain_id(written: str) -> int | None:
    """An id in its one spelling, or None."""
    if not _CANONICAL.fullmatch(written):
        return None
    number = int(written)
    return number if number <= MAX_ID else None


def plain_query(query: bytes) -> dict[bytes, bytes] | None:
    """The parameters of a query string without anything encoded or doubled; None for any other."""
    found: dict[bytes, bytes] = {}
    if not query:
        return found
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name in found or not _PLAIN.fullmatch(part):
            return None
        found[name] = value
    return found


def quick_read(endpoint: E) -> E:
    """Answer a plain GET route that has the parameter `state: State` on the event loop itself, where the registry is SQLite.

    It reads a local file for a millisecond and waits for no writer, and fifty threads that take turns at the interpreter need
    longer for the same. A database behind a network may keep its reader waiting, so there a thread does.
    """

    @functools.wraps(endpoint)
    async def answered(**given: Any) -> Any:
        state: AppState = given["state"]
        if state.registry.dialect == "sqlite":
            return endpoint(**given)
        return await run_in_threadpool(endpoint, **given)

    return cast("E", answered)


async def body_of(request: Request) -> bytes:
    """The body of a request, byte for byte; the application has limited its length before."""
    return await request.body()


async def _state(request: Request) -> AppState:
    # A plain function would be sent to a worker thread for every request.
    return state_of(request)


State = Annotated[AppState, Depends(_state)]
