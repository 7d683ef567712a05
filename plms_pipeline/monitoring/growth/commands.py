"""`plms purge`: make room, from a terminal."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Annotated

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.instance.files.home import dagster_state_dir, prepare_instance
from plms_pipeline.monitoring.growth import files
from plms_pipeline.monitoring.growth.ages import KINDS, Outcome
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: plms purge --dry-run")
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove what is older than PLMS_PURGE_* say: runs and ticks of Dagster with their files, quarantine, half-written files.

    Never receipts, decisions, ledger or audit, nor the run that last materialized anything. Safe beside a running daemon, and
    to repeat; the job `purge` does the same every Sunday.

    Exit 0: done. 4: the registry is away.
    """
    from plms_pipeline.monitoring.growth.actions import purge as run

    settings = load_settings()
    with opened(settings, read_only=True) as registry, ExitStack() as stack:
        history = None
        if files.has_history(dagster_state_dir(settings)):
            from plms_pipeline.monitoring.growth.defs.history import opened_history

            prepare_instance(settings)
            history = stack.enter_context(opened_history())
        outcome = run(registry, settings, clock=SystemClock(), history=history, is_dry=dry_run)
    if as_json:
        typer.echo(json.dumps(_to_json(outcome)))
    else:
        _print(outcome)


def _to_json(outcome: Outcome) -> dict[str, object]:
    return {
        "dry_run": outcome.is_dry,
        "bytes": outcome.size,
        "has_more": outcome.has_more,
        "failed": outcome.failed,
        "kinds": {each.kind: {"n": each.n, "bytes": each.size} for each in outcome.purged},
    }


def _print(outcome: Outcome) -> None:
    for each in outcome.purged:
        size = "in the database" if each.size is None else f"{each.size:,} bytes"
        typer.echo(f"{each.n:>8}  {size:>20}  {KINDS[each.kind]}")
    typer.echo(
        f"{outcome.size:,} bytes {'would go' if outcome.is_dry else 'went'}; space inside of databases is used again."
    )
    if outcome.has_more:
        typer.echo("There is more: run it again.")
    if outcome.failed:
        typer.echo(f"{outcome.failed} would not go and stay for the next time; the log says why.")
