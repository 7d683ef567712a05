"""`plms invariants`: prove the books from a terminal."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import NoData, VerdictNo
from plms_pipeline.settings import load_settings

app = typer.Typer(help="Prove the books.")

Database = Annotated[
    str | None,
    typer.Option("--db", help="URL or file of the registry to prove; the configured one when omitted. Only read."),
]
Full = Annotated[
    bool,
    typer.Option(
        "--full", help="Prove every row, trusting no index; otherwise what changed since the last clean night."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(epilog="Example: plms invariants --full --json")
def invariants(db: Database = None, full: Full = False, as_json: AsJson = False) -> None:
    """Check every invariant and name the rows that offend.

    Exit 0: all hold. 1: something is violated or could not be checked. 2: bad use. 3: the registry is empty, so nothing is
    proven. 4: the registry is away or not at head.
    """
    from plms_pipeline.invariants.actions.proving import open_registry, prove
    from plms_pipeline.invariants.report import to_json, told
    from plms_pipeline.registry.engine import sqlite_url

    settings = load_settings()
    url = settings.database_url if db is None else db if "://" in db else sqlite_url(db)
    registry = open_registry(url, is_named=db is not None)
    try:
        report = prove(registry, settings, SystemClock(), full=full)
    finally:
        registry.close()
    if as_json:
        typer.echo(json.dumps(to_json(report)))
    else:
        scope = "everything" if report.full else "every row, and what changed since the last clean night"
        typer.echo(f"{report.database} at {report.as_of:%Y-%m-%d %H:%M:%S} UTC: {scope}")
        typer.echo("\n".join(told(report)))
    if report.failed:
        names = ", ".join(result.invariant.name for result in report.failed)
        raise VerdictNo(
            f"{len(report.failed)} of {len(report.results)} invariants do not hold ({names}); the rows and the remedies are "
            "named above.",
            code="invariants_violated",
        )
    if report.is_empty:
        raise NoData(
            "The registry is empty, so nothing is proven; import receipts first (`plms import --help`).",
            code="nothing_to_prove",
        )
