"""Approval in both databases: on the plan that was shown, by another person, once."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import BadInput, Conflict, Forbidden, NotFound, PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions import decide_project as deciding
from plms_pipeline.runs.actions.decide_project import ApprovalTerms, project_approvals
from plms_pipeline.runs.actions.projects import project
from plms_pipeline.runs.plan_document import BadPlan
from plms_pipeline.runs.project_view import evidence_of
from plms_pipeline_tests.runs.desk import ANN, BEN, EVE, LOCAL, Desk


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


def refused(code: str, kind: type[PlmsError], call: Any) -> None:
    with pytest.raises(kind) as error:
        call()
    assert error.value.code == code


def submit(desk: Desk, project_id: int, actor: Actor = ANN) -> deciding.Decision:
    return deciding.submit_project(desk.registry, project_id, clock=desk.clock, ids=desk.ids, actor=actor)


def test_a_project_goes_from_plan_to_approval(desk: Desk) -> None:
    """Each step is a state, a decision and an audit entry."""
    view = desk.submitted()
    assert view.status == "pending_approval"
    done = desk.approve(view.id)
    assert (done.view.status, done.view.approved_at) == ("approved", desk.clock.at)
    assert desk.states(view.id) == ["planning", "pending_approval", "approved"]
    approval, request = desk.decided(f"project:{view.id}")
    assert (request.decision, request.actor, approval.decision) == ("request", "ann", "approve")
    assert (approval.actor, approval.requested_by, approval.role) == ("ben", "ann", "approver")
    assert approval.evidence_sha256 == request.evidence_sha256 == evidence_of(view)
    assert approval.payload["budget_usd"] == "2.000000"
    [row] = project_approvals(desk.registry, view.id)
    assert (row.gate, row.status, row.approver, row.reason) == ("budget_approval", "approved", "ben", "within plan")


def test_the_requester_never_approves(desk: Desk) -> None:
    """Neither under her own name, nor as the account of her machine."""
    project_id = desk.submitted().id
    refused("same_person", Forbidden, lambda: desk.approve(project_id, ANN))
    refused("unverified_decider", Forbidden, lambda: desk.approve(project_id, LOCAL))
    assert project(desk.registry, project_id).status == "pending_approval"
    assert desk.audited("decide.project_approval") == [("ann", "request"), ("ann", "refused"), ("local:ann", "refused")]
    assert desk.approve(project_id, LOCAL, auth_disabled=True).view.status == "approved"


def test_a_plan_that_was_not_shown_is_not_approved(desk: Desk) -> None:
    """Between looking and pressing the button somebody may have changed a lane."""
    view = desk.submitted()
    terms = ApprovalTerms(evidence_sha256="ab" * 32)
    refused("plan_changed", Conflict, lambda: desk.approve(view.id, terms=terms))
    assert desk.approve(view.id, terms=ApprovalTerms(evidence_sha256=evidence_of(view))).view.status == "approved"


def test_the_approver_sets_the_terms(desk: Desk) -> None:
    """Budget, policy and stricter gates hold for every task from then on."""
    view = desk.submitted()
    terms = ApprovalTerms(
        budget_usd=Decimal(5), budget_tokens=25_000, breach_policy="kill", min_echo_cos=0.9,
        lane_gates={"Code-API": {"test_pass_rate": {">=": 0.97}}, "4202": {"min_echo_cos": 0.8}},
    )  # fmt: skip
    after = desk.approve(view.id, terms=terms).view
    assert (after.budget_cost_usd_max, after.budget_tokens_max, after.breach_policy) == (Decimal(5), 25_000, "kill")
    assert after.lane_gates == {"4200": {"test_pass_rate": {">=": 0.97}}, "4202": {"min_echo_cos": 0.8}}
    assert [task.kpi_formula for task in after.tasks] == ['{"test_pass_rate":{">=":0.97}}', None]


def test_an_approver_cannot_lower_a_gate_either(desk: Desk) -> None:
    """Gates of a lane are decided for the lane, not in passing."""
    view = desk.submitted()
    terms = ApprovalTerms(lane_gates={"4200": {"test_pass_rate": {">=": 0.1}}})
    with pytest.raises(BadPlan, match="looser"):
        desk.approve(view.id, terms=terms)
    assert project(desk.registry, view.id).status == "pending_approval"


def test_money_without_a_limit_is_not_approved(desk: Desk) -> None:
    """A project without a budget spends until somebody looks."""
    view = desk.submitted(budget=None)
    refused("missing_budget", Conflict, lambda: desk.approve(view.id))
    assert desk.approve(view.id, terms=ApprovalTerms(budget_usd=Decimal(0))).view.budget_cost_usd_max == 0


def test_what_is_not_ready_is_not_decided(desk: Desk) -> None:
    """Each refusal says what to do first."""
    project_id = desk.planned().id
    refused("not_estimated", Conflict, lambda: submit(desk, project_id))
    refused("not_submitted", Conflict, lambda: desk.approve(project_id))
    desk.estimated(project_id)
    submit(desk, project_id)
    refused("not_in_planning", Conflict, lambda: submit(desk, project_id))
    refused("missing_reason", BadInput, lambda: desk.approve(project_id, reason=" "))
    assert desk.decided(f"project:{project_id}")[0].decision == "request"
    desk.approve(project_id)
    refused("not_submitted", Conflict, lambda: desk.approve(project_id))
    refused("unknown_project", NotFound, lambda: desk.approve(99))
    assert [one.decision for one in desk.decided(f"project:{project_id}")] == ["approve", "request"]


def test_a_rejected_project_goes_back_and_may_come_again(desk: Desk) -> None:
    """Rejection is an answer, not an end."""
    project_id = desk.submitted().id
    done = deciding.reject_project(
        desk.registry, project_id, clock=desk.clock, ids=desk.ids, actor=BEN, reason="too dear"
    )
    assert done.view.status == "planning"
    submit(desk, project_id, EVE)
    refused("same_person", Forbidden, lambda: desk.approve(project_id, EVE))
    assert desk.approve(project_id, ANN).view.status == "approved"
    assert [row.status for row in project_approvals(desk.registry, project_id)] == ["approved", "rejected"]


def test_two_approvers_at_once_approve_once(desk: Desk) -> None:
    """One decision row, one transition; the other is told that somebody was faster."""
    project_id = desk.submitted().id
    told: list[str] = []

    def approve(actor: Actor) -> None:
        try:
            told.append(desk.approve(project_id, actor).view.status)
        except Conflict as error:
            told.append(error.code)

    threads = [threading.Thread(target=approve, args=(actor,)) for actor in (BEN, EVE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["approved", "not_submitted"]
    assert [one.decision for one in desk.decided(f"project:{project_id}")] == ["approve", "request"]


def change(
    desk: Desk, project_id: int, actor: Actor, usd: int | None = None, tokens: int | None = None
) -> deciding.Decision:
    return deciding.change_budget(
        desk.registry, project_id, clock=desk.clock, ids=desk.ids, actor=actor, reason="more lanes",
        budget_usd=None if usd is None else Decimal(usd), budget_tokens=tokens,
    )  # fmt: skip


def test_raising_an_approved_budget_needs_another_person(desk: Desk) -> None:
    """Otherwise whoever asked gives herself later what was not approved."""
    project_id = desk.approved().id
    refused("same_person", Forbidden, lambda: change(desk, project_id, ANN, usd=50))
    refused("unverified_decider", Forbidden, lambda: change(desk, project_id, LOCAL, usd=50))
    assert change(desk, project_id, ANN, usd=1).view.budget_cost_usd_max == 1
    assert change(desk, project_id, BEN, usd=50, tokens=10).view.budget_tokens_max == 10
    refused("same_person", Forbidden, lambda: change(desk, project_id, ANN, tokens=11))
    assert project(desk.registry, project_id).budget_cost_usd_max == 50
    [last, *_] = desk.decided(f"project:{project_id}")
    assert last.payload == {"from": {"usd": "1.000000", "tokens": None}, "to": {"usd": "50", "tokens": 10}}


def test_a_budget_that_is_not_approved_yet_is_the_planner_s(desk: Desk) -> None:
    """Nobody signed it."""
    project_id = desk.planned().id
    assert change(desk, project_id, ANN, usd=50).view.budget_cost_usd_max == 50
    refused("missing_budget", BadInput, lambda: change(desk, project_id, ANN))


def test_the_budget_of_what_is_over_stands(desk: Desk) -> None:
    """The books of a completed project are closed."""
    project_id = desk.approved().id
    desk.put(project_id, "completed")
    before = project(desk.registry, project_id).budget_cost_usd_max
    refused("project_is_over", Conflict, lambda: change(desk, project_id, BEN, usd=1))
    assert project(desk.registry, project_id).budget_cost_usd_max == before != 1
    assert [one.decision for one in desk.decided(f"project:{project_id}")] == ["approve", "request"]
