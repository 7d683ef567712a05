"""Candidates, decisions about them, promotions and rollbacks over HTTP: the actions of `plms model`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from pydantic import AwareDatetime, BeforeValidator

from plms_pipeline.access.forms import BecauseIn
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import RUN_ID_FORM, AppState, State, requires
from plms_pipeline.models.actions import deciding, promotion, showing
from plms_pipeline.models.actions.deciding import Places
from plms_pipeline.models.decision import answers
from plms_pipeline.models.decision.answers import Family
from plms_pipeline.models.decision.words import APPROVALS

router = APIRouter(tags=["models"])
Viewer = Annotated[Principal, requires("ops.view")]
Approver = Annotated[Principal, requires("approvals.write")]
Guardian = Annotated[Principal, requires("guards.write")]
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){2}[Tt][0-9]{2}(:[0-9]{2}){2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_ID = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
CandidateId = Annotated[str, Path(pattern=RUN_ID_FORM, description="The run id of a training.", examples=[_ID])]
HaltId = Annotated[str, Path(pattern=RUN_ID_FORM, description="A halt's id.", examples=[_ID])]
Limit = Annotated[int, Query(ge=1, le=1000)]


def _written(value: object) -> object:
    """A moment is written as one: pydantic also reads a number, as seconds since 1970."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("write a moment with its zone, such as 2026-03-01T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
Decision = Annotated[answers.DecideIn | answers.DecideWithCapsIn, Body(discriminator="decision")]
OfFamily = Annotated[Family, Path(description="market or estimates.", examples=["market"])]


@router.get("/api/models/candidates", response_model=list[answers.CandidateOut], summary="Trained models, newest first")
def candidates(
    state: State, _principal: Viewer,
    family: Annotated[Family | None, Query(description="Only these.")] = None,
    only: Annotated[answers.CandidateState | None, Query(description="Only those in this state, such as waiting.")] = None,
    limit: Limit = 100,
) -> list[dict[str, Any]]:  # fmt: skip
    """What waits for a decision, and what became of the others."""
    return [one.as_json() for one in showing.listed(state.registry, family=family, state=only, limit=limit)]


@router.get(
    "/api/models/candidates/{candidate_id}", response_model=answers.ShownOut, responses=problems(404),
    summary="A candidate, looked at now",
)  # fmt: skip
def candidate(candidate_id: CandidateId, state: State, _principal: Viewer) -> dict[str, Any]:
    """What the decision tree recommends, and everything that keeps it from going live: its files are read and compared."""
    return showing.show(state.registry, state.settings.data_dir, candidate_id, clock=state.clock).as_json()


@router.post(
    "/api/models/candidates/{candidate_id}/decide", response_model=answers.DecidedOut, responses=problems(404, 409),
    summary="Decide about a candidate",
)  # fmt: skip
def decide(candidate_id: CandidateId, body: Decision, state: State, principal: Approver) -> dict[str, Any]:
    """Who launched the training cannot approve it (403 `same_person`); an approval takes the role risk_lead.

    Refused with 409 and the reason as its code while anything keeps it from going live: `gates_failed`, `caps_needed`,
    `cap_loosens`, `caps_do_not_mend`, `caps_not_enforced`, `data_anomaly`, `candidate_expired`, `model_altered`,
    `summary_altered`, `data_altered`, `run_altered`, `file_missing`, `golden_failed`, `promotion_halted`, `live_data_in_doubt`,
    `guardrails_off`, `slo_breached`; `already_decided`, `evidence_changed`.
    """
    caps = body.caps if isinstance(body, answers.DecideWithCapsIn) else None
    done = deciding.decide_candidate(
        state.registry, candidate_id=candidate_id, decision=body.decision, reason=body.reason, actor=principal.actor,
        role=body.role, caps=caps, evidence_sha256=body.evidence_sha256, places=_places(state), clock=state.clock,
        ids=state.ids, key=state.settings.approval_key, auth_disabled=state.settings.auth == "disabled",
    )  # fmt: skip
    promoted = _promoted(state, candidate_id, principal) if body.promote and body.decision in APPROVALS else None
    return {**done.as_json(), "champion": None if promoted is None else promoted.champion.as_json()}


