"""How is a single run called off, and how is it repeated, over HTTP? The actions of the terminal and of the Dagster jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Body, Header
from fastapi.responses import JSONResponse

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import RunId, State, requires
from plms_pipeline.portfolio.policies import launcher_policy
from plms_pipeline.runs import project_forms as forms
from plms_pipeline.runs import runs_api as api
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.closing import run_status
from plms_pipeline.runs.actions.replay import replay_run
from plms_pipeline.runs.actions.start import StartPolicy
from plms_pipeline.runs.routes.start import KEY_HEADER, REPLAY_HEADER, Started, worlds_of
from plms_pipeline.runs.stopping.actions import known_stop

router = APIRouter(tags=["runs"])
Operator = Annotated[Principal, requires("projects.start")]
Why = Annotated[forms.WhyIn | None, Body(examples=[{"reason": "wrong branch"}])]
_HEADER: Final = {
    "description": "`true` when the same replay was answered before: no second run was started.",
    "schema": {"type": "string", "enum": ["true", "false"]},
}
_KEY: Final = {
    "name": KEY_HEADER,
    "in": "header",
    "required": True,
    "description": "Names this replay: a UUID, new for each one, the same when one is repeated.",
    "schema": {
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    },
    "example": "7d9f3f0e-1111-4222-8333-444455556666",
}


@router.post("/api/runs/{run_id}/cancel", response_model=api.Cancelled, summary="Call a run off")
def cancel(run_id: RunId, state: State, principal: Operator, body: Why = None) -> JSONResponse:
    """What was not handed over never is; what the executor works on it is asked to end.

    Safe to repeat while the run goes on. Refused with 409 `run_ended` when it has ended: what has ended never changes.
    """
    done = cancel_run(
        state.registry, clock=state.clock, actor=principal.actor, run_id=run_id,
        reason=(body.reason if body else None) or "cancelled over HTTP",
    )  # fmt: skip
    state.nudge("dispatch", "settle")
    return JSONResponse({"run_id": done.run_id, "has_ended": done.has_ended})


@router.post(
    "/api/runs/{run_id}/replay",
    response_model=Started,
    responses={200: {"headers": {REPLAY_HEADER: _HEADER}}},
    openapi_extra={"parameters": [_KEY]},
    summary="Repeat a run",
)
def replay(
    run_id: RunId,
    state: State,
    principal: Operator,
    body: api.ReplayIn | None = None,
    idempotency_key: Annotated[str | None, Header(alias=KEY_HEADER, include_in_schema=False)] = None,
) -> JSONResponse:
    """Start a run of kind `replay` that repeats this one, once per key; its inputs are compared with the passport first.

    Refused with 409: `replay_differs` (GET of this address names what), `run_not_ended`, `no_passport`, `passport_altered`, and
    as a start is. When it has ended, `/comparison` of the new run tells whether it made the same files.
    """
    settings = state.settings
    run_status(state.registry, run_id)  # for a run that is not there nobody asks the executor
    answer, _ = replay_run(
        state.registry, run_id, clock=state.clock, ids=state.ids, actor=principal.actor, key=idempotency_key,
        world=worlds_of(state).at_hand(), stopped=known_stop(state.extras, settings.data_dir),
        accept_drift=body.accept_drift if body else False,
        policy=StartPolicy(
            timedelta(seconds=settings.idempotency_ttl_seconds), settings.idempotency_keys, launcher_policy(settings)
        ),
        cache=state.cache,
    )  # fmt: skip
    if not answer.replayed:
        state.nudge("dispatch")
    headers = {REPLAY_HEADER: "true" if answer.replayed else "false"}
    return JSONResponse(answer.body, status_code=answer.status_code, headers=headers)
