"""`plms run start | list | show | cancel | dispatch`, from a terminal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from plms_pipeline.errors import BadInput, VerdictNo
from plms_pipeline.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunIdArgument = Annotated[str, typer.Argument(help="The run's id.")]
WIDE = 110
_COLORS = {"SUCCESS": "green", "FAIL": "red", "RUNNING": "cyan", "QUEUED": "yellow", "SKIPPED": "dim"}


def register(app: typer.Typer) -> None:
    """Add these commands to `plms run`."""
    app.command(
        epilog="Example: plms run start 42 --key $(uuidgen) --wait. Exit: 0 started (with --wait: ended well), 1 refused or "
        "ended badly, 2 bad use, 4 the registry is away, or the executor where it is needed: nobody ever heard which "
        "providers it serves, or --wait ended without it."
    )(start)
    app.command("list", epilog="Example: plms run list --project 42 --status RUNNING --json")(list_)
    app.command(epilog="Example: plms run show 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json")(show)
    app.command(epilog='Example: plms run cancel 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --reason "wrong branch"')(cancel)
    app.command(epilog="Example: plms run dispatch --json")(dispatch)


def start(
    project_id: Annotated[int, typer.Argument(help="The project.", min=1, max=2**31 - 1, show_default=False)],
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency-Key: repeat a start with the same one. Default: a new UUID, printed."),
    ] = None,
    kind: Annotated[str, typer.Option(help="baseline, rehearsal, replay or hotfix.")] = "baseline",
    write_sandbox: Annotated[bool, typer.Option("--write-sandbox", help="Suppress the run's writes.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
    wait_s: Annotated[float, typer.Option(help="With --wait: at most so many seconds.", min=0)] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Start a run of a project, once per key."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.registry.tables.vocabulary import RUN_KINDS
    from plms_pipeline.runs.actions.start import StartPolicy, start_run
    from plms_pipeline.runs.service.opening import opened
    from plms_pipeline.runs.service.waiting import Ended, require_executor
    from plms_pipeline.runs.starting import StartRequest, repeatable

    if kind not in RUN_KINDS:
        raise BadInput(f"{kind[:60]!r} is no kind of run; use {', '.join(RUN_KINDS)}.", code="invalid_run_kind")
    given = key or str(uuid4())
    body: dict[str, Any] = {"run_kind": kind, **({"write_sandbox": True} if write_sandbox else {})}
    with opened(load_settings()) as world, repeatable(given):
        if not as_json and key is None:
            typer.echo(f"key      {given}", err=True)
        answer = start_run(
            world.registry,
            clock=world.clock,
            ids=lambda: str(uuid4()),
            actor=local_actor(),
            request=StartRequest(project_id, given, run_kind=kind, write_sandbox=write_sandbox, body=body),
            world=world.worlds.gathered(),
            stopped=world.dispatcher.stopped(),
            policy=StartPolicy(
                timedelta(seconds=world.settings.idempotency_ttl_seconds), world.settings.idempotency_keys
            ),
        )
        told = {**answer.body, "idempotent_replay": answer.replayed, "idempotency_key": given}
        if wait:
            told["ended"] = _wait(world, answer.run_id, wait_s)
        else:
            world.dispatcher.write_copies()
        if as_json:
            typer.echo(json.dumps(told))
        else:
            _print_started(told)
        if ended := told.get("ended"):
            require_executor(Ended(**ended), world.client.health)
    if ended and (ended["status"] != "SUCCESS" or ended["validation"] == "failed"):
        raise typer.Exit(1)


def _wait(world: Any, run_id: str, wait_s: float) -> dict[str, Any]:
    from dataclasses import asdict

    from plms_pipeline.runs.service.waiting import wait_for_run

    return asdict(wait_for_run(world.registry, run_id, wait_s=wait_s, steps=world.steps()))


def _print_started(told: dict[str, Any]) -> None:
    replayed = " (answered before: no second run)" if told["idempotent_replay"] else ""
    typer.echo(f"run      {told['run_id']}{replayed}")
    for provider, version in told["provider_matrix"].items():
        typer.echo(f"provider {provider} {version}")
    typer.echo(f"passport {told['replay_passport_path']}")
    typer.echo(f"cards    {len(told['pas_job_cards'])}")
    if "ended" not in told:
        typer.echo(f"follow   plms run follow {told['run_id']}")
    if ended := told.get("ended"):
        word = "" if ended["has_ended"] else " (still going: the time is over)"
        typer.echo(f"status   {ended['status']} {ended['validation']}{word}")


def list_(
    project: Annotated[int | None, typer.Option(help="Only this project's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only QUEUED, RUNNING, SUCCESS, FAIL or SKIPPED ones.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Only those that were started before this run: the last one of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Runs that were started here, the newest first."""
    from plms_pipeline.runs.actions.listing import list_runs
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        rows = list_runs(world.registry, project_id=project, status=status, after=after, limit=limit)
    if as_json:
        typer.echo(json.dumps({"runs": rows}))
        return
    console = Console(markup=False, emoji=False)
    # An id or a state that is cut cannot be used; eighty columns hold these, and a wider terminal the rest.
    names = ("run", "project", "kind", "status", "verdict", "ended")
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None, padding=(0, 1, 0, 0))
    if is_wide := console.width >= WIDE:
        for name in ("tasks", "started"):
            table.add_column(name)
    for row in rows:
        counted = row["tasks_by_status"]
        ended = sum(number for name, number in counted.items() if name not in ("QUEUED", "RUNNING"))
        cells = [row["run_id"], str(row["project_id"]), row["run_kind"], _colored(row["status"]), row["validation"]]
        cells.append(f"{ended}/{sum(counted.values())}")
        if is_wide:
            cells.append(" ".join(f"{number} {name}" for name, number in sorted(counted.items())))
            cells.append((row["started_at"] or "")[:19].replace("T", " "))
        table.add_row(*cells)
    console.print(table)