@router.post(
    "/api/models/candidates/{candidate_id}/promote", response_model=answers.PromotedOut, responses=problems(404, 409),
    summary="Promote what was approved",
)  # fmt: skip
def promote(candidate_id: CandidateId, state: State, principal: Approver) -> dict[str, Any]:
    """Done twice it changes nothing. Refused with 409 `not_approved` and the codes of a decision."""
    return _promoted(state, candidate_id, principal).as_json()


@router.get(
    "/api/models/{family}/history", response_model=list[answers.ChampionOut], summary="What served when, newest first"
)
def history(
    family: OfFamily, state: State, _principal: Viewer,
    at: Annotated[Moment | None, Query(description="Only what was live at this moment.")] = None,
    limit: Limit = 100,
) -> list[dict[str, Any]]:  # fmt: skip
    """Promotions and rollbacks; empty when nothing served."""
    moment = None if at is None else _utc(at)
    return [one.as_json() for one in showing.history(state.registry, family, at=moment, limit=limit)]


@router.post(
    "/api/models/{family}/rollback", response_model=answers.PromotedOut, responses=problems(404, 409),
    summary="Bring back the champion before",
)  # fmt: skip
def rollback(family: OfFamily, body: answers.RollbackIn, state: State, principal: Approver) -> dict[str, Any]:
    """Its files are compared first; guardrails that are off do not hold it back, and are told under `warnings`.

    Refused with 404 `no_champion`, `never_served`, `file_missing`; 409 `nothing_before`, `already_serving`, `champion_changed`,
    `model_altered`, `summary_altered`, `data_altered`, `run_altered`.
    """
    return promotion.rollback(
        state.registry, places=_places(state), family=family, reason=body.reason, actor=principal.actor,
        clock=state.clock, ids=state.ids, to=body.to,
    ).as_json()  # fmt: skip


@router.get("/api/models/{family}/halts", response_model=answers.StopsOut, summary="What stops promotions")
def halts(family: OfFamily, state: State, _principal: Viewer) -> dict[str, Any]:
    """Halts that nobody lifted, and the switch of the guardrails."""
    found, switch = showing.stops(state.registry, family)
    return {"halts": [one.as_json() for one in found], "guardrails": switch.as_json()}


@router.post(
    "/api/models/halts/{halt_id}/lift", response_model=answers.HaltOut, responses=problems(404, 409),
    summary="Lift a halt",
)  # fmt: skip
def lift(halt_id: HaltId, body: BecauseIn, state: State, principal: Approver) -> dict[str, Any]:
    """The family can be promoted again. Refused with 404 `unknown_halt`, 409 `halt_lifted`.

    Who launched the candidate that was halted does not lift its halt (403 `same_person`).
    """
    return deciding.lift_halt(
        state.registry, halt_id=halt_id, reason=body.reason, actor=principal.actor, places=_places(state),
        clock=state.clock, ids=state.ids, auth_disabled=state.settings.auth == "disabled",
    ).as_json()  # fmt: skip


@router.post(
    "/api/models/{family}/guardrails", response_model=answers.SwitchOut, summary="Turn the guardrails on or off"
)
def guardrails(family: OfFamily, body: answers.GuardrailsIn, state: State, principal: Guardian) -> dict[str, Any]:
    """While they are off nothing of the family is promoted."""
    return deciding.turn_guardrails(
        state.registry, enabled=body.enabled, reason=body.reason, actor=principal.actor, places=_places(state),
        clock=state.clock, ids=state.ids, family=family,
    ).as_json()  # fmt: skip


def _promoted(state: AppState, candidate_id: str, principal: Principal) -> promotion.Promoted:
    return promotion.promote(
        state.registry, root=state.settings.data_dir, candidate_id=candidate_id, actor=principal.actor,
        clock=state.clock, ids=state.ids, key=state.settings.approval_key,
    )  # fmt: skip


def _places(state: AppState) -> Places:
    return Places(state.settings.data_dir, state.settings.reports_dir)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # The first and the last day of all years, in a zone that lies beyond them.
        return moment.replace(tzinfo=UTC)


ROUTERS = (router,)
