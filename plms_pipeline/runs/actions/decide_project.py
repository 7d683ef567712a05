"""Who may let a project spend money, on which plan, and under which terms?

Submitting is a request, approving a decision of somebody else. The decision carries the digest of the plan that was shown;
an approver who names that digest is refused when the plan changed since. Raising the budget of an approved project is the same
kind of decision: otherwise whoever asked could give himself later what was not approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store as decisions
from plms_pipeline.decisions.actions import decide, deciding
from plms_pipeline.decisions.rules import APPROVE, REJECT, REQUEST
from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.projects import found_project, terms_of
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.plan import read_gates
from plms_pipeline.runs.plan_document import from_json
from plms_pipeline.runs.plan_gates import combined_text, formula_gates, project_gates
from plms_pipeline.runs.project_view import ProjectView, evidence_of
from plms_pipeline.runs.store import project_work as work
from plms_pipeline.runs.store import projects as store
from plms_pipeline.runs.store.transitions import move_project

APPROVAL: Final = "project_approval"
BUDGET: Final = "project_budget"
GATE: Final = "budget_approval"


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """What the approver sets; None leaves what the plan says.

    `lane_gates`: lane → KPI → operator → threshold, in force for every task of the lane besides the lane's own gates.
    `evidence_sha256`: the digest of the plan that the approver was shown.
    """

    budget_usd: Decimal | None = None
    budget_tokens: int | None = None
    breach_policy: str | None = None
    min_echo_cos: float | None = None
    lane_gates: Mapping[str, Any] | None = None
    evidence_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The project as it stands after a decision, and the decision's id."""

    view: ProjectView
    decision_id: str


def submit_project(
    registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor, reason: str = "ready for approval"
) -> Decision:
    """Ask for the approval of an estimated project: planning → pending_approval.

    Raises:
        NotFound: there is no such project.
        Conflict: it is not estimated (`not_estimated`) or not in planning (`not_in_planning`).
    """
    now = clock.now()
    with registry.writing() as session:
        view = _locked(session, project_id)
        if view.status != "planning":
            raise Conflict(
                f"Project {project_id} is {view.status}; only one in planning is submitted.", code="not_in_planning"
            )
        if not view.is_estimated:
            raise Conflict(
                f"Project {project_id} has tasks without a forecast; estimate it first (`plms project estimate "
                f"{project_id}`).",
                code="not_estimated",
            )
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=APPROVAL, subject_type="project", subject_id=str(project_id),
            decision=REQUEST, reason=reason, actor=actor, role="requester", evidence_sha256=evidence_of(view),
            payload={"budget_usd": _text(view.budget_cost_usd_max), "estimated_cost_usd": _text(view.estimated_cost_usd)},
        )  # fmt: skip
        _move(session, view, "pending_approval", now=now, actor=actor, reason=reason)
        return Decision(_after(session, project_id), decision_id)


def approve_project(
    registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor, reason: str,
    terms: ApprovalTerms = ApprovalTerms(), auth_disabled: bool = False,
) -> Decision:  # fmt: skip
    """Approve a submitted project with budget, breach policy and gates: pending_approval → approved.

    Raises:
        NotFound: there is no such project.
        Conflict: it is not waiting for approval (`not_submitted`), its plan is another than was shown (`plan_changed`) or
            has no forecast (`not_estimated`), or no budget is known (`missing_budget`).
        Forbidden: the actor asked for it, or nobody vouched for the actor.
        BadInput: no reason, or a term that cannot be.
    """
    gates = read_gates(
        from_json(dict(terms.lane_gates or {}), "lane_gates"), f"project {project_id}", terms_of(registry)
    )
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{APPROVAL}", f"project:{project_id}") as session:
        view = _locked(session, project_id)
        _require_submitted(view)
        evidence = _agreed_evidence(view, terms.evidence_sha256)
        if not view.is_estimated:
            raise Conflict(
                f"Project {project_id} has tasks without a forecast; estimate it again before it is approved.",
                code="not_estimated",
            )
        view = _with_terms(session, view, terms, {**view.lane_gates, **gates})
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=APPROVAL, subject_type="project", subject_id=str(project_id),
            decision=APPROVE, reason=reason, actor=actor, role="approver", requested_by=requester(session, project_id),
            evidence_sha256=evidence, payload=_payload(view), second_person=True, auth_disabled=auth_disabled,
        )  # fmt: skip
        work.add_approval(
            session, project_id, gate=GATE, status="approved", approver=actor.name, reason=reason.strip(), at=now
        )
        _move(session, view, "approved", now=now, actor=actor, reason=f"decision {decision_id}")
        return Decision(_after(session, project_id), decision_id)


def reject_project(
    registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor, reason: str,
    evidence_sha256: str | None = None, auth_disabled: bool = False,
) -> Decision:  # fmt: skip
    """Send a submitted project back: pending_approval → planning.

    Raises:
        NotFound, Conflict, Forbidden, BadInput: as `approve_project`.
    """
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{APPROVAL}", f"project:{project_id}") as session:
        view = _locked(session, project_id)
        _require_submitted(view)
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=APPROVAL, subject_type="project", subject_id=str(project_id),
            decision=REJECT, reason=reason, actor=actor, role="approver", requested_by=requester(session, project_id),
            evidence_sha256=_agreed_evidence(view, evidence_sha256), second_person=True, auth_disabled=auth_disabled,
        )  # fmt: skip
        work.add_approval(
            session, project_id, gate=GATE, status="rejected", approver=actor.name, reason=reason.strip(), at=now
        )
        _move(session, view, "planning", now=now, actor=actor, reason=f"decision {decision_id}")
        return Decision(_after(session, project_id), decision_id)


