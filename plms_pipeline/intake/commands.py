"""`plms import`: bring receipts into the books, from a terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from plms_pipeline.errors import BadInput

if TYPE_CHECKING:
    from plms_pipeline.intake.actions.importing import ImportResult, Prepared

HELP = """Bring receipts into the books.

A known key with equal values is unchanged, with other values it is refused as a conflict; what is refused is listed, with line,
column and reason, in a file under $PLMS_DATA_DIR/quarantine/. Import a file again whenever in doubt: nothing counts twice."""
EXIT = "Exit: 0 some row is valid, 1 with --strict when some row is not, 2 no valid row (nothing was written)."

app = typer.Typer(help=HELP, no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="CSV, CSV.gz, Parquet or JSON lines.", show_default=False)]
Map = Annotated[list[str] | None, typer.Option("--map", help="column=field: read the field from another column.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="field=value: the same value for every row.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 if any row is refused; the others still land.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen and write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(epilog=f"Example: plms import swebench data/samples/swebench_agent_runs.csv.gz. {EXIT}")
def swebench(
    files: Files, maps: Map = None, sets: Set = None, strict: Strict = False, dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """SWE-bench agent runs: run_date, model, repo_owner, instance_id, cost_usd, api_calls, resolved."""
    _run("swebench", files, maps, sets, strict=strict, dry_run=dry_run, as_json=as_json)


@app.command(epilog=f"Example: plms import metr data/samples/metr_agent_runs.csv.gz. {EXIT}")
def metr(
    files: Files, maps: Map = None, sets: Set = None, strict: Strict = False, dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """METR agent runs: run_id, task_id, task_family, model, started_at, completed_at, score_binarized, fatal_error_from."""
    _run("metr", files, maps, sets, strict=strict, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="Example: plms import receipts data/samples/swebench_agent_runs.csv.gz --map model=run_id --map instance_id=task_id "
    "--map run_date=completed_at --set lane=4200 --set provider=unknown --set status=SUCCESS --dry-run. "
    f"A log of your own: spend.csv --mapping litellm --set lane=4200. {EXIT}"
)
def receipts(
    files: Files,
    maps: Map = None,
    sets: Set = None,
    mapping: Annotated[
        str | None, typer.Option(help="A log we know: litellm (spend logs) or otel-genai (OpenTelemetry GenAI spans).")
    ] = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Receipts under the project's own column names (`plms import columns`), or a log that a mapping knows."""
    from plms_pipeline.intake.sources import MAPPINGS

    if mapping is not None and mapping not in MAPPINGS:
        raise BadInput(f"--mapping {mapping}: there is no such mapping; known: {', '.join(MAPPINGS)}.")
    _run(mapping or "receipts", files, maps, sets, strict=strict, dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: plms import columns --json")
def columns(as_json: AsJson = False) -> None:
    """The columns of a receipt file: required or not, unit, meaning."""
    from plms_pipeline.intake.canonical import FIELDS

    if as_json:
        rows = [
            {
                "name": f.name,
                "kind": f.kind,
                "required": f.required,
                "unit": f.unit,
                "default": f.default,
                "meaning": f.meaning,
            }
            for f in FIELDS
        ]
        typer.echo(json.dumps(rows))
        return
    table = Table("column", "required", "unit", "meaning")
    for field in FIELDS:
        table.add_row(field.name, "yes" if field.required else field.default, field.unit, field.meaning)
    Console(markup=False, emoji=False).print(table)


def _run(
    name: str,
    files: list[Path],
    maps: list[str] | None,
    sets: list[str] | None,
    *,
    strict: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Prepare all files before the first is imported, so that a wrong one is found while nothing is written."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.intake.actions.importing import import_file, prepare
    from plms_pipeline.intake.mapping import parse_pairs
    from plms_pipeline.intake.sources import SOURCES
    from plms_pipeline.registry.opening import opened
    from plms_pipeline.settings import load_settings

    settings = load_settings()
    renames, constants = parse_pairs("--map", maps or ()), parse_pairs("--set", sets or ())
    prepared = [prepare(path, SOURCES[name], renames=renames, constants=constants) for path in files]
    results: list[ImportResult] = []
    with opened(settings) as registry:
        for one in prepared:
            with _progress(one, is_shown=not as_json and sys.stderr.isatty()) as advance:
                results.append(
                    import_file(
                        registry, one, settings=settings, clock=SystemClock(), actor=local_actor(),
                        dry_run=dry_run, progress=advance,
                    )
                )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(summary(results, dry_run=dry_run)))
    else:
        _print(results, dry_run=dry_run)
    if strict and any(result.n_quarantined for result in results):
        raise typer.Exit(1)


@contextmanager
def _progress(prepared: Prepared, *, is_shown: bool) -> Iterator[Any]:
    if not is_shown:
        yield None
        return
    shown = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*shown, console=Console(stderr=True, markup=False, emoji=False), transient=True) as bar:
        # Line ends tell how many rows to expect, of text only.
        total = None if prepared.inspected.kind == "parquet" else max(prepared.inspected.lines - 1, 1)
        task = bar.add_task(prepared.inspected.thing, total=total)
        yield lambda rows: bar.advance(task, rows)


def summary(results: list[ImportResult], *, dry_run: bool) -> dict[str, Any]:
    """What `--json` prints: one object per file and the totals."""
    files = [
        {
            "file": r.file, "source": r.source, "file_sha256": r.file_sha256, "rows": r.rows, "inserted": r.inserted,
            "unchanged": r.unchanged, "quarantined": r.n_quarantined, "conflicts": r.conflicts,
            "reasons": dict(sorted(r.quarantined.items())), "days": len(r.days),
            "quarantine": str(r.quarantine) if r.quarantine and not dry_run else None,
            "ignored_columns": list(r.ignored_columns),
        }
        for r in results
    ]  # fmt: skip
    totals = {
        "rows": sum(r.rows for r in results), "inserted": sum(r.inserted for r in results),
        "unchanged": sum(r.unchanged for r in results), "quarantined": sum(r.n_quarantined for r in results),
        "conflicts": sum(r.conflicts for r in results),
    }  # fmt: skip
    return {"dry_run": dry_run, "files": files, **totals}


def _print(results: list[ImportResult], *, dry_run: bool) -> None:
    console = Console(markup=False, emoji=False)
    table = Table("file", "rows", "inserted", "unchanged", "quarantined", "days", title="Dry run" if dry_run else None)
    for column in table.columns[1:]:
        column.justify = "right"
    reasons: Counter[str] = Counter()
    for r in results:
        cells = (r.rows, r.inserted, r.unchanged, r.n_quarantined, len(r.days))
        table.add_row(Text(r.file, overflow="fold"), *(f"{cell:,}" for cell in cells))
        reasons.update(r.quarantined)
    console.print(table)
    for reason, count in sorted(reasons.items()):
        console.print(f"  {count:,} × {reason}", highlight=False)
    for r in results:
        if r.quarantine is not None and not dry_run:
            console.print(f"Refused rows: {r.quarantine}", highlight=False, soft_wrap=True, markup=False)
        if r.ignored_columns:
            console.print(f"Columns not read: {', '.join(r.ignored_columns)}", highlight=False, markup=False)
