"""`plms killswitch on | off | status | resume`: one switch stops everything that spends.

It works with nothing else running: the command pauses what runs by itself. With the registry away `on` raises the flag file.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext, suppress
from typing import Annotated, Any
from uuid import uuid4

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, PlmsError
from plms_pipeline.portfolio import files
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Reason = Annotated[str, typer.Option(help="Why; kept for ever.")]
Lane = Annotated[int | None, typer.Option(help="Only this lane.", min=0)]
Project = Annotated[int | None, typer.Option(help="Only this project.", min=1)]


@app.callback()
def killswitch() -> None:
    """Stop everything that starts or spends; the books are kept all the same."""


@app.command(epilog='Example: plms killswitch on --reason "runaway spend" --project 42')
def on(reason: Reason, lane: Lane = None, project: Project = None, as_json: AsJson = False) -> None:
    """Nothing starts in scope, and what runs there is asked to pause."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.portfolio.actions.switches import turn_on
    from plms_pipeline.runs.stopping.service import flag_unless_written, is_unreadable

    settings = load_settings()
    scope, subject = _scope(lane, project)
    told: dict[str, Any] = {"scope": scope, "subject": subject, "on": True}
    meanwhile = flag_unless_written(settings.data_dir, reason) if scope == "global" else nullcontext()
    with ExitStack() as stack:
        try:
            with meanwhile:
                registry = stack.enter_context(opened(settings))
                done = turn_on(
                    registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=local_actor(), reason=reason,
                    scope=scope, subject=subject,
                )  # fmt: skip
        except PlmsError as error:
            if scope != "global" or not is_unreadable(error):
                raise
            told |= {"changed": True, "flag_file": str(settings.data_dir / files.FLAG), "registry": error.code}
        else:
            told |= {"changed": done.changed, **_pause_now(settings, registry)}
    _print(told, as_json=as_json)


@app.command(epilog='Example: plms killswitch off --reason "the cause is found"')
def off(reason: Reason, lane: Lane = None, project: Project = None, as_json: AsJson = False) -> None:
    """Things may start again in scope (without one: the flag file is taken down too); what was paused stays paused."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.portfolio.actions.switches import turn_off

    settings = load_settings()
    scope, subject = _scope(lane, project)
    with opened(settings) as registry:
        done = turn_off(
            registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=local_actor(), reason=reason, scope=scope,
            subject=subject,
        )  # fmt: skip
    lowered = scope == "global" and files.lower_flag(settings.data_dir)
    told = {
        "scope": scope,
        "subject": subject,
        "on": False,
        "changed": done.changed or lowered,
        "flag_lowered": lowered,
        "still_on": done.left,
    }
    _print(told, as_json=as_json)


@app.command(
    epilog="Example: plms killswitch status --json. Exit: 0 off, 1 on (also when the registry cannot be read)."
)
def status(as_json: AsJson = False) -> None:
    """What is stopped now, by whom, since when."""
    from plms_pipeline.portfolio.actions.switches import status as switch_status

    settings = load_settings()
    registry = Registry.open(settings.database_url, read_only=True)
    try:
        found = switch_status(registry, flag=lambda: files.flag_reason(settings.data_dir))
    finally:
        registry.close()
    told = found.as_json()
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo("ON" if found.is_on else "off")
        for text in filter(None, (found.flag and f"flag file: {found.flag}", found.unreadable)):
            typer.echo(text)
        for row in told["switches"]:
            where = f"{row['scope']} {row['subject']}".strip()
            typer.echo(f"{where}: {row['reason']} (by {row['by']} since {row['since'][:19]})")
    if found.is_on:
        raise typer.Exit(1)


@app.command(epilog='Example: plms killswitch resume --reason "provider answers again"')
def resume(reason: Reason, as_json: AsJson = False) -> None:
    """Let go on what a kill switch paused; what is still stopped stays paused."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.stopping import actions

    settings = load_settings()
    with opened(settings) as registry:
        done = actions.resume(
            registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=local_actor(), reason=reason
        )
        told = {"runs": done.runs, "cards": done.cards, **_tell_now(settings, registry)}
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{done.runs} runs and {done.cards} cards go on.")


def _scope(lane: int | None, project: int | None) -> tuple[str, str]:
    if lane is not None and project is not None:
        raise BadInput("Name a lane or a project, not both.", code="bad_scope")
    if lane is not None:
        return "lane", str(lane)
    return ("global", "") if project is None else ("project", str(project))


def _pause_now(settings: Settings, registry: Registry) -> dict[str, Any]:
    """Ask for the pauses and tell the executor; whoever else looks after the switch does what is left."""
    from plms_pipeline.runs.stopping import actions

    found = actions.look(registry, clock=SystemClock(), flag=files.flag_reason(settings.data_dir))
    return {"asked_to_pause": found.asked, **_tell_now(settings, registry)}


def _tell_now(settings: Settings, registry: Registry) -> dict[str, Any]:
    from plms_pipeline.pas.service import pas_client
    from plms_pipeline.runs.process import lease_holder
    from plms_pipeline.runs.stopping import actions

    taken = waiting = 0
    with suppress(PlmsError), pas_client(settings) as pas:
        taken, waiting = actions.tell(registry, clock=SystemClock(), pas=pas, holder=lease_holder())
    return {"executor_took": taken, "executor_owes": waiting}


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    where = f"{told['scope']} {told['subject']}".strip()
    typer.echo(f"{where}: {'ON' if told['on'] else 'off'}{'' if told['changed'] else ' (it was so already)'}")
    if told.get("flag_file"):
        typer.echo(f"The registry is away ({told['registry']}): the flag file {told['flag_file']} is up instead.")
    if told.get("asked_to_pause") or told.get("executor_took"):
        typer.echo(f"asked to pause: {told['asked_to_pause']}, the executor took {told['executor_took']}")
    if told["on"] is False:
        for one in told["still_on"]:
            stopped = f"{one['scope']} {one['subject']}".strip()
            typer.echo(f"{stopped} stays stopped ({one['reason']}): `{one['let_go']}` lets it go.")
        typer.echo("What was paused stays paused: `plms killswitch resume` lets it go on.")