def change_budget(
    registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor, reason: str,
    budget_usd: Decimal | None, budget_tokens: int | None, auth_disabled: bool = False,
) -> Decision:  # fmt: skip
    """Change the budget of a project that is not over. Raising what was approved needs another than who asked for it.

    Raises:
        NotFound: there is no such project.
        Conflict: it is over (`project_is_over`).
        Forbidden: as `approve_project`, for raising what was approved.
        BadInput: neither budget is given (`missing_budget`), or no reason.
    """
    if budget_usd is None and budget_tokens is None:
        raise BadInput("Give the new budget in dollars, in tokens, or both.", code="missing_budget")
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{BUDGET}", f"project:{project_id}") as session:
        view = _locked(session, project_id)
        if view.status in ("completed", "cancelled"):
            raise Conflict(f"Project {project_id} is {view.status}; its budget stands.", code="project_is_over")
        raises = _raises(view.budget_cost_usd_max, budget_usd) or _raises(view.budget_tokens_max, budget_tokens)
        approved = view.status not in ("planning", "pending_approval")
        payload = {
            "from": {"usd": _text(view.budget_cost_usd_max), "tokens": view.budget_tokens_max},
            "to": {"usd": _text(budget_usd), "tokens": budget_tokens},
        }
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=BUDGET, subject_type="project", subject_id=str(project_id),
            decision="change", reason=reason, actor=actor, role="approver", requested_by=requester(session, project_id),
            payload=payload, second_person=raises and approved, auth_disabled=auth_disabled,
        )  # fmt: skip
        changed = {"budget_cost_usd_max": budget_usd, "budget_tokens_max": budget_tokens}
        store.change_project(
            session, project_id, **{name: value for name, value in changed.items() if value is not None}
        )
        return Decision(_after(session, project_id), decision_id)


def project_approvals(registry: Registry, project_id: int) -> list[work.Approval]:
    """Every gate of a project and its runs that was approved or rejected, newest first.

    Raises:
        NotFound: there is no such project.
    """
    with registry.reading() as session:
        found_project(store.view_of(session, project_id, with_tasks=False), project_id)
        return work.approvals(session, project_id)


def requester(session: Session, project_id: int) -> str | None:
    """Who submitted a project last; None when nobody did."""
    found = decisions.newest(session, APPROVAL, "project", str(project_id), decision=REQUEST)
    return found.actor if found else None


def _locked(session: Session, project_id: int) -> ProjectView:
    store.lock_project(session, project_id)
    return found_project(store.view_of(session, project_id), project_id)


def _after(session: Session, project_id: int) -> ProjectView:
    session.expire_all()
    return found_project(store.view_of(session, project_id), project_id)


def _move(session: Session, view: ProjectView, new: str, *, now: Any, actor: Actor, reason: str) -> None:
    if not move_project(session, view.id, expected=view.status, new=new, at=now, actor=actor.name, reason=reason):
        raise Conflict(
            f"Project {view.id} is no longer {view.status}: somebody else was faster. Look at it again.",
            code="state_changed",
        )


def _require_submitted(view: ProjectView) -> None:
    if view.status != "pending_approval":
        raise Conflict(
            f"Project {view.id} is {view.status}; only one that was submitted (`plms project submit {view.id}`) is decided.",
            code="not_submitted",
        )


def _agreed_evidence(view: ProjectView, shown: str | None) -> str:
    evidence = evidence_of(view)
    if shown is not None and shown != evidence:
        raise Conflict(
            f"The plan of project {view.id} is not the one that you were shown ({shown[:12]}…, now {evidence[:12]}…); look at "
            "it again.",
            code="plan_changed",
        )
    return evidence


def _with_terms(session: Session, view: ProjectView, terms: ApprovalTerms, gates: Mapping[str, Any]) -> ProjectView:
    """The project under the approver's terms, stored."""
    budget = view.budget_cost_usd_max if terms.budget_usd is None else terms.budget_usd
    if budget is None:
        raise Conflict(
            f"Project {view.id} has no budget in dollars; give one with the approval, it bounds what may be spent.",
            code="missing_budget",
        )
    changed = replace(
        view,
        budget_cost_usd_max=budget,
        budget_tokens_max=view.budget_tokens_max if terms.budget_tokens is None else terms.budget_tokens,
        breach_policy=terms.breach_policy or view.breach_policy,
        min_echo_cos=view.min_echo_cos if terms.min_echo_cos is None else terms.min_echo_cos,
        lane_gates=dict(gates),
    )
    store.change_project(
        session, view.id, budget_cost_usd_max=changed.budget_cost_usd_max, budget_tokens_max=changed.budget_tokens_max,
        breach_policy=changed.breach_policy, min_echo_cos=changed.min_echo_cos, quality_slo_gates=changed.lane_gates,
    )  # fmt: skip
    formulas = {
        task.id: combined_text(
            project_gates(changed.lane_gates, task.lane_id), formula_gates(task.own_formula) if task.own_formula else ()
        )
        for task in view.tasks
    }
    store.change_formulas(session, formulas)
    return changed


def _payload(view: ProjectView) -> dict[str, Any]:
    return {
        "budget_usd": _text(view.budget_cost_usd_max), "budget_tokens": view.budget_tokens_max,
        "breach_policy": view.breach_policy, "min_echo_cos": view.min_echo_cos, "lane_gates": dict(view.lane_gates),
        "estimated_cost_usd": _text(view.estimated_cost_usd),
    }  # fmt: skip


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _raises(old: Decimal | int | None, new: Decimal | int | None) -> bool:
    """Whether `new` allows more than `old`; no limit in tokens is the largest."""
    return new is not None and old is not None and new > old
