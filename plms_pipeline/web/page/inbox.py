"""What is told about something that waits for a decision, and who may decide it?

Each item names the endpoint that takes the decision, the scope that it needs, and the fields that it asks for; the page shows a
button for each and sends what it says. Whether a caller may press it is said here for the page's sake: the endpoint asks again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES
from plms_pipeline.decisions.rules import require_second_person
from plms_pipeline.errors import Forbidden
from plms_pipeline.models.decision.matrix import RISK_LEAD
from plms_pipeline.models.decision.matrix import ROLES as SIGNERS
from plms_pipeline.models.decision.words import APPROVE, REJECT, REQUEST_RETRAIN
from plms_pipeline.registry.tables.vocabulary import BREACH_POLICIES
from plms_pipeline.web.page.facts import Waiting

# In the order in which they hold up work.
KINDS: Final = (
    "budget_breach", "project_approval", "kpi_override", "failed_run", "paused_project", "dead_letter", "candidate",
    "lane_review", "ungated_lane",
)  # fmt: skip
_SHORT: Final = 8


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a decision asks for besides its reason. `kind`: usd, choice or flag."""

    name: str
    label: str
    kind: str
    value: object = None
    choices: tuple[str, ...] = ()

    @property
    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "name": self.name, "label": self.label, "kind": self.kind, "value": self.value, "choices": list(self.choices)
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """One decision that can be taken: where it is sent, what it needs.

    `asks_reason`: the reason is sent as `reason`. `binds`: the digest that the evidence came with is sent as
    `evidence_sha256`, so that what was shown is what is decided about. `by_another`: not by who asked for it.
    """

    name: str
    label: str
    path: str
    scope: str
    body: Mapping[str, object] | None = None
    tone: str = "plain"
    asks_reason: bool = True
    binds: bool = False
    by_another: bool = False
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """An item in words: title, lines of (label, value, unit), where its evidence is read, what can be done, what else to do."""

    title: str
    lines: tuple[tuple[str, object, str | None], ...]
    look: str | None
    actions: tuple[Action, ...]
    remedy: str | None = None


def items(waiting: Iterable[Waiting], principal: Principal, *, auth_disabled: bool) -> list[dict[str, Any]]:
    """What waits, for a caller: those kinds first that hold up work, within a kind the longest first."""
    ordered = sorted(waiting, key=lambda one: (KINDS.index(one.kind), one.since is None, one.since or 0, one.subject))
    return [_item(one, principal, auth_disabled=auth_disabled) for one in ordered]


def counts(found: Iterable[Waiting]) -> dict[str, int]:
    """How many of each kind wait."""
    number = dict.fromkeys(KINDS, 0)
    for one in found:
        number[one.kind] += 1
    return number


def _item(one: Waiting, principal: Principal, *, auth_disabled: bool) -> dict[str, Any]:
    told = _TELL[one.kind](one, dict(one.facts))
    return {
        "id": f"{one.kind}:{one.subject}", "kind": one.kind, "subject": one.subject, "title": told.title,
        "since": None if one.since is None else one.since.isoformat(), "asked_by": one.asked_by,
        "project_id": one.project_id, "project_name": one.project_name, "run_id": one.run_id, "lane_id": one.lane_id,
        "lines": [{"label": label, "value": value, "unit": unit} for label, value, unit in told.lines],
        "look": told.look, "remedy": told.remedy,
        "actions": [_action(action, one, principal, auth_disabled=auth_disabled) for action in told.actions],
    }  # fmt: skip


def _action(action: Action, one: Waiting, principal: Principal, *, auth_disabled: bool) -> dict[str, Any]:
    why_not = _why_not(action, one, principal, auth_disabled=auth_disabled)
    return {
        "name": action.name, "label": action.label, "method": "POST", "path": action.path, "scope": action.scope,
        "body": None if action.body is None else dict(action.body), "tone": action.tone, "asks_reason": action.asks_reason,
        "binds_evidence": action.binds, "fields": [field.as_json for field in action.fields], "may": why_not is None,
        "why_not": why_not,
    }  # fmt: skip


def _why_not(action: Action, one: Waiting, principal: Principal, *, auth_disabled: bool) -> str | None:
    if not principal.may(action.scope):
        role = next((name for name, scopes in ROLES.items() if action.scope in scopes), "admin")
        return f"This takes the role {role}."
    if action.by_another:
        try:
            require_second_person(principal.actor, one.asked_by, auth_disabled=auth_disabled)
        except Forbidden as refused:
            return refused.message
    return None