def show(run_id: RunIdArgument, as_json: AsJson = False) -> None:
    """One run: its tasks, its cards, and why it ended as it did."""
    from plms_pipeline.runs.actions.listing import show_run
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        world.dispatcher.restore_copies()
        run = show_run(world.registry, run_id)
    if as_json:
        typer.echo(json.dumps(run))
        return
    for name in (
        "run_id",
        "project_id",
        "run_kind",
        "status",
        "validation",
        "reason",
        "parent_run_id",
        "provider_mismatch",
    ):
        if run[name] is not None:
            typer.echo(f"{name:18} {run[name]}")
    providers = {task["provider"] for task in run["tasks"]}
    if len(providers) == 1:
        typer.echo(f"{'provider':18} {next(iter(providers))}")
    # One provider for all tasks is said once: the table is wide enough without it.
    several = ["provider"] if len(providers) > 1 else []
    table = Table("task", "lane", *several, "status", "validation", "attempt", "card", "why")
    for task in run["tasks"]:
        table.add_row(
            task["task_id"], str(task["lane_id"]), *(task[name] for name in several),
            _colored(task["status"]), task["validation"], str(task["attempt"] or ""), task["card_state"] or "",
            task["last_error"] or "",
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


def cancel(
    run_id: RunIdArgument,
    reason: Annotated[str, typer.Option(help="Why; kept with the run.")],
    as_json: AsJson = False,
) -> None:
    """Call a run off: what has not gone out never will, and the executor is asked to end the rest."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.cancel import cancel_run
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        cancelled = cancel_run(world.registry, clock=world.clock, actor=local_actor(), run_id=run_id, reason=reason)
        result = world.dispatcher.tick()
    told = {"run_id": cancelled.run_id, "has_ended": cancelled.has_ended, "executor_away": result.away}
    if as_json:
        typer.echo(json.dumps(told))
    elif cancelled.has_ended:
        typer.echo(f"Run {run_id} is cancelled; nothing of it was handed out.")
    else:
        typer.echo(f"Run {run_id} ends when the executor has ended what it holds (`plms run show {run_id}`).")


def dispatch(as_json: AsJson = False) -> None:
    """Hand over what is due now, once. `plms serve` and the daemon do this by themselves."""
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        result = world.dispatcher.tick()
    told = {
        "announced": result.announced, "submitted": result.submitted, "refused": result.refused, "skipped": result.skipped,
        "snapshots": result.snapshots, "waiting": result.waiting, "away": result.away, "stopped": result.stopped,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(" ".join(f"{name}={value}" for name, value in told.items() if value is not None))
    if result.stopped is not None:
        raise VerdictNo(f"The kill switch is on ({result.stopped}): nothing was handed over.", code="killswitch_on")


def _colored(status: str) -> Text:
    return Text(status, _COLORS.get(status, "white"))
