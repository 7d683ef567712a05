"""`plms doctor` and `plms settings`: is this installation fit, and what is it set to?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, VerdictNo
from plms_pipeline.monitoring.doctor.checks import Level, Line, is_healthy
from plms_pipeline.monitoring.doctor.settings_page import setting_rows, settings_markdown
from plms_pipeline.settings import load_settings

app = typer.Typer(add_completion=False)
settings_app = typer.Typer(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@app.command(epilog="Example: plms doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Check Python, lock, database, Dagster home, last night, disk, clock and rights; exit 1 when a line fails."""
    from plms_pipeline.monitoring.doctor.actions import examine
    from plms_pipeline.monitoring.doctor.process import dagster_problem

    lines = examine(load_settings(), SystemClock(), dagster_problem)
    if as_json:
        typer.echo(json.dumps({"healthy": is_healthy(lines), "lines": [asdict(line) for line in lines]}))
    else:
        _print(lines)
    failed = [line.name for line in lines if line.level is Level.FAIL]
    if failed:
        raise VerdictNo(
            f"{len(failed)} of {len(lines)} lines fail ({', '.join(failed)}); each names its remedy.", code="unhealthy"
        )


def _print(lines: list[Line]) -> None:
    console = Console(markup=False, emoji=False)
    for line in lines:
        text = Text.assemble((f"{line.level:<5}", COLOURS[line.level]), f"{line.name:<20} {line.detail}")
        console.print(text, soft_wrap=True)
        if line.remedy:
            console.print(Text(f"{'':25} → {line.remedy}"), soft_wrap=True)


@settings_app.command(epilog="Example: plms settings --json")
def settings(
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md, which does not depend on this machine.")
    ] = False,
) -> None:
    """Print every setting with its value, where it comes from, its unit and default; secrets are masked."""
    if as_json and markdown:
        raise BadInput("--json and --markdown are two forms of one answer; give one of them.", code="bad_usage")
    if markdown:
        typer.echo(settings_markdown(), nl=False)
        return
    rows = setting_rows(load_settings())
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
        return
    console = Console(markup=False, emoji=False)
    for row in rows:
        facts = f"  ({row.unit}; from {row.source}; default: {row.default or 'none'})"
        console.print(Text.assemble((row.variable, "bold"), f" = {row.value or '-'}", (facts, "dim")), soft_wrap=True)
        console.print(Text(f"    {row.description}"), soft_wrap=True)
