"""How is a run started over HTTP?

The endpoint of the sources, with their field names: `Idempotency-Key` names the start, a repetition gets the same answer with
`Idempotent-Replay: true`. The answer is given once the run is durable; handing it to the executor is the business of the
thread that this nudges.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.answers import NoCache
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState, ProjectId, State, done_at_once, met_at_once, plain_id, requires
from plms_pipeline.registry.tables.vocabulary import RUN_KINDS
from plms_pipeline.runs.actions.start import Asked, StartPolicy, asked, start_run
from plms_pipeline.runs.actions.start_together import Outcome, start_together
from plms_pipeline.runs.service.gathering import Gathering
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.runs.starting import StartAnswer, StartRequest
from plms_pipeline.runs.stopping.actions import known_stop

router = APIRouter(tags=["runs"])
KEY_HEADER: Final = "Idempotency-Key"
REPLAY_HEADER: Final = "Idempotent-Replay"
_WORLDS: Final = "runs.worlds"
_STARTS: Final = "runs.starts"
_PLAIN_FIELDS: Final = {"run_kind": str, "write_sandbox": bool}
_RUN_ID: Final = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"


class StartBody(BaseModel):
    """What to start. Fields that are not named here are ignored, but belong to what a repetition must repeat."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"run_kind": "baseline", "write_sandbox": False}],
            # A baseline never runs in the sandbox.
            "anyOf": [
                {"properties": {"write_sandbox": {"const": False}}},
                {"properties": {"run_kind": {"enum": ["rehearsal", "replay", "hotfix"]}}, "required": ["run_kind"]},
            ],
        },
    )

    run_kind: str = Field(
        "baseline",
        description="What the run is for.",
        json_schema_extra={"enum": list(RUN_KINDS)},
        examples=["baseline"],
    )
    write_sandbox: bool = Field(False, description="Whether its writes are suppressed.", strict=True)


class Started(BaseModel):
    """A run was started."""

    status: str = Field(
        description="Always `executing`, the sources' word for a run that was started.", examples=["executing"]
    )
    run_id: str = Field(description="The run.", examples=[_RUN_ID])
    provider_matrix: dict[str, str] = Field(
        description="Which version of which provider works on it.", examples=[{"openai/gpt-4": "gpt-4-0613"}]
    )
    replay_passport_path: str = Field(
        description="Where the copy of its passport lies, below the data directory.",
        examples=[f"artifacts/{_RUN_ID}/passport.json"],
    )
    pas_job_cards: list[str] = Field(
        description="The keys of its job cards, in the order of the plan.",
        examples=[["5b1c54d8-3a6c-5f5c-8a0c-1f0a6b9d7e21"]],
    )


_KEY_PARAMETER: Final = {
    "name": KEY_HEADER,
    "in": "header",
    "required": True,
    "description": "Names this start: a UUID, new for each start, the same when one is repeated.",
    "schema": {
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    },
    "example": "7d9f3f0e-1111-4222-8333-444455556666",
}
_REPLAY: Final = {
    "description": "`true` when the same start was answered before: no second run was started.",
    "schema": {"type": "string", "enum": ["true", "false"]},
}


def worlds_of(state: AppState) -> Worlds:
    """What this process knows about the world; one for all requests."""
    found = state.extras.get(_WORLDS)
    if found is None:
        found = state.extras.setdefault(_WORLDS, Worlds(state.settings, state.pas))
    worlds: Worlds = found
    return worlds


def _at_once(
    state: AppState, principal: Principal, values: tuple[str, ...], headers: dict[bytes, bytes], body: bytes
) -> Awaitable[JSONResponse] | None:
    """A start in the plainest words: nothing but its key, its kind and its sandbox, each of the right type."""
    project_id, key = plain_id(values[0]), headers.get(KEY_HEADER.lower().encode())
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if project_id is None or key is None or type(told) is not dict or not told.keys() <= _PLAIN_FIELDS.keys():
        return None
    if any(type(value) is not _PLAIN_FIELDS[name] for name, value in told.items()):
        return None
    return _done(state, principal, StartRequest(project_id, key.decode("latin-1"), **told, body=told))


