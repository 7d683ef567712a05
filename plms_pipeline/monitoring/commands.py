"""`plms nightly` and `plms report`: the night from a terminal."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plms_pipeline.access.actors import local_actor
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import NoData, VerdictNo
from plms_pipeline.instance.files.home import prepare_instance
from plms_pipeline.monitoring import files, tables
from plms_pipeline.monitoring.night import night_of, parse_night
from plms_pipeline.monitoring.summary import NO_DATA, OK
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings

nightly_app = typer.Typer(add_completion=False)
report_app = typer.Typer(help="List and open nightly reports.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@nightly_app.command(epilog="Example: plms nightly --date 2026-03-01")
def nightly(
    date: Annotated[
        str | None,
        typer.Option("--date", help="The night of this date (YYYY-MM-DD, 02:00 in New York); now when left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the night: recalibrate, evaluate artifacts, prove the books, write the report.

    The night of a past date counts what had been completed by then and shows the priors as they follow from that. It appends
    no version to a prior that has a newer one; artifacts are measured and the books proven as they are now.

    Exit 0: the books are right. 1: an invariant is broken, another night is running, or the night failed. 2: bad use, or the
    reports folder cannot be written. 3: no receipt counts, so nothing is said. 4: the database is away or the disk full.
    """
    settings, clock = load_settings(), SystemClock()
    as_of = clock.now() if date is None else parse_night(date, now=clock.now(), first_day=settings.first_day)
    files.require_writable(settings.reports_dir)
    with _claimed(settings, clock):
        prepare_instance(settings)
        _run(as_of, Console(stderr=True, markup=False, emoji=False))
    stored = files.find_report(settings.reports_dir, night_of(as_of).isoformat())
    if stored.summary is None:
        raise NoData(f"The night ended but {stored.folder / files.SUMMARY} cannot be read; run `plms nightly` again.")
    if as_json:
        typer.echo(json.dumps(stored.summary, sort_keys=True))
    else:
        _print(stored.summary, stored.page)
    if stored.summary["verdict"] == NO_DATA:
        raise NoData(
            f"The night of {stored.night} rests on no receipts: none was completed by {as_of:%Y-%m-%d %H:%M} UTC. Import some "
            "first, such as `plms import swebench FILE` (`plms import --help`); the report says so too.",
            code="no_receipts",
        )
    if stored.summary["verdict"] != OK:
        raise VerdictNo(
            f"The night of {stored.night} is {stored.summary['verdict']}: `plms invariants` names every offender.",
            code="invariants_broken",
        )


@contextmanager
def _claimed(settings: Settings, clock: SystemClock) -> Iterator[None]:
    from plms_pipeline.monitoring.service import claimed_night

    with opened(settings) as registry, claimed_night(registry, clock):
        yield


def _run(as_of: datetime, console: Console) -> None:
    from plms_pipeline.monitoring.launcher.defs import run_night

    with console.status(f"Night of {night_of(as_of)}: starting") as status:

        def progress(step: str, state: str, seconds: float | None) -> None:
            if state == "start":
                status.update(f"Night of {night_of(as_of)}: {step}")
            else:
                mark = ("✓", "green") if state == "done" else ("✗", "red")
                console.print(Text.assemble(mark, f" {step} {seconds or 0:.1f} s"))

        run_night(as_of=as_of, actor=local_actor().name, progress=progress)


def _print(summary: dict[str, Any], page: object) -> None:
    console = Console(markup=False, emoji=False)
    for title, columns, rows in tables.all_tables(summary):
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    verdict = summary["verdict"]
    colour = {OK: "green", NO_DATA: "yellow"}.get(verdict, "red")
    late = ", run later: KPI gates and invariants are as of now" if summary.get("ran_late") else ""
    console.print(Text.assemble((f"Night of {summary['date']}: ", "bold"), (verdict, f"bold {colour}"), late))
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


@report_app.command("open", epilog="Example: plms report open (the newest; `plms report list` names the dates)")
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
