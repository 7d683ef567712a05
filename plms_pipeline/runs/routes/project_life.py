"""What people decide about a project, over HTTP: approval, budget, hold, end, and the lanes of its tasks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState, ProjectId, State, of_the_books, requires
from plms_pipeline.errors import Conflict
from plms_pipeline.registry.types import to_usd
from plms_pipeline.runs import project_answers as answers
from plms_pipeline.runs import project_forms as forms
from plms_pipeline.runs.actions.breach import answer_breach
from plms_pipeline.runs.actions.decide_lanes import lane_overrides, override_lane
from plms_pipeline.runs.actions.decide_project import (
    ApprovalTerms,
    Decision,
    approve_project,
    change_budget,
    project_approvals,
    reject_project,
)
from plms_pipeline.runs.actions.project_life import Changed, cancel_project, pause_project, resume_project
from plms_pipeline.runs.plan_document import BadPlan
from plms_pipeline.runs.project_view import dollars, evidence_of

router = APIRouter(tags=["projects"])
Viewer = Annotated[Principal, requires("projects.view")]
Operator = Annotated[Principal, requires("projects.start")]
Why = Annotated[forms.WhyIn | None, Body(examples=[{"reason": "wait for the new model"}])]
Approver = Annotated[Principal, requires("approvals.write")]


@router.post("/api/projects/{project_id}/approve", response_model=answers.DecidedOut, summary="Approve a project")
def approve(project_id: ProjectId, body: forms.ApproveIn, state: State, principal: Approver) -> dict[str, Any]:
    """Approve a submitted project with budget, breach policy and gates.

    Whoever submitted it cannot approve it (403 `same_person`). Refused with 409: `not_submitted`, `not_estimated`,
    `plan_changed`, `missing_budget`, and `bad_project_file` for gates that are looser than the lane's.
    """
    slo = body.quality_slo or forms.SloIn()
    terms = ApprovalTerms(
        budget_usd=None if body.budget_cost_usd_max is None else to_usd(body.budget_cost_usd_max),
        budget_tokens=body.budget_tokens_max, breach_policy=body.breach_policy, min_echo_cos=slo.min_echo_cos,
        lane_gates=slo.lane_gates, evidence_sha256=body.evidence_sha256,
    )  # fmt: skip
    return _decided(_approve(state, project_id, principal, body.reason, terms))


@router.post(
    "/api/projects/{project_id}/approvals", response_model=answers.DecidedOut, summary="Decide a gate of a project"
)
def decide_gate(project_id: ProjectId, body: forms.GateIn, state: State, principal: Approver) -> dict[str, Any]:
    """Approve a submitted project as planned, or send it back to planning."""
    if body.status == "approved":
        terms = ApprovalTerms(evidence_sha256=body.evidence_sha256)
        return _decided(_approve(state, project_id, principal, body.reason, terms))
    done = reject_project(
        state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason,
        evidence_sha256=body.evidence_sha256, auth_disabled=_disabled(state),
    )  # fmt: skip
    return _decided(done)


@router.get(
    "/api/projects/{project_id}/approvals", response_model=list[answers.ApprovalOut], summary="Gates that were decided"
)
@of_the_books
def approvals(project_id: ProjectId, state: State, _principal: Viewer) -> list[dict[str, Any]]:
    """Every gate of the project and its runs that was approved or rejected, newest first."""
    return [
        {
            "gate": row.gate, "status": row.status, "approver": row.approver, "reason": row.reason,
            "approved_at": row.approved_at, "run_id": row.run_id,
        }
        for row in project_approvals(state.registry, project_id)
    ]  # fmt: skip


def _approve(state: AppState, project_id: int, principal: Principal, reason: str, terms: ApprovalTerms) -> Decision:
    try:
        return approve_project(
            state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor, reason=reason,
            terms=terms, auth_disabled=_disabled(state),
        )  # fmt: skip
    except BadPlan as error:
        raise Conflict(error.message, code=error.code) from error


@router.post("/api/projects/{project_id}/budget", response_model=answers.BudgetOut, summary="Change the budget")
@router.patch(
    "/api/projects/{project_id}/budget", response_model=answers.BudgetOut, summary="Change the budget",
    operation_id="patch_project_budget",
)  # fmt: skip
def budget(project_id: ProjectId, body: forms.BudgetChangeIn, state: State, principal: Approver) -> dict[str, Any]:
    """Change the budget of a project that is not over. Whoever submitted it cannot raise what was approved (403)."""
    done = change_budget(
        state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor, reason=body.reason,
        budget_usd=None if body.budget_cost_usd_max is None else to_usd(body.budget_cost_usd_max),
        budget_tokens=body.budget_tokens_max, auth_disabled=_disabled(state),
    )  # fmt: skip
    return {
        "project_id": project_id, "status": done.view.status, "budget_updated": True,
        "budget_tokens_max": done.view.budget_tokens_max,
        "budget_cost_usd_max": dollars(done.view.budget_cost_usd_max), "decision_id": done.decision_id,
    }  # fmt: skip


@router.post(
    "/api/projects/{project_id}/budget-breach/answer", response_model=answers.BreachAnswered,
    summary="Answer a breach of the budget",
)  # fmt: skip
def answer(project_id: ProjectId, body: forms.BreachAnswerIn, state: State, principal: Approver) -> dict[str, Any]:
    """Let a project go on that its breach policy holds, or call off its runs.

    The budget itself still bounds what goes out. Refused with 409: `no_breach`, `breach_answered`, `breach_changed`.
    """
    decision_id = answer_breach(
        state.registry, project_id, answer=body.answer, clock=state.clock, ids=state.ids, actor=principal.actor,
        reason=body.reason, episode_id=body.episode_id,
    )  # fmt: skip
    state.nudge()
    return {"project_id": project_id, "answer": body.answer, "decision_id": decision_id}


@router.post("/api/projects/{project_id}/pause", response_model=answers.PausedOut, summary="Hold a project")
def pause(project_id: ProjectId, state: State, principal: Operator, body: Why = None) -> dict[str, Any]:
    """Nothing of the project goes out any more, and its running runs are asked to pause. Safe to repeat."""
    done = pause_project(
        state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor,
        reason=(body.reason if body else None) or "paused over HTTP",
    )  # fmt: skip
    state.nudge()
    return {"project_id": project_id, "is_new": done.is_new, "runs_told": done.runs_told}


@router.post(
    "/api/projects/{project_id}/resume", response_model=answers.ChangedOut, summary="Lift the hold of a project"
)
def resume(project_id: ProjectId, state: State, principal: Operator) -> dict[str, Any]:
    """The project goes on where it stood. Safe to repeat; 409 `breach_waits` while its breach policy asks an approver."""
    done = resume_project(state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor)
    state.nudge()
    return _changed(done)


@router.post("/api/projects/{project_id}/cancel", response_model=answers.ChangedOut, summary="End a project")
@router.post(
    "/api/projects/{project_id}/terminate", response_model=answers.ChangedOut, summary="End a project",
    operation_id="terminate_project",
)  # fmt: skip
def cancel(project_id: ProjectId, state: State, principal: Operator, body: Why = None) -> dict[str, Any]:
    """What was not handed over never is; what PAS works on is asked to stop. Safe to repeat; 409 when it is completed."""
    return _cancel(state, project_id, principal, (body.reason if body else None) or "cancelled over HTTP")


@router.delete("/api/projects/{project_id}", response_model=answers.ChangedOut, summary="End a project")
def delete(project_id: ProjectId, state: State, principal: Operator) -> dict[str, Any]:
    """The same as cancelling: a project is never deleted."""
    return _cancel(state, project_id, principal, "cancelled over HTTP (DELETE)")


def _cancel(state: AppState, project_id: int, principal: Principal, reason: str) -> dict[str, Any]:
    done = cancel_project(state.registry, project_id, clock=state.clock, actor=principal.actor, reason=reason)
    state.nudge()
    return _changed(done)


@router.get(
    "/api/projects/{project_id}/lane-overrides", response_model=list[answers.LaneOverrideOut], summary="Corrected lanes"
)
@of_the_books
def list_lane_overrides(project_id: ProjectId, state: State, _principal: Viewer) -> list[dict[str, Any]]:
    """The tasks of the project whose lane a person corrected, newest first."""
    return [
        {
            "task_id": row.task_id, "task_description": row.task_description, "predicted_lane": row.predicted_lane,
            "corrected_lane": row.corrected_lane, "corrected_by": row.corrected_by, "corrected_at": row.corrected_at,
        }
        for row in lane_overrides(state.registry, project_id)
    ]  # fmt: skip


@router.post(
    "/api/projects/{project_id}/lane-overrides", response_model=answers.LaneOverridden, status_code=201,
    summary="Correct the lane of a task",
)  # fmt: skip
def correct_lane(
    project_id: ProjectId, body: forms.LaneOverrideIn, state: State, principal: Approver
) -> dict[str, Any]:
    """Move a planned task to another lane; the nightly classifier learns from it.

    404 for a lane or task that does not exist; 409 `same_lane` when the task is there already.
    """
    done = override_lane(
        state.registry, body.task_id, str(body.corrected_lane), clock=state.clock, ids=state.ids,
        actor=principal.actor, reason=body.reason, alpha=state.settings.alpha, project_id=project_id,
    )  # fmt: skip
    return {
        "project_id": done.project_id, "status": done.project_status, "task_id": done.task.id,
        "predicted_lane": done.predicted_lane, "corrected_lane": done.corrected_lane, "decision_id": done.decision_id,
    }  # fmt: skip


def _disabled(state: AppState) -> bool:
    return state.settings.auth == "disabled"


def _decided(done: Decision) -> dict[str, Any]:
    return {
        "project_id": done.view.id, "status": done.view.status, "decision_id": done.decision_id,
        "evidence_sha256": evidence_of(done.view),
    }  # fmt: skip


def _changed(done: Changed) -> dict[str, Any]:
    return {
        "project_id": done.view.id, "status": done.view.status, "is_new": done.is_new, "runs_told": done.runs_told,
    }  # fmt: skip