async def _done(state: AppState, principal: Principal, request: StartRequest) -> JSONResponse:
    answer = await _answered(state, principal, request)
    if not answer.replayed:
        state.nudge("dispatch")
    headers = {REPLAY_HEADER: "true" if answer.replayed else "false"}
    return JSONResponse(answer.body, status_code=answer.status_code, headers=headers)


@router.post(
    "/api/projects/{project_id}/start",
    response_model=Started,
    responses={200: {"headers": {REPLAY_HEADER: _REPLAY}}},
    openapi_extra={"parameters": [_KEY_PARAMETER]},
    summary="Start a run of a project",
)
@done_at_once(_at_once)
async def start(
    asked_with: Request,
    project_id: ProjectId,
    body: StartBody,
    state: State,
    principal: Annotated[Principal, requires("projects.start")],
    idempotency_key: Annotated[str | None, Header(alias=KEY_HEADER, include_in_schema=False)] = None,
) -> JSONResponse:
    """Start a run, once per key.

    The run waits for its turn (`max_active_runs` of its project) and is handed to the executor from then on. Refused with 409:
    `not_approved`, `project_held`, `budget_exceeded`, `no_tasks`, `killswitch_on`, `passport_incomplete`, and, with
    Retry-After, `idempotency_in_progress`; with 422 `idempotency_key_reused` when the key was used with another body.
    """
    met_at_once(asked_with)
    request = StartRequest(
        project_id,
        idempotency_key,
        run_kind=body.run_kind,
        write_sandbox=body.write_sandbox,
        body=body.model_dump(exclude_unset=True),
    )
    return await _done(state, principal, request)


async def _answered(state: AppState, principal: Principal, request: StartRequest) -> StartAnswer:
    """The answer to a start, given here when nothing must be waited for, else by a thread.

    A start is a transaction of a millisecond or two. Handing it to a thread and back costs as much again, and far more while
    other threads are at work; but the event loop must never wait for another writer, for Redis or for the executor. Those
    that come at the same moment share one transaction.
    """
    if isinstance(state.cache, NoCache) and state.registry.dialect == "sqlite" and worlds_of(state).is_at_hand:
        one = asked(request, **_known(state, principal))
        return await _starts_of(state).answer(one)
    return await run_in_threadpool(_start, state, principal, request)


def _starts_of(state: AppState) -> Gathering[Asked, StartAnswer]:
    """Where the starts of this process gather."""
    found = state.extras.get(_STARTS)
    if found is None:

        def together(starts: Sequence[Asked], at_once: bool) -> list[Outcome]:  # noqa: FBT001 - as `Gathering` calls it
            return start_together(
                state.registry, starts, clock=state.clock, ids=state.ids, policy=_policy(state), at_once=at_once
            )

        found = state.extras.setdefault(_STARTS, Gathering(together))
    starts: Gathering[Asked, StartAnswer] = found
    return starts


def _policy(state: AppState) -> StartPolicy:
    return StartPolicy(timedelta(seconds=state.settings.idempotency_ttl_seconds), state.settings.idempotency_keys)


def _known(state: AppState, principal: Principal) -> dict[str, Any]:
    """What a start must know besides what was asked."""
    return {
        "actor": principal.actor, "world": worlds_of(state).at_hand(), "policy": _policy(state),
        "stopped": known_stop(state.extras, state.settings.data_dir),
    }  # fmt: skip


def _start(state: AppState, principal: Principal, request: StartRequest) -> StartAnswer:
    return start_run(
        state.registry, clock=state.clock, ids=state.ids, request=request, cache=state.cache, **_known(state, principal)
    )
