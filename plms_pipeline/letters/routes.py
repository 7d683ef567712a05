"""What failed, and what a person decides about it, over HTTP; `inspect` and `retry` stand where runs are known.

A reason is text that somebody else wrote: it is answered as JSON, and whoever shows it must show it as text.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn, Reason, Request
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import State, quick_read, requires
from plms_pipeline.errors import BadInput
from plms_pipeline.letters.actions import deciding, showing

router = APIRouter(tags=["dead letters"])
Viewer = Annotated[Principal, requires("ops.view")]
Operator = Annotated[Principal, requires("projects.start")]
LETTER: dict[str, Any] = {
    "letter_id": "3f2b8c1e-5a49-5f0e-9d55-0a4b6d2f7c11", "kind": "run", "subject_id": "5a1e0c6e", "error_class": "TRANSIENT",
    "reason": "api: connection reset", "fingerprint": "0a1b2c3d4e5f6071", "attempts": 1, "max_attempts": 3,
    "state": "ready", "next_due_at": "2026-03-01T12:00:07+00:00", "first_failed_at": "2026-03-01T11:59:00+00:00",
    "last_failed_at": "2026-03-01T12:00:00+00:00", "last_actor": "settlement", "project_id": 42, "run_id": "5a1e0c6e",
    "lane_id": None, "lease_holder": None, "lease_expires_at": None, "payload": None, "ended_at": None,
    "label": "connection", "template": "api: connection reset",
}  # fmt: skip
LetterName = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}$",
        description="A letter's id or the run that failed, each or its beginning (4 characters); or the event or effect.",
        examples=[LETTER["letter_id"]],
    ),
]


class LetterOut(BaseModel):
    """One dead letter."""

    model_config = ConfigDict(json_schema_extra={"examples": [LETTER]})
    letter_id: str
    kind: str
    subject_id: str
    error_class: str = Field(description="TRANSIENT is tried again; PERMANENT and POLICY never.")
    reason: str = Field(description="What somebody else wrote, cleaned; text, not markup.")
    fingerprint: str = Field(description="The same for letters of one cause.")
    attempts: int = Field(description="Retries that were begun.")
    max_attempts: int
    state: str = Field(description="ready, processing, done, permanent or quarantined.")
    next_due_at: str | None
    first_failed_at: str
    last_failed_at: str
    last_actor: str
    project_id: int | None
    run_id: str | None
    lane_id: int | None
    lease_holder: str | None
    lease_expires_at: str | None
    payload: Any
    ended_at: str | None
    label: str = Field(description="What the reason was taken for.")
    template: str = Field(description="The reason without what differs from case to case.")


class GroupOut(BaseModel):
    """Letters of one cause."""

    fingerprint: str
    kind: str
    error_class: str
    letters: int
    open_letters: int
    newest_at: str
    example: str


class LettersOut(BaseModel):
    """How the dead letters stand."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "backlog": 1, "due": 0, "by_state": {"ready": 1, "processing": 0, "done": 4, "permanent": 2, "quarantined": 0},
        "by_class": {"TRANSIENT": 1, "PERMANENT": 2, "POLICY": 0}, "by_kind": {"run": 3},
        "oldest_open_at": "2026-03-01T11:59:00+00:00", "retries_helped": 4, "retries_over": 5,
        "retry_success_ratio": 0.8, "fingerprints": [], "letters": [LETTER],
    }]})  # fmt: skip
    backlog: int = Field(description="Letters that are owed work.")
    due: int
    by_state: dict[str, int]
    by_class: dict[str, int]
    by_kind: dict[str, int]
    oldest_open_at: str | None
    retries_helped: int
    retries_over: int
    retry_success_ratio: float | None = Field(description="Between 0 and 1; null before any retry has ended.")
    fingerprints: list[GroupOut]
    letters: list[LetterOut]


class ResetIn(BecauseIn):
    """Why a letter begins anew."""

    is_transient: bool = Field(
        False, strict=True, description="What was taken for PERMANENT may be tried again. POLICY never may."
    )


class QuarantineIn(Request):
    """Which letters are set apart: one, those of one cause, or (`everything`) the whole backlog."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={
        "examples": [{"reason": "one provider", "fingerprint": "0a1b2c3d4e5f6071"}],
        "oneOf": [
            {"required": ["letter"],
             "properties": {"letter": {"type": "string"}, "fingerprint": {"type": "null"}, "everything": {"const": False}}},
            {"required": ["fingerprint"],
             "properties": {"letter": {"type": "null"}, "fingerprint": {"type": "string"}, "everything": {"const": False}}},
            {"required": ["everything"],
             "properties": {"letter": {"type": "null"}, "fingerprint": {"type": "null"}, "everything": {"const": True}}},
        ],
    })  # fmt: skip
    reason: Reason
    letter: str | None = Field(None, min_length=1, max_length=255)
    fingerprint: str | None = Field(None, min_length=1, max_length=64)
    everything: bool = Field(False, strict=True)


class QuarantinedOut(BaseModel):
    """What was set apart."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quarantined": [LETTER["letter_id"]]}]})
    quarantined: list[str]


@router.get("/api/dead-letters", response_model=LettersOut, summary="What failed and is owed")
@quick_read
def listed(
    state: State,
    _principal: Viewer,
    letter_state: Annotated[
        showing.Shown,
        Query(alias="state", description="Which letters are listed; open: what is owed."),
    ] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """Counts by state and class, how often retries help, the causes, and the letters: those due first."""
    states = showing.states_of(letter_state)
    return showing.status(state.registry, clock=state.clock, limit=limit, states=states).as_json()


@router.post("/api/dead-letters/{name}/mark-permanent", response_model=LetterOut, summary="Put a letter aside for good")
def mark_permanent(name: LetterName, body: BecauseIn, state: State, principal: Operator) -> dict[str, Any]:
    """It is not retried any more, and never cleaned away.

    Refused with 409: `letter_ended` when it is so already, `retry_under_way` while its retry has a run that goes on.
    """
    return showing.as_json(
        deciding.mark_permanent(state.registry, name, clock=state.clock, actor=principal.actor, reason=body.reason)
    )


@router.post("/api/dead-letters/{name}/reset-retries", response_model=LetterOut, summary="Let a letter begin anew")
def reset_retries(name: LetterName, body: ResetIn, state: State, principal: Operator) -> dict[str, Any]:
    """What was put aside or has used up its retries is due now. Refused with 409: `never_retried`, `letter_not_resettable`."""
    done = deciding.reset_retries(
        state.registry, name, clock=state.clock, actor=principal.actor, reason=body.reason, is_transient=body.is_transient
    )  # fmt: skip
    state.nudge("letters")
    return showing.as_json(done)


@router.post(
    "/api/dead-letters/quarantine", response_model=QuarantinedOut, responses=problems(404), summary="Set letters apart"
)
def quarantine(body: QuarantineIn, state: State, principal: Operator) -> dict[str, Any]:
    """Until somebody has looked; `reset-retries` brings one back.

    Refused with 400 `bad_usage` unless exactly one of `letter`, `fingerprint` and `everything` says which, with 404 when there
    is no such letter or fingerprint, with 409 `letter_not_owed` when nothing is owed for the letter.
    """
    if sum((body.letter is not None, body.fingerprint is not None, body.everything)) != 1:
        raise BadInput("Say which: one of letter, fingerprint and everything.", code="bad_usage")
    moved = deciding.quarantine(
        state.registry, clock=state.clock, actor=principal.actor, reason=body.reason, name=body.letter,
        fingerprint=body.fingerprint,
    )  # fmt: skip
    return {"quarantined": moved}


ROUTERS = (router,)
