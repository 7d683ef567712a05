"""What is wrong, who was told, and who has it in hand, over HTTP: the actions of `plms alerts`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn, Reason, Request
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import AppState, State, requires
from plms_pipeline.alerts.actions import deciding, showing
from plms_pipeline.alerts.actions.evaluating import Engine
from plms_pipeline.alerts.actions.opening import Rulebook
from plms_pipeline.alerts.spans import span_of
from plms_pipeline.errors import BadInput

router = APIRouter(tags=["alerts"])
Viewer = Annotated[Principal, requires("ops.view")]
Operator = Annotated[Principal, requires("projects.start")]
Guardian = Annotated[Principal, requires("guards.write")]
RULEBOOK = "alert_rulebook"
_ID = "4f1c0a2e-9a7b-5c3d-8e2f-0a1b2c3d4e5f"
ALERT: dict[str, Any] = {
    "alert_id": _ID, "rule": "runway_t15", "subject": "project:42", "state": "firing", "severity": "P1", "value": 12.4,
    "detail": "invoices: 8.76 of 10.00 USD spent, 0.1000 USD/min", "project_id": 42, "crossed_at": "2026-03-01T12:00:00+00:00",
    "fired_at": "2026-03-01T12:00:00+00:00", "resolved_at": None, "acked_at": None, "acked_by": None, "escalations": 0,
    "is_told": True, "group_id": "0a1b2c3d-4e5f-5a6b-8c7d-9e0f1a2b3c4d", "runbook": "docs/runbooks/runway_t15.md",
}  # fmt: skip
SILENCE: dict[str, Any] = {
    "silence_id": "1b2c3d4e-5f60-4a7b-8c9d-0e1f2a3b4c5d", "rule": "lane_busy_95", "subject": "lane:6100",
    "since": "2026-03-01T12:00:00+00:00", "until": "2026-03-01T14:00:00+00:00", "reason": "planned", "placed_by": "ann",
}  # fmt: skip
SENT: dict[str, Any] = {
    "delivery_key": "2c3d4e5f-6071-5b8c-9d0e-1f2a3b4c5d6e", "kind": "fired", "rule": "runway_t15", "severity": "P1",
    "channel": "chat", "recipient": "#plms-alerts", "state": "done", "attempts": 1, "created_at": "2026-03-01T12:00:00+00:00",
    "due_at": "2026-03-01T12:00:00+00:00", "ended_at": "2026-03-01T12:00:01+00:00", "answer": "200 ok", "error": None,
}  # fmt: skip
AlertId = Annotated[
    str,
    Path(pattern=r"^[0-9a-f-]{4,36}$", description="An alert's id or its beginning (4 characters).", examples=[_ID]),
]
SilenceId = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f-]{4,36}$", description="A silence's id or its beginning.", examples=[SILENCE["silence_id"]]
    ),
]
Span = Annotated[
    str, Field(pattern=r"^[0-9]{1,6}[smhd]$", description="How long: 30m, 2h, 1d; 30 days at most.", examples=["2h"])
]


class AlertOut(BaseModel):
    """One alert: an episode of a rule and a subject."""

    model_config = ConfigDict(json_schema_extra={"examples": [ALERT]})
    alert_id: str | None = Field(description="Null while it is pending.")
    rule: str
    subject: str
    state: str = Field(description="pending, firing, acked or resolved.")
    severity: str
    value: float | None
    detail: str
    project_id: int | None
    crossed_at: str | None
    fired_at: str | None
    resolved_at: str | None
    acked_at: str | None
    acked_by: str | None
    escalations: int
    is_told: bool = Field(description="False while it is silenced.")
    group_id: str | None = Field(description="The same for what was told in one message.")
    runbook: str


class SilenceOut(BaseModel):
    """A time in which a rule says nothing about a subject."""

    model_config = ConfigDict(json_schema_extra={"examples": [SILENCE]})
    silence_id: str
    rule: str
    subject: str
    since: str
    until: str
    reason: str
    placed_by: str
    note: str = Field("", description="To whoever places it: what may be a slip.")


class SourceOut(BaseModel):
    """One kind of fact that rules look at."""

    source: str
    checked_at: str
    succeeded_at: str | None
    error: str | None
    readings: int


class SentOut(BaseModel):
    """One message to one recipient."""

    model_config = ConfigDict(json_schema_extra={"examples": [SENT]})
    delivery_key: str
    kind: str
    rule: str
    severity: str
    channel: str
    recipient: str
    state: str = Field(description="pending, done, dead or withdrawn.")
    attempts: int
    created_at: str
    due_at: str
    ended_at: str | None
    answer: str | None
    error: str | None


class AlertsOut(BaseModel):
    """How alerts stand."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "at": "2026-03-01T12:00:05+00:00", "alerts": [ALERT], "counts": {"pending": 0, "firing": 1, "acked": 0}, "silences": [],
        "stuck_deliveries": [],
        "sources": [{"source": "budget", "checked_at": "2026-03-01T12:00:00+00:00", "error": None, "readings": 2,
                     "succeeded_at": "2026-03-01T12:00:00+00:00"}],
        "deliveries": {"pending": 0, "done": 1, "dead": 0, "withdrawn": 0},
    }]})  # fmt: skip
    at: str
    alerts: list[AlertOut]
    counts: dict[str, int] = Field(description="How many are pending, firing and acked in all, listed or not.")
    silences: list[SilenceOut]
    sources: list[SourceOut]
    deliveries: dict[str, int]
    stuck_deliveries: list[str]


