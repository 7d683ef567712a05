"""What can be asked of the executor over HTTP?

Parse, call one action, answer. Actions are fast and run on the event loop itself: one thread owns the store. Submissions are
where the faults `slow` and `ambiguous` strike, after their effect, as in the world: the answer is late or lost, the work
is not. A try of the same submission is counted, or a fault that struck once would strike for ever.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from plms_pipeline import __version__
from plms_pipeline.errors import PlmsError
from plms_pipeline.pas.protocol import (
    ARCHITECT_PATH,
    BASE_PATH,
    ArchitectSubmission,
    CardAccepted,
    CardReference,
    Health,
    JobCard,
    ProviderState,
    RunAccepted,
    RunAnswer,
    RunReference,
    RunStatus,
    StartRun,
)
from plms_pipeline.pas.reference.actions import cards, runs, showing, workers
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.workers import Heartbeat, KpiResult, Simulated, SimulateRun, Told, WorkerReceipt

Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]


M = TypeVar("M", bound=BaseModel)


class Faces:
    """The HTTP side of one executor.

    Args:
        world: the executor.
        changed: called after whatever may have made work.
        sleep: waits, for the fault `slow`.
        slow_s: how late a slow answer is.
        token: what callers must show, or None.
    """

    def __init__(
        self,
        world: World,
        *,
        changed: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]],
        slow_s: float,
        token: str | None,
    ) -> None:
        self.world, self.changed, self.sleep, self.slow_s, self.token = world, changed, sleep, slow_s, token
        self.tries: Counter[str] = Counter()
        self.asked = 0

    async def submitted(self, key: str, answer: BaseModel, *, is_new: bool, new_status: int) -> JSONResponse:
        """The answer to a submission, unless a fault takes it."""
        self.changed()
        if self.world.faults.rates:
            self.tries[key] += 1
            if self.world.faults.strikes("slow", key, self.tries[key]):
                await self.sleep(self.slow_s)
            if self.world.faults.strikes("ambiguous", key, self.tries[key]):
                return JSONResponse({"detail": "the answer was lost", "code": "fault_ambiguous"}, status_code=500)
        return JSONResponse(
            answer.model_dump(mode="json"),
            status_code=new_status if is_new else 200,
            headers={"Idempotent-Replay": "false" if is_new else "true"},
        )


def build_app(faces: Faces) -> FastAPI:
    """The application of one executor."""
    app = FastAPI(title="Reference PAS", version=__version__)
    app.include_router(_submitting(faces), prefix=BASE_PATH)
    app.include_router(_controlling(faces), prefix=BASE_PATH)
    app.include_router(_showing(faces), prefix=BASE_PATH)
    app.include_router(_working(faces), prefix=BASE_PATH)
    app.include_router(_architect(faces))

    @app.get("/health", response_model=Health)
    async def health() -> Health:
        """That it works."""
        return showing.health(faces.world)

    _guard(app, faces.token)
    return app


def _submitting(faces: Faces) -> APIRouter:
    router = APIRouter()

    @router.post("/runs/start", response_model=RunAccepted)
    async def start(body: StartRun) -> JSONResponse:
        """Announce a run."""
        accepted = runs.start_run(faces.world, body)
        return await faces.submitted(f"run/{body.run_id}", accepted, is_new=not accepted.duplicate, new_status=200)

    @router.post("/jobcards", response_model=CardAccepted, status_code=201)
    async def card(body: JobCard, key: Key = None) -> JSONResponse:
        """Submit a card."""
        if key is not None and key != body.card_key:
            return _problem(400, "key_mismatch", "The header Idempotency-Key and card_key differ.")
        accepted = cards.submit_card(faces.world, body)
        return await faces.submitted(f"card/{body.card_key}", accepted, is_new=not accepted.duplicate, new_status=201)

    return router


def _architect(faces: Faces) -> APIRouter:
    router = APIRouter()

    @router.post(ARCHITECT_PATH, response_model=RunAccepted)
    async def submit(body: ArchitectSubmission, key: Key = None) -> JSONResponse:
        """Submit a whole run."""
        name = key or body.run_id
        if not name:
            return _problem(400, "key_missing", "Send the header Idempotency-Key, or a run_id.")
        accepted = runs.submit_whole(faces.world, body, name)
        return await faces.submitted(f"whole/{name}", accepted, is_new=not accepted.duplicate, new_status=200)

    return router


def _controlling(faces: Faces) -> APIRouter:
    router = APIRouter()

    def told(answer: M) -> M:
        faces.changed()
        return answer

    @router.post("/runs/pause", response_model=RunAnswer)
    async def pause(body: RunReference) -> RunAnswer:
        """Pause a run."""
        return told(runs.pause_run(faces.world, body))

    @router.post("/runs/resume", response_model=RunAnswer)
    async def resume(body: RunReference) -> RunAnswer:
        """Go on with a run."""
        return told(runs.resume_run(faces.world, body))

    @router.post("/runs/terminate", response_model=RunAnswer)
    async def terminate(body: RunReference) -> RunAnswer:
        """End a run."""
        return told(runs.terminate_run(faces.world, body))

    @router.post("/jobcards/cancel", response_model=CardAccepted)
    async def cancel(body: CardReference) -> CardAccepted:
        """End a card."""
        return told(cards.cancel_card(faces.world, body))

    @router.post("/tasks/pause", response_model=CardAccepted)
    async def pause_task(body: CardReference) -> CardAccepted:
        """Pause a card."""
        return told(cards.pause_task(faces.world, body))

    @router.post("/tasks/resume", response_model=CardAccepted)
    async def resume_task(body: CardReference) -> CardAccepted:
        """Go on with a card."""
        return told(cards.resume_task(faces.world, body))

    return router


def _working(faces: Faces) -> APIRouter:
    router = APIRouter()

    def told(answer: M) -> M:
        faces.changed()
        return answer

    @router.post("/heartbeats", response_model=Told)
    async def heartbeat(body: Heartbeat) -> Told:
        """A task still works."""
        return workers.heartbeat(faces.world, body)

    @router.post("/receipts", response_model=Told)
    async def receipt(body: WorkerReceipt) -> Told:
        """A task has ended, and took this."""
        return told(workers.receipt(faces.world, body))

    @router.post("/kpis", response_model=Told)
    async def kpi(body: KpiResult) -> Told:
        """A worker measured its own work."""
        return workers.kpi(faces.world, body)

    @router.post("/runs/simulate", response_model=Simulated)
    async def simulate(body: SimulateRun) -> Simulated:
        """What a run would take, from a sample of its cards."""
        return workers.simulate(faces.world, body)

    return router


def _showing(faces: Faces) -> APIRouter:
    router = APIRouter()

    @router.get("/runs/status", response_model=RunStatus)
    async def status(run_id: str) -> RunStatus:
        """A run with its tasks and receipts."""
        return showing.run_status(faces.world, run_id)

    @router.get("/providers", response_model=ProviderState)
    async def providers() -> ProviderState:
        """The version of every provider."""
        faces.asked += 1
        return showing.provider_state(faces.world, faces.asked)

    @router.get("/portfolio/status")
    async def portfolio() -> dict[str, Any]:
        """What works where."""
        return showing.portfolio(faces.world)

    @router.get("/health", response_model=Health)
    async def health() -> Health:
        """That it works, and what it can do."""
        return showing.health(faces.world)

    return router


def _guard(app: FastAPI, token: str | None) -> None:
    """Errors in our words, and nobody without the token but for `/health`."""

    @app.middleware("http")
    async def authenticated(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        if token is not None and request.url.path != "/health":
            shown = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(shown, f"Bearer {token}".encode()):
                return _problem(401, "unauthenticated", "Show the executor's token as bearer.")
        return await call_next(request)

    @app.exception_handler(PlmsError)
    async def refused(_request: Request, error: Exception) -> JSONResponse:
        known = error if isinstance(error, PlmsError) else PlmsError(str(error))
        return _problem(known.http_status, known.code, known.message)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: Exception) -> JSONResponse:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return _problem(422, "bad_message", f"{where}: {str(first['msg']).removeprefix('Value error, ')}")


def _problem(status: int, code: str, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail, "code": code}, status_code=status)
