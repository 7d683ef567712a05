"""Is this process alive, can it work, what did the nights prove, and what does it count?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState, State, requires
from plms_pipeline.web.api import actions, health, proofs
from plms_pipeline.web.api.metrics import MEDIA_TYPE, ApiMetrics

EXECUTOR_SEEN = "executor_seen"
# Gives the status of the process that settles and dispatches; absent where there is none.
BACKGROUND_SEEN = "background_seen"
router = APIRouter(tags=["operations"])
Viewer = Annotated[Principal, requires("ops.view")]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ComponentState(BaseModel):
    """How one thing that the work needs is doing."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "degraded", "unhealthy", "missing", "unavailable", "unknown"]


_COMPONENTS: dict[str, JsonValue] = {
    "database": {"status": "healthy", "path": "sqlite:////srv/plms/registry.db", "tables": 60, "schema_valid": True},
    "filesystem": {"status": "healthy", "path": "/srv/plms", "free_mb": 51200},
    "pas": {"status": "degraded", "error": "pas_unavailable"},
}


class Readiness(BaseModel):
    """Whether the process can do its work."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "degraded", "components": _COMPONENTS}]})

    status: Literal["ready", "degraded", "not_ready"]
    components: dict[str, ComponentState]


class OperationsHealth(BaseModel):
    """Health with the field names of the sources."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "healthy", "components": _COMPONENTS, "degraded": True, "unhealthy_components": ["pas"]}
            ]
        }
    )

    status: Literal["healthy", "unhealthy"]
    components: dict[str, ComponentState]
    degraded: bool
    unhealthy_components: list[str]


class LatestProof(BaseModel):
    """The newest night's proof."""

    status: Literal["ok", "fail", "unknown", "error"]
    log_path: str | None = Field(
        None, description="Below the reports folder.", examples=["nightly/2026-03-01/invariants.json"]
    )
    tail: list[str] = Field(
        [], description="One line per invariant.", examples=[["✓ every_run_has_a_passport: 184/184"]]
    )
    timestamp: str | None = Field(None, examples=["2026-03-01T07:00:00+00:00"])
    violations: list[str] = Field([], description="At most 20 offenders.", examples=[[]])
    error: str | None = Field(None, description="Why there is no proof to tell of.")
    log_dir: str | None = None


class Night(BaseModel):
    """One proven night."""

    timestamp: str = Field(examples=["2026-03-01T07:00:00+00:00"])
    status: Literal["ok", "fail", "unknown", "error"]
    violations: int = Field(description="Offending rows; -1 when the proof cannot be read.", examples=[0])
    log_path: str = Field(examples=["nightly/2026-03-01/invariants.json"])


class History(BaseModel):
    """The proven nights, newest first."""

    history: list[Night]
    count: int = Field(examples=[1])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Asks nobody else and writes nothing."""
    return Alive()


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "It cannot work."}}
)
def readyz(state: State, response: Response) -> dict[str, Any]:
    """Can the process do its work? 503 when not; without executor or cache it is degraded, not dead."""
    found = _components(state)
    response.status_code = 200 if health.is_ready(found) else 503
    return health.readiness(found)


@router.get(
    "/api/ops/healthz",
    response_model=OperationsHealth,
    responses={503: {"model": OperationsHealth, "description": "It cannot work."}},
)
def operations_health(state: State, response: Response, _: Viewer) -> dict[str, Any]:
    """The same truth with the sources' field names."""
    found = _components(state)
    response.status_code = 200 if health.is_ready(found) else 503
    return health.operations_health(found)


@router.get("/api/ops/invariants/latest", response_model=LatestProof, response_model_exclude_unset=True)
def invariants_latest(state: State, _: Viewer) -> dict[str, Any]:
    """What the newest night proved."""
    return proofs.latest(actions.proofs(state.settings, 1))


@router.get("/api/ops/invariants/history", response_model=History)
def invariants_history(
    state: State, _: Viewer, limit: Annotated[int, Query(ge=1, le=365, description="How many nights.")] = 30
) -> dict[str, Any]:
    """What the last nights proved, newest first."""
    return proofs.history(actions.proofs(state.settings, limit), limit)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """The series of the processes that serve here in Prometheus' text format; they hold no project, run or task."""
    # In a thread: writing some thousand lines takes as long as fifty requests, and everybody would wait for it.
    counted: ApiMetrics = request.app.state.metrics
    return Response(counted.exposition(), media_type=MEDIA_TYPE)


def _components(state: AppState) -> list[health.Component]:
    background = state.extras.get(BACKGROUND_SEEN)
    return actions.components(
        state.registry, state.settings, state.cache, state.extras.get(EXECUTOR_SEEN),
        background=None if background is None else background(),
    )  # fmt: skip
