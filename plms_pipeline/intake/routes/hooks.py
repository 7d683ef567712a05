"""How does the executor tell that something ended?

Three addresses, because the sources have two designs of the same thing; one path behind them. An event is kept before it is
acknowledged (202), and settled afterwards by whoever is asked to. Either it is signed, or it comes with a token that
holds `hooks.write`; what is stale or forged is answered 401 and audited like every refusal.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import AppState, State, body_of
from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from plms_pipeline.errors import Forbidden, Unauthenticated
from plms_pipeline.intake.actions.inbox import accept_envelope
from plms_pipeline.intake.events import COMPLETION, RUN_COMPLETED, TASK_COMPLETED, envelope

router = APIRouter(tags=["events of the executor"])
PAS: Final = Actor("pas:webhook", is_verified=True)
SCOPE: Final = "hooks.write"
_KEPT_AS: Final = "intake.webhook_secret"


class EventAccepted(BaseModel):
    """The event is kept; it counts once however often it is delivered."""

    status: str = Field("accepted", description="Always `accepted`.", examples=["accepted"])
    event_id: str = Field(description="The id under which it is kept.", examples=["evt-7c1f"])
    duplicate: bool = Field(False, description="Whether the same event was kept before.")


class Delivery(BaseModel):
    """The headers of a delivery."""

    event_id: str | None
    timestamp: str | None
    signature: str | None
    authorization: str | None


def _delivery(
    x_plms_event_id: Annotated[
        str | None, Header(alias=EVENT_ID_HEADER, description="Names the event; derived from the body without it.")
    ] = None,
    x_plms_timestamp: Annotated[
        str | None, Header(alias=TIMESTAMP_HEADER, description="When it was signed: seconds since 1970.")
    ] = None,
    x_plms_signature: Annotated[
        str | None, Header(alias=SIGNATURE_HEADER, description="`v1=` and the hex HMAC-SHA256 of id.timestamp.body.")
    ] = None,
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Delivery:
    return Delivery(
        event_id=x_plms_event_id, timestamp=x_plms_timestamp, signature=x_plms_signature, authorization=authorization
    )


Body = Annotated[bytes, Depends(body_of)]
Headers = Annotated[Delivery, Depends(_delivery)]


# The sources' ids are numbers in one place and text in another.
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f]+$"}


def _documented(example: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The request body in the OpenAPI document; the route reads bytes, because bytes are what is signed."""
    schema = {
        "type": "object",
        "required": required,
        "properties": {
            "run_id": {"anyOf": [_TEXT, {"type": "integer"}]},
            "task_id": {"anyOf": [_TEXT, {"type": "integer"}, {"type": "null"}]},
            "attempt": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"type": "null"}]},
            "project_id": {"description": "Not looked at: a run belongs to one project."},
        },
    }
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_HINT: Final = {"project_id": 42, "run_id": "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"}
_RUN: Final = {
    "run_id": "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11",
    "validation_pass": True,
    "summary": {
        "tasks_total": 10, "tasks_succeeded": 9, "tasks_failed": 1, "spend_usd": 25.5, "duration_minutes": 120,
    },
}  # fmt: skip
_TASK: Final = {
    "run_id": "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11",
    "task_id": "write-tests",
    "attempt": 1,
    "status": "succeeded",
    "metrics": {"tokens_total": 1730, "time_ms": 8500, "cost_usd": 0.12},
    "kpis": [{"name": "test_pass_rate", "value": 1.0, "pass": True}],
}
_ANSWERS: Final = problems(403)


@router.post(
    "/webhooks/pas/completion",
    status_code=202,
    responses=_ANSWERS,
    summary="Something of a run ended",
    openapi_extra=_documented(_HINT, ["run_id"]),
)
def pas_completion(state: State, body: Body, headers: Headers) -> EventAccepted:
    """The guide's event. With only project_id and run_id it means: compare the run with the executor's status."""
    return _accept(COMPLETION, state, body, headers)


@router.post(
    "/hooks/pas/run_completed",
    status_code=202,
    responses=_ANSWERS,
    summary="A run ended at the executor",
    openapi_extra=_documented(_RUN, ["run_id"]),
)
def run_completed(state: State, body: Body, headers: Headers) -> EventAccepted:
    """A hint: a run ends when its tasks have, and our gates decide whether it was good."""
    return _accept(RUN_COMPLETED, state, body, headers)


@router.post(
    "/hooks/pas/task_completed",
    status_code=202,
    responses=_ANSWERS,
    summary="An attempt at a task ended",
    openapi_extra=_documented(_TASK, ["run_id", "task_id"]),
)
def task_completed(state: State, body: Body, headers: Headers) -> EventAccepted:
    """One attempt at one task ended, with what it took."""
    return _accept(TASK_COMPLETED, state, body, headers)


def _accept(endpoint: str, state: AppState, body: bytes, headers: Delivery) -> EventAccepted:
    # Who may not send gets no second opinion on what was sent.
    actor = _bearer(state, headers) if headers.signature is None else _signed_id_given(state, body, headers)
    event = envelope(body)
    event_id = headers.event_id
    if actor is None:
        event_id = event.derived_id(endpoint)
        _require_signature(state, event_id, body, headers)
    accepted = accept_envelope(
        state.registry, state.clock, event, endpoint=endpoint, actor=actor or PAS, event_id=_short_id(event_id)
    )
    if not accepted.duplicate:
        state.nudge()
    return EventAccepted(status="accepted", event_id=accepted.event_id, duplicate=accepted.duplicate)


def _signed_id_given(state: AppState, body: bytes, headers: Delivery) -> Actor | None:
    """PAS when the signature holds for the id of the header; None when there is no id and it must be derived first."""
    if headers.event_id is None:
        return None
    _require_signature(state, headers.event_id, body, headers)
    return PAS


def _require_signature(state: AppState, event_id: str, body: bytes, headers: Delivery) -> None:
    stamp = headers.timestamp or ""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Unauthenticated(
            f"A signed event needs {TIMESTAMP_HEADER} in whole seconds since 1970.", code="webhook_forged"
        )
    verify(_secret(state), event_id, int(stamp), body, headers.signature or "", now=state.clock.now())


def _bearer(state: AppState, headers: Delivery) -> Actor:
    principal = state.door.principal(headers.authorization)
    if not principal.may(SCOPE):
        raise Forbidden(f"Missing scope: {SCOPE}", code="missing_scope")
    return principal.actor


def _short_id(event_id: str | None) -> str | None:
    """An id that came with a token, where no signature has bounded its form."""
    if event_id is None or (0 < len(event_id) <= 128 and event_id.isascii() and event_id.isprintable()):
        return event_id
    raise Unauthenticated(f"{EVENT_ID_HEADER} must hold 1 to 128 visible ASCII characters.", code="webhook_forged")


def _secret(state: AppState) -> bytes:
    from plms_pipeline.pas.files import webhook_secret

    found: bytes | None = state.extras.get(_KEPT_AS)
    if found is None:
        found = state.extras[_KEPT_AS] = webhook_secret(state.settings)
    return found
