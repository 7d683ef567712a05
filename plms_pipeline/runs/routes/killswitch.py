"""How is everything that spends stopped over HTTP, and let go on?

What runs is paused by the watch of this server, within 2 s. With the registry away a switch for everything becomes the flag
file, as with the command: nobody who wants to stop the spending may hear "try again later".
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import MAX_ID, State, requires
from plms_pipeline.errors import PlmsError
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.actions import switches
from plms_pipeline.runs.stopping import actions
from plms_pipeline.runs.stopping.service import flag_unless_written, is_unreadable

router = APIRouter(tags=["kill switch"])
Viewer = Annotated[Principal, requires("portfolio.view")]
Guardian = Annotated[Principal, requires("guards.write")]


class SwitchIn(BecauseIn):
    """What to switch, and why. Without a scope: everything."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={
        "examples": [{"reason": "runaway spend", "scope": "project", "subject": 42}],
        "oneOf": [
            {"properties": {"scope": {"const": "global"}, "subject": {"type": "null"}}},
            {"required": ["scope", "subject"],
             "properties": {"scope": {"enum": ["lane", "project"]}, "subject": {"type": "integer"}}},
        ],
    })  # fmt: skip
    scope: Literal["global", "lane", "project"] = "global"
    subject: int | None = Field(None, ge=0, le=MAX_ID, description="The lane's or project's number.")


class StillOnOut(BaseModel):
    """A switch that another one left on."""

    scope: str
    subject: str = Field(description="The lane's or project's number; empty for everything.")
    reason: str
    let_go: str = Field(
        description="The command that turns it off; over HTTP: this endpoint, with its scope and subject."
    )


class SwitchedOut(BaseModel):
    """What became of the switch."""

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"scope": "project", "subject": "42", "on": True, "changed": True, "flag_file": False, "still_on": []}
    ]})  # fmt: skip
    scope: str
    subject: str = Field(description="The lane's or project's number; empty for everything.")
    on: bool
    changed: bool = Field(description="False when it was so already.")
    flag_file: bool = Field(description="Whether the flag file was put up (registry away) or taken down.")
    still_on: list[StillOnOut] = Field(
        default_factory=list,
        description="After off: lanes and projects that stay stopped, or the switch of everything.",
    )


class OnSwitchOut(BaseModel):
    """A switch that is on."""

    scope: str
    subject: str
    reason: str
    by: str
    since: str


class SwitchesOut(BaseModel):
    """What is stopped now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "on": True, "flag_file": None, "registry": None,
        "switches": [{"scope": "project", "subject": "42", "reason": "runaway spend", "by": "ann",
                      "since": "2026-03-01T12:00:00+00:00"}],
    }]})  # fmt: skip
    on: bool
    flag_file: str | None = Field(description="The text of the flag file, when it is there.")
    registry: str | None = Field(description="Why the registry cannot be read; that counts as on.")
    switches: list[OnSwitchOut]


class ResumedOut(BaseModel):
    """What goes on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runs": 3, "cards": 7}]})
    runs: int
    cards: int


@router.get("/api/killswitch", response_model=SwitchesOut, summary="What is stopped now")
def status(state: State, _principal: Viewer) -> dict[str, Any]:
    """The flag file, the switches that are on, and whether the registry can be read."""
    return switches.status(state.registry, flag=lambda: files.flag_reason(state.settings.data_dir)).as_json()


@router.post(
    "/api/killswitch/on",
    response_model=SwitchedOut,
    responses=problems(404),
    summary="Stop everything that starts or spends",
)
def turn_on(body: SwitchIn, state: State, principal: Guardian) -> dict[str, Any]:
    """Nothing starts in scope any more, and what runs there is asked to pause; the books are kept all the same.

    Safe to repeat. With the registry away a switch for everything puts the flag file up instead.
    """
    scope, subject = body.scope, _subject(body)
    raised, told = False, f"{body.reason} ({principal.actor.name}, over HTTP)"
    meanwhile = flag_unless_written(state.settings.data_dir, told) if scope == "global" else nullcontext()
    try:
        with meanwhile:
            changed = switches.turn_on(
                state.registry, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason, scope=scope,
                subject=subject,
            ).changed  # fmt: skip
    except PlmsError as error:
        if scope != "global" or not is_unreadable(error):
            raise
        raised = changed = True
    state.nudge("killswitch")
    return {"scope": scope, "subject": subject, "on": True, "changed": changed, "flag_file": raised}


@router.post(
    "/api/killswitch/off", response_model=SwitchedOut, responses=problems(404), summary="Let things start again"
)
def turn_off(body: SwitchIn, state: State, principal: Guardian) -> dict[str, Any]:
    """Things may start again in scope; for everything the flag file is taken down too. What was paused stays paused."""
    scope, subject = body.scope, _subject(body)
    done = switches.turn_off(
        state.registry, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason, scope=scope,
        subject=subject,
    )  # fmt: skip
    lowered = scope == "global" and files.lower_flag(state.settings.data_dir)
    state.nudge("killswitch", "dispatch")
    return {
        "scope": scope, "subject": subject, "on": False, "changed": done.changed or lowered, "flag_file": lowered,
        "still_on": done.left,
    }  # fmt: skip


@router.post("/api/killswitch/resume", response_model=ResumedOut, summary="Let go on what a kill switch paused")
def resume(body: BecauseIn, state: State, principal: Guardian) -> dict[str, Any]:
    """What is under no switch any more goes on; what is still stopped stays paused."""
    done = actions.resume(
        state.registry, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason
    )  # fmt: skip
    state.nudge("killswitch", "dispatch")
    return {"runs": done.runs, "cards": done.cards}


def _subject(body: SwitchIn) -> str:
    return "" if body.subject is None else str(body.subject)
