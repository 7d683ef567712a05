"""Verdicts that are let pass, lanes whose ungated work teaches, and what was decided, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import RunId, State, of_the_books, requires
from plms_pipeline.decisions.actions import decisions
from plms_pipeline.runs import project_answers as answers
from plms_pipeline.runs import project_forms as forms
from plms_pipeline.runs.actions.decide_lanes import accept_ungated_lane
from plms_pipeline.runs.actions.decide_verdict import decide_kpi_override, override_case, request_kpi_override
from plms_pipeline.runs.files.kpi_logs import log_reader

router = APIRouter(tags=["decisions"])
Viewer = Annotated[Principal, requires("projects.view")]
LaneId = Annotated[int, Path(ge=0, le=65_535, description="Number of a lane.", examples=[6100])]


@router.get(
    "/api/runs/{run_id}/kpi-override", response_model=answers.OverrideCaseOut, summary="What there is to decide"
)
def show(run_id: RunId, state: State, _principal: Viewer) -> dict[str, Any]:
    """A run's verdict, what its gates measured, the logs of those that failed, and the request that waits."""
    return override_case(state.registry, run_id, read_log=log_reader(state.settings.data_dir)).as_json()


@router.post(
    "/api/runs/{run_id}/kpi-override/request",
    response_model=answers.OverrideOut,
    summary="Ask that a verdict be let pass",
)
def request(
    run_id: RunId,
    body: forms.OverrideRequestIn,
    state: State,
    principal: Annotated[Principal, requires("projects.start")],
) -> dict[str, Any]:
    """The owner of the project asks; somebody else decides. 403 `not_the_owner` for anybody else.

    Refused with 409: `run_not_ended`, `run_failed`, `nothing_to_override`, `already_overridden`, `already_requested`.
    """
    done = request_kpi_override(
        state.registry, run_id, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason,
        teach=body.teach, read_log=log_reader(state.settings.data_dir), auth_disabled=state.settings.auth == "disabled",
    )  # fmt: skip
    return done.as_json()


@router.post(
    "/api/runs/{run_id}/kpi-override/decide", response_model=answers.OverrideOut, summary="Decide about an override"
)
def decide(
    run_id: RunId,
    body: forms.OverrideDecideIn,
    state: State,
    principal: Annotated[Principal, requires("kpi.override")],
) -> dict[str, Any]:
    """Let a failed verdict pass, or not. Whoever asked cannot decide (403 `same_person`).

    Refused with 409: `not_requested`, `evidence_changed`, and as the request is.
    """
    done = decide_kpi_override(
        state.registry, run_id, clock=state.clock, ids=state.ids, actor=principal.actor,
        approve=body.decision == "approve", reason=body.reason, evidence_sha256=body.evidence_sha256, teach=body.teach,
        read_log=log_reader(state.settings.data_dir), auth_disabled=state.settings.auth == "disabled",
    )  # fmt: skip
    return done.as_json()


@router.post(
    "/api/lanes/{lane_id}/accept-ungated", response_model=answers.AcceptOut, summary="Let ungated work of a lane teach"
)
def accept_ungated(
    lane_id: LaneId,
    body: forms.AcceptIn,
    state: State,
    principal: Annotated[Principal, requires("lanes.write")],
) -> dict[str, Any]:
    """Whether work of a lane without gates teaches the priors. Refused with 409: `lane_is_gated`, `already_decided`."""
    done = accept_ungated_lane(
        state.registry, str(lane_id), clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason,
        accept=body.accept,
    )  # fmt: skip
    return {
        "lane_id": done.lane_id, "lane_name": done.lane_name, "accepted": done.accepted,
        "days_marked": done.days_marked, "decision_id": done.decision_id,
    }  # fmt: skip


@router.get("/api/decisions", response_model=answers.DecisionList, summary="What was decided")
@of_the_books
def list_decisions(
    state: State,
    _principal: Viewer,
    kind: Annotated[str | None, Query(max_length=64, examples=["kpi_override"])] = None,
    subject: Annotated[
        str | None, Query(max_length=300, description="`<type>:<id>` or `<type>`.", examples=["project:42"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Decisions with reason, actor and the digest of what was shown, newest first."""
    found = decisions(state.registry, kind=kind, subject=subject, limit=limit)
    return {"decisions": [one.as_json() for one in found]}