class EventOut(BaseModel):
    """One step of an alert."""

    kind: str
    at: str
    found_at: str
    value: float | None
    detail: str | None
    actor: str


class AlertDetailsOut(AlertOut):
    """One alert with what it did and what went to whom."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**ALERT, "events": [], "deliveries": [SENT]}]})
    events: list[EventOut]
    deliveries: list[SentOut]


class RuleOut(BaseModel):
    """One rule, and where it really goes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "rule": "runway_t15", "title": "the budget lasts 15 minutes at most", "input": "minutes_to_depletion",
        "unit": "minutes", "compare": "<=", "threshold": 15, "clear": 20, "for": "0s", "hold": "0s", "severity": "P1",
        "route": ["chat"], "is_enabled": True, "condition": "minutes_to_depletion <= 15 min",
        "runbook": "docs/runbooks/runway_t15.md",
    }]}, populate_by_name=True)  # fmt: skip
    rule: str
    title: str
    input: str
    unit: str
    compare: str
    threshold: float
    clear: float | None
    for_: str = Field(alias="for")
    hold: str
    severity: str
    route: list[str]
    is_enabled: bool
    condition: str
    runbook: str


class RunbookOut(BaseModel):
    """What to do about alerts of a rule."""

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"rule": "killswitch_on", "runbook_markdown": "# killswitch_on: a kill switch is on\n"}
    ]})  # fmt: skip
    rule: str
    runbook_markdown: str


class AckIn(BecauseIn):
    """Why, and how much of it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "raising the budget"}]})
    is_whole_group: bool = Field(False, strict=True, description="Everything that was told together with it.")


class AckedOut(BaseModel):
    """What is in somebody's hand now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"acknowledged": [{**ALERT, "state": "acked"}]}]})
    acknowledged: list[AlertOut]


class SilenceIn(Request):
    """How long, and why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lasts": "2h", "reason": "planned"}]})
    lasts: Span
    reason: Reason


class NewSilenceIn(SilenceIn):
    """What is silenced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [
        {"rule": "lane_busy_95", "subject": "lane:6100", "lasts": "2h", "reason": "planned"}
    ]})  # fmt: skip
    rule: str = Field("*", pattern=r"^(\*|[a-z][a-z0-9_]{1,62})$", description="A rule; * for all of a subject.")
    subject: str = Field("*", pattern=r"^(\*|[!-~][ -~]{0,254})$", description="A subject; * for all of a rule.")


