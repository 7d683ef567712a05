"""How is a project rehearsed over HTTP? POST does it, GET tells the newest."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState, ProjectId, State, requires
from plms_pipeline.errors import BadInput
from plms_pipeline.runs import rehearsal_api as api
from plms_pipeline.runs.actions import rehearse
from plms_pipeline.runs.actions.start import StartPolicy
from plms_pipeline.runs.routes.start import KEY_HEADER, REPLAY_HEADER, worlds_of
from plms_pipeline.runs.service.rehearsing import waited_for
from plms_pipeline.runs.stopping.actions import known_stop

router = APIRouter(tags=["runs"])
Mode = Literal["forecast", "canary"]
_RUNNING: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": api.RehearsalRunning, "description": "The canary runs; GET this address tells when it has ended."}
}


@router.post(
    "/api/projects/{project_id}/simulate",
    response_model=api.RehearsalDone,
    responses=_RUNNING,
    summary="Rehearse a project",
)
async def simulate(
    project_id: ProjectId,
    state: State,
    principal: Annotated[Principal, requires("projects.simulate")],
    rehearsal_pct: Annotated[
        float | None,
        Query(
            ge=api.MIN_PCT, le=api.MAX_PCT, allow_inf_nan=False,
            description="Share of the tasks, 0.01 when omitted. Raised up to 0.05 where a stratum would be left out.",
            examples=[0.01],
        ),
    ] = None,
    write_sandbox: Annotated[
        bool | None, Query(description="Kept for the sources' clients: a canary's writes are always suppressed.")
    ] = None,
    mode: Annotated[
        Mode, Query(description="forecast: priced from the priors, nothing runs. canary: the sample really runs.")
    ] = "forecast",
    seed: Annotated[
        int | None, Query(ge=0, le=api.MAX_SEED, description="Draws the sample; a new one when omitted.")
    ] = None,
    wait_s: Annotated[
        float, Query(ge=0, le=api.MAX_WAIT_S, allow_inf_nan=False, description="How long to wait for a canary to end.")
    ] = 0,
    body: api.SimulateBody | None = None,
    idempotency_key: Annotated[
        str | None, Header(alias=KEY_HEADER, description="A UUID; a canary needs one, a forecast ignores it.")
    ] = None,
) -> JSONResponse:  # fmt: skip
    """Rehearse a stratified sample of a project and extrapolate.

    No body is needed. A forecast is answered at once and spends nothing. A canary needs `Idempotency-Key` (400 without), starts
    a run with writes suppressed and answers 202, or 200 if it ends within `wait_s`; refused with 409 like any start.
    """
    given = body or api.SimulateBody(rehearsal_pct=None, write_sandbox=None)
    pct = _first(rehearsal_pct, given.rehearsal_pct, rehearse.DEFAULT_PCT)
    if mode == "forecast":
        found = await run_in_threadpool(
            rehearse.rehearse_by_priors, state.registry, project_id, pct=pct, seed=seed, clock=state.clock, ids=state.ids,
            actor=principal.actor, alpha=state.settings.alpha,
            write_sandbox=_first(write_sandbox, given.write_sandbox, False),
        )  # fmt: skip
        return JSONResponse(found.answer)
    found = await run_in_threadpool(_canary, state, principal, project_id, idempotency_key, pct, seed)
    found = await waited_for(state.registry, found, wait_s=wait_s, clock=state.clock, alpha=state.settings.alpha)
    return JSONResponse(
        found.answer,
        status_code=202 if found.is_running else 200,
        headers={REPLAY_HEADER: "true" if found.replayed else "false"},
    )


@router.get(
    "/api/projects/{project_id}/simulate",
    response_model=api.RehearsalDone,
    responses=_RUNNING,
    summary="The newest rehearsal of a project",
)
def newest(
    project_id: ProjectId,
    state: State,
    _principal: Annotated[Principal, requires("projects.view")],
    mode: Annotated[Mode | None, Query(description="Only of this mode.")] = None,
) -> JSONResponse:
    """The newest rehearsal: 200 when it has ended, 202 while its canary runs, 404 when there was none."""
    found = rehearse.newest_rehearsal(
        state.registry, project_id, clock=state.clock, alpha=state.settings.alpha, mode=mode
    )
    return JSONResponse(found.answer, status_code=202 if found.is_running else 200)


def _canary(
    state: AppState, principal: Principal, project_id: int, key: str | None, pct: float, seed: int | None
) -> rehearse.Rehearsed:
    settings = state.settings
    if key is None:
        raise BadInput("Invalid or missing Idempotency-Key header", code="invalid_idempotency_key")
    found = rehearse.start_canary(
        state.registry, project_id, key=key, pct=pct, seed=seed, clock=state.clock, ids=state.ids,
        actor=principal.actor, world=worlds_of(state).at_hand(), stopped=known_stop(state.extras, settings.data_dir),
        policy=StartPolicy(timedelta(seconds=settings.idempotency_ttl_seconds), settings.idempotency_keys),
        cache=state.cache,
    )  # fmt: skip
    if not found.replayed:
        state.nudge()
    return found


def _first(*values: Any) -> Any:
    """The first that was given."""
    return next(value for value in values if value is not None)
