"""`plms project create … show`: a project from its task file to the approver's desk, from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.runs.project_view import ProjectView

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ProjectArgument = Annotated[int, typer.Argument(help="The project's id.", min=1, max=2**31 - 1)]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept for ever.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `plms project`."""
    app.command(epilog="Example: plms project create --from plan.yaml --json")(create)
    app.command(epilog="Example: plms project samples --json")(samples)
    app.command("list", epilog="Example: plms project list --status approved --json")(list_)
    app.command(epilog="Example: plms project show 42 --json")(show)
    app.command(epilog="Example: plms project estimate 42 --json")(estimate)
    app.command(epilog="Example: plms project submit 42 --json")(submit)


def create(
    plan: Annotated[Path, typer.Option("--from", help="The task file: YAML, or CSV (its name ends in .csv).")],
    name: Annotated[str | None, typer.Option(help="The project's name; a CSV file's own name otherwise.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who owns it; whoever creates it otherwise.")] = None,
    provider: Annotated[str | None, typer.Option(help="Model or service of tasks that name none.")] = None,
    budget_usd: Annotated[str | None, typer.Option(help="The budget in dollars.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be stored.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store a project with its tasks; every problem of the file is told with its line, and then nothing is stored.

    A task has key, name, description, kind, lane (suggested from its text when left out), complexity, provider,
    depends_on, command (a list, no shell), kpi_formula and store_hint.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_samples import tree_of
    from plms_pipeline.runs.actions.projects import create_project, terms_of
    from plms_pipeline.runs.files.lane_classifier import learnt_lanes
    from plms_pipeline.runs.files.task_files import read_task_file
    from plms_pipeline.runs.plan import read_plan

    settings = load_settings()
    file = read_task_file(plan)
    fields = {"name": name, "owner": owner, "provider": provider, "budget_usd": budget_usd}
    # An option that is given but empty, such as a variable that is not set, is told as that: not as if it were left out.
    given = {field: value for field, value in fields.items() if value is not None}
    root, learnt = tree_of(file, given), learnt_lanes(settings.data_dir)
    with opened(settings) as registry:
        if dry_run:
            planned = read_plan(root, file.name, terms_of(registry, learnt))
            told = {"name": planned.name, "tasks": len(planned.tasks), "dry_run": True}
            typer.echo(json.dumps(told) if as_json else f"{planned.name}: {len(planned.tasks)} tasks, nothing stored")
            return
        view = create_project(registry, root, file.name, clock=SystemClock(), actor=local_actor(), learnt=learnt)
    print_project(view, as_json=as_json)


def samples(
    any_id: Annotated[
        bool, typer.Option("--any-id", help="Take the next free id where another project has the sample's.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the sample projects 1, 2, 3 and 42 that the guides' examples use; those that are there stay as they are."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_samples import make_samples
    from plms_pipeline.runs.files.task_files import sample_files

    with opened(load_settings()) as registry:
        made = make_samples(registry, sample_files(), clock=SystemClock(), actor=local_actor(), any_id=any_id)
    if as_json:
        rows = [
            {"project_id": one.view.id, "name": one.view.name, "status": one.view.status, "is_new": one.is_new,
             "tasks": len(one.view.tasks)}
            for one in made
        ]  # fmt: skip
        typer.echo(json.dumps({"projects": rows}, ensure_ascii=False))
        return
    for one in made:
        typer.echo(f"project {one.view.id}: {one.view.name} ({'made' if one.is_new else 'was there'})")


def list_(
    status: Annotated[str | None, typer.Option(help="Only those in this state; `paused`: those on hold.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with this tag; may be repeated.")] = None,
    imported: Annotated[bool, typer.Option("--imported", help="Imported history as well.")] = False,
    after: Annotated[int, typer.Option(help="Only ids above this one.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 100,
    as_json: AsJson = False,
) -> None:
    """Projects in order of id."""
    from plms_pipeline.runs.actions.projects import projects
    from plms_pipeline.runs.project_view import project_json
    from plms_pipeline.runs.store.projects import SOURCE

    with opened(load_settings()) as registry:
        found = projects(
            registry, status=status, tags=tag or (), after=after, limit=limit, source=None if imported else SOURCE
        )
    if as_json:
        typer.echo(json.dumps({"projects": [project_json(one, with_tasks=False) for one in found]}, ensure_ascii=False))
        return
    table = Table("id", Column("name", overflow="fold"), "status", "owner", "estimate", "budget", "tags", box=None)
    for one in found:
        state = f"{one.status}, paused" if one.paused is not None else one.status
        table.add_row(
            str(one.id), one.name, state, one.owner, money(one.estimated_cost_usd),
            money(one.budget_cost_usd_max), ", ".join(one.tags),
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


def show(project_id: ProjectArgument, as_json: AsJson = False) -> None:
    """One project with its tasks: lanes and how they were found, estimates, dependencies."""
    from plms_pipeline.runs.actions.projects import project

    with opened(load_settings()) as registry:
        view = project(registry, project_id)
    print_project(view, as_json=as_json)


def estimate(project_id: ProjectArgument, as_json: AsJson = False) -> None:
    """Price every task and the whole from what is believed now, with 90 % intervals, and keep it."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.project_estimates import estimate_project
    from plms_pipeline.runs.project_view import task_json

    settings = load_settings()
    with opened(settings) as registry:
        found = estimate_project(
            registry, project_id, clock=SystemClock(), actor=local_actor(), alpha=settings.alpha
        )  # fmt: skip
    if as_json:
        tree = [task_json(task) for task in found.view.tasks]
        told = {"project_id": project_id, "status": found.view.status, "task_tree": tree, "totals": found.totals}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    print_tasks(found.view)
    totals = found.totals
    low, high = totals["ci_90"]["cost_usd"]
    typer.echo(
        f"total: {totals['estimated_tokens']:,} tokens, {totals['estimated_duration_minutes']:,} min, "
        f"${totals['estimated_cost_usd']:.2f} (90 %: ${low:.2f} to ${high:.2f}); a budget of "
        f"${totals['suggested_budget_usd']:.2f} suffices with 95 %, failed attempts included"
    )
    unknown = [name for name, n in totals["rests_on_receipts"].items() if not n]
    if unknown:
        typer.echo(f"note: no receipt of some lane and provider knows {', '.join(unknown)}; the intervals say so")


def submit(project_id: ProjectArgument, reason: ReasonOption = "ready for approval", as_json: AsJson = False) -> None:
    """Ask for the approval of an estimated project."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_project import submit_project
    from plms_pipeline.runs.ids import random_id

    with opened(load_settings()) as registry:
        done = submit_project(
            registry, project_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason
        )
    print_decided(done.view, done.decision_id, as_json=as_json)


def print_project(view: ProjectView, *, as_json: bool) -> None:
    """A project with its tasks."""
    from plms_pipeline.runs.project_view import project_json

    if as_json:
        typer.echo(json.dumps(project_json(view), ensure_ascii=False))
        return
    state = f"{view.status}, paused: {view.paused}" if view.paused is not None else view.status
    typer.echo(
        f"project {view.id}: {view.name} ({state}), owner {view.owner}, budget {money(view.budget_cost_usd_max)}"
    )
    if view.tasks:
        print_tasks(view)
    if view.forecast is not None:
        cost = view.forecast["effort"]["cost_usd"]
        typer.echo(
            f"forecast of {view.forecast['as_of'][:16]} UTC: {money(cost['median'])} (90 %: {money(cost['low'])} to "
            f"{money(cost['high'])})"
        )


def print_decided(view: ProjectView, decision_id: str | None, *, as_json: bool, **more: Any) -> None:
    """What a decision made of a project."""
    from plms_pipeline.runs.project_view import evidence_of

    if as_json:
        told = {
            "project_id": view.id, "status": view.status, "decision_id": decision_id,
            "evidence_sha256": evidence_of(view), **more,
        }  # fmt: skip
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    decided = f", decision {decision_id}" if decision_id else ""
    typer.echo(f"project {view.id}: {view.status}{decided}")


def print_tasks(view: ProjectView) -> None:
    """The tasks of a project as a table."""
    wraps = [Column(name, overflow="fold") for name in ("key", "name")]
    stays = [Column(name, no_wrap=True) for name in ("lane", "complexity")]
    figures = [Column(name, no_wrap=True, justify="right") for name in ("tokens", "min", "cost")]
    columns = (Column("id", no_wrap=True), *wraps, *stays, Column("after", overflow="fold"), *figures)
    table = Table(*columns, box=None, padding=(0, 1, 0, 0))
    for task in view.tasks:
        sure = "" if task.lane_confidence is None else f" {task.lane_confidence:.0%}"
        table.add_row(
            str(task.id), task.key, task.name, f"{task.lane_id} {task.lane_name}\n{task.lane_source}{sure}",
            task.complexity, ", ".join(task.depends_on),
            number(task.estimated_tokens), number(task.estimated_duration_minutes), money(task.estimated_cost_usd),
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


def money(amount: Any) -> str:
    """Dollars as people read them."""
    return "unknown" if amount is None else f"${amount:,.2f}"


def number(value: int | None) -> str:
    """A count as people read it."""
    return "unknown" if value is None else f"{value:,}"


def dollars_of(text: str | None) -> Any:
    """Dollars that a person typed, as Decimal; None when nothing was.

    Raises:
        BadInput: it is no amount, or less than nothing.
    """
    from plms_pipeline.registry.types import to_usd

    if text is None:
        return None
    try:
        amount = to_usd(text)
    except ValueError as error:
        raise BadInput(str(error), code="bad_amount") from None
    if amount < 0:
        raise BadInput(f"{text} is less than nothing; give an amount in dollars.", code="bad_amount")
    return amount
