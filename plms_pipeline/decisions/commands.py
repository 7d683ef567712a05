"""`plms decide`: what was decided, by whom and why, from a terminal.

Decisions are taken where their subject lives: `plms project approve`, `plms project lane-override`, `plms run override`.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

app = typer.Typer(help="What was decided, by whom and why.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def decide() -> None:
    """Decisions: append-only, with reason, actor and the digest of what was shown."""


@app.command("list", epilog="Example: plms decide list --subject project:42 --json")
def list_(
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as project_approval.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject, such as project:42 or lane:6100.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """Decisions, newest first."""
    from plms_pipeline.decisions.actions import decisions

    with opened(load_settings()) as registry:
        found = decisions(registry, kind=kind, subject=subject, limit=limit)
    if as_json:
        typer.echo(json.dumps({"decisions": [one.as_json() for one in found]}, ensure_ascii=False))
        return
    for one in found:
        # Two lines each: id, subject and reason are what people copy and read, and in a table they would be cut.
        who = one.actor if one.actor_verified else f"{one.actor} (unverified)"
        typer.echo(
            f"{one.decided_at:%Y-%m-%d %H:%M:%S}  {one.kind} {one.subject_type}:{one.subject_id}: {one.decision}"
        )
        typer.echo(f"  {one.decision_id}  by {who}: {one.reason[:300]}")


@app.command(epilog="Example: plms decide show 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json")
def show(decision_id: Annotated[str, typer.Argument(help="The decision's id.")], as_json: AsJson = False) -> None:
    """One decision, with everything that is kept of it."""
    from plms_pipeline.decisions.actions import decision_of

    with opened(load_settings()) as registry:
        found = decision_of(registry, decision_id)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    for name, value in found.as_json().items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        typer.echo(f"{name}: {'' if shown is None else shown}")
