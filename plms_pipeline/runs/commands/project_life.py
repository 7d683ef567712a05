"""`plms project approve … cancel`: what people decide about a project, from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened
from plms_pipeline.runs.commands.projects import (
    AsJson,
    ProjectArgument,
    ReasonOption,
    dollars_of,
    print_decided,
)
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.runs.actions.project_life import Changed

TokensOption = Annotated[int | None, typer.Option(help="The budget in tokens.", min=0, max=2**31 - 1)]
EvidenceOption = Annotated[
    str | None, typer.Option("--evidence", help="Digest of the plan that you were shown; another plan is then refused.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `plms project`."""
    app.command(epilog="Example: plms project approve 42 --budget-usd 20 --reason 'within the quarter' --json")(approve)
    app.command(epilog="Example: plms project reject 42 --reason 'too dear' --json")(reject)
    app.command(epilog="Example: plms project budget 42 --budget-usd 30 --reason 'two more lanes' --json")(budget)
    app.command(epilog="Example: plms project pause 42 --reason 'wait for the new model' --json")(pause)
    app.command(epilog="Example: plms project resume 42 --json")(resume)
    app.command(epilog="Example: plms project cancel 42 --reason 'not needed any more' --json")(cancel)


def approve(
    project_id: ProjectArgument,
    reason: ReasonOption,
    budget_usd: Annotated[str | None, typer.Option(help="The budget in dollars; the plan's otherwise.")] = None,
    budget_tokens: TokensOption = None,
    breach_policy: Annotated[str | None, typer.Option(help="What 25 % over budget does: pause, ask or kill.")] = None,
    gates: Annotated[
        str | None, typer.Option(help='Stricter gates per lane as JSON: {"4200": {"test_pass_rate": {">=": 0.95}}}')
    ] = None,
    evidence: EvidenceOption = None,
    as_json: AsJson = False,
) -> None:
    """Approve a submitted project. Another person than the requester decides, unless PLMS_AUTH=disabled."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.registry.tables.vocabulary import BREACH_POLICIES
    from plms_pipeline.runs.actions.decide_project import ApprovalTerms, approve_project
    from plms_pipeline.runs.ids import random_id

    if breach_policy is not None and breach_policy not in BREACH_POLICIES:
        raise BadInput(f"--breach-policy {breach_policy} is none of {', '.join(BREACH_POLICIES)}.", code="bad_use")
    settings = load_settings()
    terms = ApprovalTerms(
        budget_usd=dollars_of(budget_usd), budget_tokens=budget_tokens, breach_policy=breach_policy,
        lane_gates=_gates(gates), evidence_sha256=evidence,
    )  # fmt: skip
    with opened(settings) as registry:
        done = approve_project(
            registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason, terms=terms,
            auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    print_decided(done.view, done.decision_id, as_json=as_json)


def _gates(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput('--gates is no JSON object such as {"4200": {"test_pass_rate": {">=": 0.95}}}.', code="bad_use")
    return found


def reject(
    project_id: ProjectArgument, reason: ReasonOption, evidence: EvidenceOption = None, as_json: AsJson = False
) -> None:
    """Send a submitted project back to planning."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_project import reject_project
    from plms_pipeline.runs.ids import random_id

    settings = load_settings()
    with opened(settings) as registry:
        done = reject_project(
            registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason,
            evidence_sha256=evidence, auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    print_decided(done.view, done.decision_id, as_json=as_json)


def budget(
    project_id: ProjectArgument,
    reason: ReasonOption,
    budget_usd: Annotated[str | None, typer.Option(help="The new budget in dollars.")] = None,
    budget_tokens: TokensOption = None,
    as_json: AsJson = False,
) -> None:
    """Change the budget. Raising an approved one needs another person than the requester."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_project import change_budget
    from plms_pipeline.runs.ids import random_id

    settings = load_settings()
    with opened(settings) as registry:
        done = change_budget(
            registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason,
            budget_usd=dollars_of(budget_usd), budget_tokens=budget_tokens,
            auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    print_decided(done.view, done.decision_id, as_json=as_json)


def pause(project_id: ProjectArgument, reason: ReasonOption, as_json: AsJson = False) -> None:
    """Hold a project: nothing of it goes out, and its running runs are asked to pause."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_life import pause_project
    from plms_pipeline.runs.ids import random_id

    with opened(load_settings()) as registry:
        done = pause_project(
            registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason
        )
    _print_changed(done, "paused", as_json=as_json)


def resume(project_id: ProjectArgument, as_json: AsJson = False) -> None:
    """Lift the hold of a project."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_life import resume_project
    from plms_pipeline.runs.ids import random_id

    with opened(load_settings()) as registry:
        done = resume_project(registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor())
    _print_changed(done, "resumed", as_json=as_json)


def cancel(project_id: ProjectArgument, reason: ReasonOption, as_json: AsJson = False) -> None:
    """End a project. What was not handed over never is; what PAS works on is asked to stop."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_life import cancel_project

    with opened(load_settings()) as registry:
        done = cancel_project(registry, project_id, clock=SystemClock(), actor=local_actor(), reason=reason)
    _print_changed(done, "cancelled", as_json=as_json)


def _print_changed(done: Changed, word: str, *, as_json: bool) -> None:
    view = done.view
    if as_json:
        told = {
            "project_id": view.id, "status": view.status, "is_paused": view.paused is not None, "is_new": done.is_new,
            "runs_told": done.runs_told,
        }  # fmt: skip
        typer.echo(json.dumps(told))
        return
    again = "" if done.is_new else " (it was already)"
    typer.echo(f"project {view.id}: {word}{again}, runs told: {done.runs_told}")
