"""`plms nightly` and `plms report`: the night from a terminal."""

from __future__ import annotations

import json
import sys
import webbrowser
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.access.actors import local_actor
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import NoData, VerdictNo
from plms_pipeline.instance.files import prepare_instance
from plms_pipeline.monitoring import files, tables
from plms_pipeline.monitoring.night import night_of, parse_night
from plms_pipeline.monitoring.summary import OK
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import require_head
from plms_pipeline.settings import Settings, load_settings

nightly_app = typer.Typer(add_completion=False)
report_app = typer.Typer(help="List and open nightly reports.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@nightly_app.command(epilog="Example: plms nightly --date 2026-03-01")
def nightly(
    date: Annotated[
        str | None, typer.Option("--date", help="The night of this date (YYYY-MM-DD); now when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the night: recalibrate, evaluate artifacts, prove the books, write the report. Exit 1 when an invariant is broken."""
    settings, clock = load_settings(), SystemClock()
    as_of = parse_night(date, now=clock.now()) if date else clock.now()
    _may_start(settings, clock)
    prepare_instance(settings)
    console = Console(stderr=True)
    _run(as_of, console)
    stored = files.find_report(settings.reports_dir, night_of(as_of).isoformat())
    if stored.summary is None:
        raise NoData(f"The night ended but {stored.folder / files.SUMMARY} cannot be read; run `plms nightly` again.")
    if as_json:
        typer.echo(json.dumps(stored.summary, sort_keys=True))
    else:
        _print(stored.summary, stored.page)
    if stored.summary["verdict"] != OK:
        raise VerdictNo(
            f"The night of {stored.night} is {stored.summary['verdict']}: `plms invariants` names every offender.",
            code="invariants_broken",
        )


def _may_start(settings: Settings, clock: SystemClock) -> None:
    from plms_pipeline.monitoring.service import refuse_if_held

    registry = Registry.open(settings.database_url)
    try:
        require_head(registry)
        refuse_if_held(registry, clock)
    finally:
        registry.close()


def _run(as_of: datetime, console: Console) -> None:
    from plms_pipeline.monitoring.launcher.defs import run_night

    with console.status(f"Night of {night_of(as_of)}: starting") as status:

        def progress(step: str, state: str, seconds: float | None) -> None:
            if state == "start":
                status.update(f"Night of {night_of(as_of)}: {step}")
            else:
                mark = "[green]✓[/green]" if state == "done" else "[red]✗[/red]"
                console.print(f"{mark} {step} {seconds or 0:.1f} s", highlight=False)

        run_night(as_of=as_of, actor=local_actor().name, progress=progress)


def _print(summary: dict[str, Any], page: object) -> None:
    console = Console()
    for title, columns, rows in tables.all_tables(summary):
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    verdict = summary["verdict"]
    console.print(f"[bold]Night of {summary['date']}: [{'green' if verdict == OK else 'red'}]{verdict}[/][/bold]")
    console.print(f"Report: {page}", soft_wrap=True)


@report_app.command("list", epilog="Example: plms report list --json")
def list_reports(as_json: AsJson = False) -> None:
    """The nightly reports that lie in the reports folder, the newest first."""
    found = files.stored_reports(load_settings().reports_dir)
    rows = [
        {
            "date": report.night.isoformat(),
            "verdict": report.summary["verdict"] if report.summary else "unreadable",
            "page": str(report.page),
        }
        for report in found
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    elif not rows:
        raise NoData("There is no nightly report yet; `plms nightly` writes one.")
    else:
        for row in rows:
            typer.echo(f"{row['date']}  {row['verdict']:<10}  {row['page']}")


@report_app.command("open", epilog="Example: plms report open 2026-03-01")
def open_report(
    date: Annotated[str | None, typer.Argument(help="YYYY-MM-DD; the newest when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open a report in the browser (where there is one) and print its path; with --json only say where it lies."""
    report = files.find_report(load_settings().reports_dir, date)
    if as_json:
        typer.echo(json.dumps({"date": report.night.isoformat(), "page": str(report.page)}))
        return
    if sys.stdout.isatty():
        webbrowser.open(report.page.as_uri())
    typer.echo(str(report.page))