@router.get("/api/alerts", response_model=AlertsOut, summary="What fires, and whether everybody heard of it")
def listed(
    state: State, _principal: Viewer,
    also_over: Annotated[bool, Query(description="Also what is over.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:  # fmt: skip
    """Alerts, the severest first, silences, sources of readings, and how many messages are owed, sent and given up."""
    return showing.overview(state.registry, clock=state.clock, also_over=also_over, limit=limit).as_json()


@router.get("/api/alerts/rules", response_model=list[RuleOut], summary="The rules, and where each goes")
def rules(state: State, _principal: Viewer) -> list[dict[str, Any]]:
    """As they count in this process."""
    engine = engine_of(state)
    return [showing.rule_json(rule, engine.routing) for rule in engine.rules.values()]


@router.get(
    "/api/alerts/rules/{rule}/runbook",
    response_model=RunbookOut,
    responses=problems(404),
    summary="What to do about it",
)
def runbook(rule: Annotated[str, Path(max_length=63)], state: State, _principal: Viewer) -> dict[str, Any]:
    """The page of docs/runbooks. Refused with 404 `rule_not_found`, `runbook_not_found`."""
    return {"rule": rule, "runbook_markdown": showing.runbook(engine_of(state).rules, rule)}


@router.get("/api/alerts/deliveries", response_model=list[SentOut], summary="What went to whom")
def deliveries(
    state: State, _principal: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """The newest messages, oldest of them first."""
    return showing.log(state.registry, limit=limit)


@router.post(
    "/api/alerts/silences", response_model=SilenceOut, status_code=201, responses=problems(404),
    summary="Keep messages back for a while",
)  # fmt: skip
def silence_any(body: NewSilenceIn, state: State, principal: Guardian) -> dict[str, Any]:
    """What still fires when it ends is told then. Refused with 400 `bad_silence`, 404 `rule_not_found`."""
    made = deciding.silence(
        engine_of(state), rule=body.rule, subject=body.subject, lasts=_span(body.lasts), ids=state.ids,
        actor=principal.actor, reason=body.reason,
    )  # fmt: skip
    return made.as_json()


@router.post(
    "/api/alerts/silences/{silence_id}/end",
    response_model=SilenceOut,
    responses=problems(404),
    summary="End a silence now",
)
def unsilence(silence_id: SilenceId, body: BecauseIn, state: State, principal: Guardian) -> dict[str, Any]:
    """Refused with 404 `silence_not_found` when it is over."""
    ended = deciding.unsilence(
        state.registry, silence_id, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason
    )
    return ended.as_json()


@router.get(
    "/api/alerts/{alert_id}",
    response_model=AlertDetailsOut,
    responses=problems(404),
    summary="One alert with its story",
)
def details(alert_id: AlertId, state: State, _principal: Viewer) -> dict[str, Any]:
    """What it did, and what went to whom about it; 404 `alert_not_found`."""
    return showing.details(state.registry, alert_id)


@router.post(
    "/api/alerts/{alert_id}/ack", response_model=AckedOut, responses=problems(404, 409), summary="Take an alert in hand"
)
def ack(alert_id: AlertId, body: AckIn, state: State, principal: Operator) -> dict[str, Any]:
    """Nobody further is told. Refused with 404 `alert_not_found`, 409 `alert_not_firing`."""
    acked = deciding.acknowledge(
        engine_of(state), alert_id, ids=state.ids, actor=principal.actor, reason=body.reason,
        is_whole_group=body.is_whole_group,
    )  # fmt: skip
    return {"acknowledged": [showing.alert_json(one) for one in acked]}


@router.post(
    "/api/alerts/{alert_id}/silence", response_model=SilenceOut, status_code=201, responses=problems(404),
    summary="Silence what an alert is about",
)  # fmt: skip
def silence(alert_id: AlertId, body: SilenceIn, state: State, principal: Guardian) -> dict[str, Any]:
    """Its rule, about its subject. Refused with 404 `alert_not_found`, 400 `bad_silence`."""
    known = showing.details(state.registry, alert_id)
    made = deciding.silence(
        engine_of(state), rule=known["rule"], subject=known["subject"], lasts=_span(body.lasts), ids=state.ids,
        actor=principal.actor, reason=body.reason,
    )  # fmt: skip
    return made.as_json()


def engine_of(state: AppState) -> Engine:
    """Rules and routes that count now; it has no sources, because it evaluates nothing.

    Raises:
        BadInput: the files make no sense, and never did since this process began.
    """
    book: Rulebook | None = state.extras.get(RULEBOOK)
    if book is None:
        book = state.extras[RULEBOOK] = Rulebook(state.settings)
    else:
        book.refresh()
    return Engine(state.registry, state.settings, state.clock, book.rules, book.routing, ())


def _span(text: str) -> Any:
    try:
        return span_of(text)
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}.", code="bad_silence") from None


ROUTERS = (router,)
