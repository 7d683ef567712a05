"""What is told about a project over HTTP? Read endpoints: one call of an action each, the answer as it comes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BeforeValidator

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import (
    MAX_ID,
    AppState,
    ProjectId,
    ScopeCheck,
    State,
    of_the_books,
    plain_id,
    plain_query,
    quick_read,
    requires,
    told_at_once,
)
from plms_pipeline.errors import BadInput
from plms_pipeline.runs import views_api as api
from plms_pipeline.runs.actions import views
from plms_pipeline.runs.actions import views_told as told
from plms_pipeline.runs.actions.budget_check import MOST_HISTORY, runway_history
from plms_pipeline.runs.service.runway_stream import watch_of

router = APIRouter(tags=["projects"])
Viewer = Annotated[Principal, requires("projects.view")]
After = Annotated[int, Query(ge=0, le=MAX_ID, description="Only ids above this one.")]
_FLAGS = {b"0": False, b"1": True, b"false": False, b"true": True}
Limit = Annotated[int, Query(ge=1, le=views.MAX_LISTED, description="At most so many.")]


def _told(content: Any) -> JSONResponse:
    # The models above document the answer; checking it against them on every read would cost more than making it.
    return JSONResponse(content)


def _bytes(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _metrics_at_once(state: AppState, path: tuple[str, ...], query: bytes) -> bytes | None:
    number, given = plain_id(path[0]), plain_query(query)
    if number is None or given is None:
        return None
    with_ci, breakdown = _FLAGS.get(given.get(b"with_ci", b"0")), given.get(b"breakdown", b"basic")
    if with_ci is None or breakdown not in (b"basic", b"all"):
        return None
    return told.metrics(state.registry, number, with_ci=with_ci, with_breakdown=breakdown == b"all")


def _status_at_once(state: AppState, path: tuple[str, ...], _query: bytes) -> bytes | None:
    number = plain_id(path[0])
    return None if number is None else told.status(state.registry, number)


def _runway_at_once(state: AppState, path: tuple[str, ...], _query: bytes) -> bytes | None:
    number = plain_id(path[0])
    return None if number is None else told.budget_runway(state.registry, number, clock=state.clock)


def _written_out(value: object) -> object:
    """A bare number is no moment, although it could be read as seconds since 1970."""
    if isinstance(value, str) and value.replace(".", "", 1).lstrip("+-").isdigit():
        raise ValueError("write a moment as 2026-03-01T12:00:00Z")
    return value


@router.get("/api/projects/{project_id}/metrics", response_model=api.Metrics, summary="Estimated against actual")
@told_at_once(_metrics_at_once)
@of_the_books
def metrics(
    project_id: ProjectId,
    state: State,
    _principal: Viewer,
    with_ci: Annotated[bool, Query(description="With 90 % intervals and errors per lane.")] = False,
    breakdown: Annotated[
        Literal["basic", "all"], Query(description="`all`: where the tokens went, and energy.")
    ] = "basic",
) -> Response:
    """What a project was estimated to take, what it took, and how far apart that is."""
    return _bytes(told.metrics(state.registry, project_id, with_ci=with_ci, with_breakdown=breakdown == "all"))


@router.get("/api/projects/{project_id}/estimation-drift", response_model=api.Drift, summary="Where estimates drift")
@of_the_books
def estimation_drift(
    project_id: ProjectId,
    state: State,
    _principal: Viewer,
    lane_id: Annotated[
        int | None, Query(ge=0, le=MAX_ID, description="The lane; the one with most tasks of the project when omitted.")
    ] = None,
) -> JSONResponse:
    """How far the tokens of a lane lay from their estimates in the last ten projects."""
    return _told(views.estimation_drift(state.registry, project_id, lane_id=lane_id))


@router.get("/api/projects/{project_id}/status", response_model=api.StatusOut, summary="How a project stands")
@told_at_once(_status_at_once)
@of_the_books
def status(project_id: ProjectId, state: State, _principal: Viewer) -> Response:
    """State, progress of the newest run, budget, and the gates that failed."""
    return _bytes(told.status(state.registry, project_id))


@router.get("/api/projects/{project_id}/receipts", response_model=list[api.ReceiptOut], summary="Receipts of a project")
@of_the_books
def receipts(
    project_id: ProjectId, state: State, _principal: Viewer, after: After = 0, limit: Limit = 100
) -> JSONResponse:
    """What every attempt at a task took, in order of id."""
    return _told(views.receipts(state.registry, project_id, after=after, limit=limit))


@router.get("/api/projects/{project_id}/artifacts", response_model=list[api.ArtifactOut], summary="Files of a project")
@of_the_books
def artifacts(
    project_id: ProjectId, state: State, _principal: Viewer, after: After = 0, limit: Limit = 100
) -> JSONResponse:
    """The files that a project's runs left, in order of id."""
    return _told(views.artifacts(state.registry, project_id, after=after, limit=limit))


@router.get("/api/projects/{project_id}/budget-runway", response_model=api.Runway, summary="How long the budget lasts")
@told_at_once(_runway_at_once)
@quick_read
def budget_runway(project_id: ProjectId, state: State, _principal: Viewer) -> Response:
    """What was spent, how fast, and when the budget is gone."""
    return _bytes(told.budget_runway(state.registry, project_id, clock=state.clock))


@router.get(
    "/api/projects/{project_id}/budget-runway/history", response_model=api.RunwayHistory, summary="How the money stood"
)
@of_the_books
def budget_history(
    project_id: ProjectId,
    state: State,
    _principal: Viewer,
    since: Annotated[
        datetime | None,
        BeforeValidator(_written_out),
        Query(description="Only looks after this moment (with its zone)."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_HISTORY, description="At most so many, the newest.")] = 500,
) -> JSONResponse:
    """The looks at a project's money that differed from the one before, oldest first; thinned as they grow old."""
    if since is not None and since.tzinfo is None:
        raise BadInput(f"since={since.isoformat()} has no time zone; write it as 2026-03-01T12:00:00Z.", code="no_zone")
    return _told(runway_history(state.registry, project_id, since=since, limit=limit))


@router.get(
    "/api/projects/{project_id}/budget-runway/stream",
    response_class=StreamingResponse,
    summary="How long the budget lasts, as it changes",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}},
                     "description": "Events `runway` with the payload of the endpoint above; comments as heartbeat."}},
)  # fmt: skip
async def budget_stream(request: Request, project_id: ProjectId, state: State, _principal: Viewer) -> StreamingResponse:
    """The runway at once, then whenever it has changed, and a heartbeat every fifteen seconds.

    Refused with 503 `too_many_streams` when this process has as many as it bears. Ends when the server does, and when the
    caller may not read any more.
    """
    watch = watch_of(state)
    first = await watch.opened(project_id)
    check = ScopeCheck("projects.view")

    async def still_may() -> None:
        await check(request)

    # A proxy that collects an answer before it hands it on would make a stream of it that never says anything.
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(
        watch.events(project_id, first, still_may), media_type="text/event-stream", headers=headers
    )  # fmt: skip


budget_stream.is_a_stream = True  # type: ignore[attr-defined]  # how long it lasted is nobody's latency


@router.get("/api/projects/{project_id}/risk-heatmap", response_model=api.Heatmap, summary="Risk per lane")
@of_the_books
def risk_heatmap(project_id: ProjectId, state: State, _principal: Viewer) -> JSONResponse:
    """Estimation, execution and validation risk of every lane of a project."""
    return _told(views.risk_heatmap(state.registry, project_id))