def _breach(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/projects/{one.subject}"
    seen = json.loads(facts["seen_json"] or "{}")
    low, high = seen.get("final_90") or (None, None)
    lines = (
        ("Spent", seen.get("spent_usd"), "USD"), ("Budget", seen.get("budget_usd"), "USD"),
        ("Expected in the end", seen.get("final_usd"), "USD"), ("At least (90 %)", low, "USD"),
        ("At most (90 %)", high, "USD"), ("Over by", seen.get("overrun_usd"), "USD"),
        ("Over the budget by", seen.get("overrun_pct"), "%"), ("Tasks left", seen.get("tasks_left"), "tasks"),
    )  # fmt: skip
    answer = f"{at}/budget-breach/answer"
    actions = tuple(
        Action(word, label, answer, "approvals.write", {"answer": word, "episode_id": facts["episode_id"]}, tone=tone)
        for word, label, tone in (("go_on", "Let it go on", "primary"), ("stop", "Call off its runs", "danger"))
    )
    return Told(
        f"{one.project_name} will pass its budget: may it go on?", lines, f"{at}/budget-runway", actions,
        "It is held, and what was measured is of that moment. A budget that is raised enough lets it go on as well.",
    )  # fmt: skip


def _approval(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/projects/{one.subject}"
    lines = (
        ("Estimated cost", facts["estimated_cost_usd"], "USD"), ("Budget asked for", facts["budget_cost_usd_max"], "USD"),
        ("Estimated tokens", facts["estimated_tokens"], "tokens"),
        ("Estimated time", facts["estimated_duration_minutes"], "min"), ("When it would be over", facts["breach_policy"], None),
        ("Asked because", facts["reason"], None),
    )  # fmt: skip
    terms = (
        Field("budget_cost_usd_max", "Budget", "usd", facts["budget_cost_usd_max"]),
        Field("breach_policy", "When the budget is breached by more than 25 %", "choice", facts["breach_policy"],
              BREACH_POLICIES),
    )  # fmt: skip
    actions = (
        Action("approve", "Approve", f"{at}/approve", "approvals.write", tone="primary", binds=True, by_another=True,
               fields=terms),
        Action("reject", "Send back", f"{at}/approvals", "approvals.write",
               {"gate": "budget_approval", "status": "rejected"}, tone="danger", binds=True, by_another=True),
    )  # fmt: skip
    return Told(f"Approve {one.project_name} and its budget", lines, at, actions)


def _override(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/runs/{one.subject}/kpi-override"
    lines = (
        ("Asked because", facts["reason"], None),
        ("Would teach the estimates", "yes" if facts["asks_to_teach"] else "no", None),
    )
    actions = (
        Action("approve", "Let it pass", f"{at}/decide", "kpi.override", {"decision": "approve"}, tone="primary",
               binds=True, by_another=True),
        Action("reject", "Keep it failed", f"{at}/decide", "kpi.override", {"decision": "reject"}, tone="danger",
               binds=True, by_another=True),
    )  # fmt: skip
    return Told(f"Let run {_short(one.subject)} pass although a gate failed", lines, at, actions)


def _failed_run(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/runs/{one.subject}/kpi-override"
    lines = (("Run ended", facts["run_status"], None), ("Its gates", facts["validation"], None))
    if facts["run_status"] == "SUCCESS" and facts["validation"] == "failed":
        teach = Field("teach", "It may teach the estimates if it is let pass", "flag", value=False)
        ask = Action("request", "Ask to let it pass", f"{at}/request", "projects.start", fields=(teach,))
        return Told(
            f"Run {_short(one.subject)} failed its gates", lines, at, (ask,),
            "The owner may ask to let it pass; or start a hotfix run.",
        )  # fmt: skip
    return Told(
        f"Run {_short(one.subject)} did not succeed", lines, f"/api/runs/{one.subject}", (),
        "Look at what failed, then start the project again or cancel it.",
    )  # fmt: skip


def _paused(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/projects/{one.subject}"
    actions = (
        Action("resume", "Resume", f"{at}/resume", "projects.start", tone="primary", asks_reason=False),
        Action("cancel", "Cancel the project", f"{at}/cancel", "projects.start", tone="danger"),
    )
    lines = (("Paused because", facts["reason"], None),)
    return Told(f"{one.project_name} is paused", lines, at, actions)


def _letter(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/dead-letters/{one.subject}"
    lines = (
        ("What failed", f"{facts['letter_kind']} {facts['letter_subject']}", None), ("Why", facts["reason"], None),
        ("Taken for", facts["error_class"], None), ("Retries", f"{facts['attempts']} of {facts['max_attempts']}", None),
        ("Due again", facts["next_due_at"], "moment"),
    )  # fmt: skip
    is_transient = facts["error_class"] == "TRANSIENT"
    aside = Action("mark_permanent", "Put aside for good", f"{at}/mark-permanent", "projects.start", tone="danger")
    if facts["state"] == "ready":
        retry = Action("retry", "Retry now", f"{at}/retry", "projects.start", tone="primary", asks_reason=False)
        return Told("Failed work waits to be retried", lines, at, (retry, aside) if is_transient else (aside,))
    body = None if is_transient else {"is_transient": True}
    reset = Action("reset", "Begin anew", f"{at}/reset-retries", "projects.start", body, tone="primary")
    if facts["state"] == "quarantined":
        return Told("Quarantined work waits for a look", lines, at, (reset, aside))
    return Told("Failed work was put aside", lines, at, (reset,))


def _candidate(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/models/candidates/{one.subject}"
    blockers, alerts = json.loads(facts["blockers_json"]), json.loads(facts["alerts_json"])
    lines = (
        ("Recommended", facts["action"].replace("_", " "), None),
        ("Gates", "passed" if facts["gates_passed"] else "failed", None),
        ("Kept from going live by", ", ".join(blockers), None), ("Alerts", ", ".join(alerts), None),
        ("Experiments on the same data", facts["trials"], None), ("Trained because", facts["reason"], None),
        ("Who asked for it", None if facts["is_verified"] else "not verified", None),
        ("Decide until", facts["expires_at"], "moment"), ("SHA-256 of its summary", facts["evaluation_sha256"], None),
    )  # fmt: skip
    decide = f"{at}/decide"
    signer = Field("role", "You decide as", "choice", RISK_LEAD, SIGNERS)
    approve = Action("approve", "Approve as risk lead", decide, "approvals.write", {"decision": APPROVE, "role": RISK_LEAD},
                     tone="primary", binds=True, by_another=True)  # fmt: skip
    others = tuple(
        Action(word, label, decide, "approvals.write", {"decision": word}, tone=tone, binds=True, fields=(signer,))
        for word, label, tone in (
            (REQUEST_RETRAIN, "Ask for another training", "plain"), (REJECT, "Reject", "danger"),
        )
    )  # fmt: skip
    # What was judged at its training never changes: an approval would only be refused.
    actions = others if blockers else (approve, *others)
    remedy = (
        "It cannot be approved as it is. Caps and a halt are decided"
        if blockers
        else "An approval promotes it at once. Caps and a halt are decided"
    )
    return Told(
        f"Decide about model {_short(one.subject)} of {facts['family']}", lines, at, actions,
        f"{remedy} in Dagster (decide_candidate) or with plms model decide.",
    )  # fmt: skip


def _lane_review(one: Waiting, facts: Mapping[str, Any]) -> Told:
    at = f"/api/lanes/reviews/{one.subject}"
    what = {"cap": "cap", "gate": f"gate {facts['gate']}", "alpha": "weight of the newest receipt"}[facts["field"]]
    evidence = json.loads(facts["evidence_json"] or "{}")
    lines = (
        ("Now", json.loads(facts["current_json"]), None), ("Recommended", json.loads(facts["recommended_json"]), None),
        ("Rule", facts["rule"].replace("_", " "), None), ("Week of", facts["week_of"], None),
        *((name.replace("_", " "), value, None) for name, value in sorted(evidence.items())
          if isinstance(value, int | float | str) or value is None),
    )  # fmt: skip
    apply = Action("apply", "Apply", f"{at}/apply", "lanes.write", tone="primary")
    reject = Action("reject", "Leave as it is", f"{at}/reject", "lanes.write", tone="danger")
    is_setting = facts["field"] == "alpha"
    remedy = "Alpha is a setting: change PLMS_ALPHA, then reject this here." if is_setting else None
    title = f"Change the {what} of lane {one.lane_id} {facts['lane_name']}"
    return Told(title, lines, None, (reject,) if is_setting else (apply, reject), remedy)


def _ungated(one: Waiting, facts: Mapping[str, Any]) -> Told:
    accept = Action(
        "accept", "Let it teach", f"/api/lanes/{one.subject}/accept-ungated", "lanes.write", {"accept": True}
    )
    lines = (("Tasks without any gate", facts["tasks"], "tasks"),)
    return Told(
        f"Lane {one.subject} {facts['lane_name']} has no gates: may its work teach the estimates?",
        lines,
        None,
        (accept,),
    )


def _short(run_id: str) -> str:
    return run_id[:_SHORT]


_TELL: Final[dict[str, Callable[[Waiting, Mapping[str, Any]], Told]]] = {
    "budget_breach": _breach, "project_approval": _approval, "kpi_override": _override, "failed_run": _failed_run,
    "paused_project": _paused, "dead_letter": _letter, "candidate": _candidate,
    "lane_review": _lane_review, "ungated_lane": _ungated,
}  # fmt: skip
