"""`plms budget runway | history | breaches | answer`: how long budgets last, and what happens when they do not."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.opening import opened
from plms_pipeline.runs.commands.projects import AsJson, ProjectArgument, ReasonOption
from plms_pipeline.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands to `plms budget`."""
    app.command(epilog="Example: plms budget runway 42 --json")(runway)
    app.command(epilog="Example: plms budget history 42 --limit 50 --json")(history)
    app.command(epilog="Example: plms budget breaches --all --json")(breaches)
    app.command(epilog="Example: plms budget answer 42 go_on --reason 'the customer pays for it'")(answer)


def runway(project_id: ProjectArgument, as_json: AsJson = False) -> None:
    """What was spent, how fast, when the budget is gone, and what the project will have cost."""
    from plms_pipeline.runs.actions.runway import budget_runway

    with opened(load_settings()) as registry:
        found = budget_runway(registry, project_id, clock=SystemClock())
    if as_json:
        typer.echo(json.dumps(found))
        return
    budget, told, left = found["budget"], found["runway"], found["left"]
    typer.echo(f"{found['status']}: {_usd(budget['usd_spent'])} of {_usd(budget['usd_max'])} spent, "
               f"{_usd(budget['usd_reserved'])} reserved")  # fmt: skip
    if budget["burn_per_min"] is None:
        typer.echo("nothing burns: how long the budget lasts is unknown")
    else:
        typer.echo(f"burns {_usd(budget['burn_per_min'])} a minute; gone in "
                   f"{_with(told['minutes_to_depletion'], told['minutes_to_depletion_ci_90'], ' min')}")  # fmt: skip
    if told["projected_final_usd"] is None:
        typer.echo(
            f"{left['tasks_without_forecast']} of {left['tasks']} tasks left have no forecast: the final is unknown"
        )
    else:
        typer.echo(f"{left['tasks']} tasks left; in the end "
                   f"{_with(told['projected_final_usd'], told['projected_final_ci_90'], ' USD')}")  # fmt: skip
    if told["projected_overrun_usd"]:
        typer.echo(f"over by {_usd(told['projected_overrun_usd'])}"
                   + ("" if told["projected_overrun_pct"] is None else f" ({told['projected_overrun_pct']} %)"))  # fmt: skip
    for one in left["repriced"]:
        why = "its receipts cost nothing" if one["receipts_with_tokens"] else "no receipt knows its tokens"
        said = f"costs times {one['factor']}" if one["repriced"] else f"not re-priced, because {why}"
        typer.echo(f"{one['provider']} in lane {one['lane_id']}: prices of {one['prices_from']}, {said}")


def history(
    project_id: ProjectArgument,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=2000)] = 100,
    as_json: AsJson = False,
) -> None:
    """How the money of a project stood, oldest first."""
    from plms_pipeline.runs.actions.budget_check import runway_history

    with opened(load_settings()) as registry:
        found = runway_history(registry, project_id, limit=limit)
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found["history"]:
        typer.echo("No look at its money was kept: `plms serve` and the daemon look while it is under way.")
    for one in found["history"]:
        typer.echo(
            f"{one['at'][:19]}  {one['status']:<8}  spent {_usd(one['spent_usd'])}  final {_usd(one['final_usd'])}  "
            f"of {_usd(one['budget_usd'])}  left {'?' if one['minutes_left'] is None else one['minutes_left']} min"
        )


def breaches(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Projects that are going to pass their budget by more than a quarter, and what was done about them."""
    from plms_pipeline.runs.actions.breach import breaches as listed

    with opened(load_settings()) as registry:
        found = [one.as_json() for one in listed(registry, only_open=not everything)]
    if as_json:
        typer.echo(json.dumps({"breaches": found}))
        return
    for one in found:
        waits = (
            ", waits for an answer"
            if one["waits"]
            else f", {one['answer']} ({one['answered_by']})"
            if one["answer"]
            else ""
        )
        typer.echo(
            f"{one['opened_at'][:19]}  project {one['project_id']}: {one['policy']}{waits}; {_seen(one['seen'])}"
        )
    if not found:
        typer.echo("No project is in breach of its budget.")


def answer(
    project_id: ProjectArgument,
    what: Annotated[str, typer.Argument(help="go_on: lift what the policy holds; stop: call off its runs.")],
    reason: ReasonOption,
    as_json: AsJson = False,
) -> None:
    """Decide about the breach that a project is in."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.breach import answer_breach, answer_of
    from plms_pipeline.runs.ids import random_id

    with opened(load_settings()) as registry:
        decision_id = answer_breach(
            registry, project_id, answer=answer_of(what), clock=SystemClock(), ids=random_id, actor=local_actor(),
            reason=reason,
        )  # fmt: skip
    typer.echo(json.dumps({"project_id": project_id, "answer": what, "decision_id": decision_id}) if as_json
               else f"project {project_id}: {what} (decision {decision_id})")  # fmt: skip


def _usd(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.2f} USD"


def _with(value: float, interval: list[float], unit: str) -> str:
    return f"{value:.2f}{unit} (90 %: {interval[0]:.2f} to {interval[1]:.2f})"


def _seen(seen: dict[str, Any]) -> str:
    return f"{_usd(seen['final_usd'])} of {_usd(seen['budget_usd'])}"
