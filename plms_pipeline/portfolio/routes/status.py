"""What runs, what waits and why, over HTTP? One call of an action each."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import MAX_ID, State, of_the_books, quick_read, requires
from plms_pipeline.portfolio.actions import status as actions
from plms_pipeline.portfolio.files import flag_reason

router = APIRouter(tags=["portfolio"])
Viewer = Annotated[Principal, requires("portfolio.view")]
Id = Annotated[int | None, Query(ge=0, le=MAX_ID)]


class LaneRunning(BaseModel):
    """What holds the slots of a lane."""

    running: int
    limit: int
    utilization: float = Field(description="running ÷ limit; above 1 only after the limit was lowered.")
    tasks: list[str]


class PortfolioStatus(BaseModel):
    """What runs and what waits."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "queued": {"priority_1": 0, "priority_2": 0, "priority_3": 12, "priority_4": 0, "priority_5": 1},
        "running_by_lane": {"4200": {"running": 3, "limit": 4, "utilization": 0.75, "tasks": ["api", "tests", "docs"]}},
        "total_queued": 13, "total_running": 3, "timestamp": "2026-03-01T12:00:00.000000Z", "lane_limits": {"4200": 4},
    }]})  # fmt: skip
    queued: dict[str, int] = Field(description="`priority_1` (least) to `priority_5` → tasks that have not gone out.")
    running_by_lane: dict[str, LaneRunning]
    total_queued: int
    total_running: int
    timestamp: str
    lane_limits: dict[str, int]


class LaneCaps(BaseModel):
    """Every lane."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"lanes": {"4200": 4}, "description": {"4200": "Endpoints and services"}}]}
    )
    lanes: dict[str, int]
    description: dict[str, str]


class QueuedTaskOut(BaseModel):
    """A task that waits, and the first obstacle in its way."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "lane_id": 4200, "project_id": 42, "project": "Calculator", "run_id": "5a1e0c6e-6c1e-4a7e-9d0e-2f6b1c3d4e5f",
        "task_id": "docs", "attempt": 1, "priority": 3, "place": None, "waited_s": 12.5, "reason": "dependency",
        "detail": "it depends on api",
    }]})  # fmt: skip

    lane_id: int
    project_id: int
    project: str
    run_id: str
    task_id: str
    attempt: int
    priority: int
    place: int | None = Field(description="Within its project and lane; null until only its turn is missing.")
    waited_s: float
    reason: str
    detail: str


@router.get("/api/portfolio/status", response_model=PortfolioStatus, summary="What runs and what waits, lane by lane")
@quick_read
def status(state: State, _principal: Viewer) -> JSONResponse:
    """The sources' fields."""
    return JSONResponse(actions.portfolio_status(state.registry, clock=state.clock))


@router.get("/api/portfolio/lanes", response_model=LaneCaps, summary="Lanes and their caps")
@of_the_books
def lanes(state: State, _principal: Viewer) -> JSONResponse:
    """Caps and descriptions."""
    return JSONResponse(actions.lane_caps(state.registry))


@router.get(
    "/api/portfolio/queue", response_model=list[QueuedTaskOut], responses=problems(404), summary="What waits, and why"
)
def queue(
    state: State,
    _principal: Viewer,
    lane_id: Id = None,
    project_id: Id = None,
    run_id: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=actions.MOST_TASKS)] = 100,
) -> Any:
    """Tasks that have not gone out, each with the first obstacle in its way; 404 for a lane, project or run that is none."""
    actions.require_known(state.registry, lane_id=lane_id, project_id=project_id, run_id=run_id)
    found = actions.queue_of(
        state.registry, clock=state.clock, flag=flag_reason(state.settings.data_dir), lane_id=lane_id,
        project_id=project_id, run_id=run_id, limit=limit, max_runs=state.settings.pas_max_runs,
    )  # fmt: skip
    return [one.shown for one in found]
