"""`plms report-model`: what a person reads about an evaluation, from files that are there."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


class Form(StrEnum):
    """Forms of a report."""

    AUTO = "auto"
    MARKDOWN = "markdown"
    HTML = "html"


class Kind(StrEnum):
    """What return columns hold."""

    SIMPLE = "simple"
    LOG = "log"


@app.command(
    epilog="Example: plms report-model --predictions data/automation_runs/20260301-120000/evaluation/predictions.parquet "
    "--operations-summary data/automation_runs/20260301-120000/evaluation/operations_summary.json --output report.html"
)
def report_model(
    predictions: Annotated[Path, typer.Option(help="Rows with returns: CSV, Parquet, JSON or JSON lines.")],
    output: Annotated[Path, typer.Option(help="The report: .html a page, anything else Markdown.")],
    metrics: Annotated[
        Path | None, typer.Option(help="Figures (metrics.json, operations_summary.json) that stand in place of ours.")
    ] = None,
    operations_summary: Annotated[
        Path | None, typer.Option(help="Its alerts are shown, and its columns and periods are taken.")
    ] = None,
    gates: Annotated[Path | None, typer.Option(help="The gates.json of a run.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="The manifest.json of a run.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="What `plms annotate export` wrote.")] = None,
    milestones: Annotated[
        Path | None, typer.Option(help="JSON or YAML: a list of texts, or of name, status, note.")
    ] = None,
    return_column: Annotated[str | None, typer.Option(help="Default: realised_return.")] = None,
    benchmark_column: Annotated[str | None, typer.Option(help="Returns of what it is compared with.")] = None,
    timestamp_column: Annotated[str | None, typer.Option(help="Default: timestamp, window_end, …")] = None,
    returns: Annotated[Kind | None, typer.Option(help="What the columns hold; default: simple.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the report.")] = None,
    description: Annotated[str | None, typer.Option(help="Under the title.")] = None,
    periods_per_year: Annotated[
        float | None, typer.Option(help="By which figures are annualised; default: 252.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="auto: by the name of the output.")] = Form.AUTO,
    no_equity: Annotated[bool, typer.Option("--no-equity", help="Without the equity curve.")] = False,
    no_distribution: Annotated[bool, typer.Option("--no-distribution", help="Without the distribution.")] = False,
    charts_dir_name: Annotated[str | None, typer.Option(help="Folder of pictures; default: NAME_assets.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the report on an evaluation: what it earned, at what risk, how sure that is, and what speaks against it.

    A page holds its pictures; Markdown has them in a folder beside it.

    Exit 0: written. 2: wrong use, or no such file. 3: no rows.
    """
    from plms_pipeline.instance.files.named import named_by
    from plms_pipeline.models.reporting.actions import Sources, report_model
    from plms_pipeline.models.reporting.composing import DESCRIPTION, TITLE, Asked

    asked = Asked(
        title or TITLE, description or DESCRIPTION, has_equity=not no_equity, has_distribution=not no_distribution
    )
    chosen = {
        "returns": return_column, "benchmark": benchmark_column, "timestamp": timestamp_column,
        "kind": None if returns is None else returns.value, "periods_per_year": periods_per_year,
    }  # fmt: skip
    sources = Sources(predictions, metrics, operations_summary, gates, manifest, milestones, annotations)
    with named_by("--output", output):
        done = report_model(sources, output, asked, form=form.value, assets=charts_dir_name, columns=chosen)
    if as_json:
        told = {
            "path": str(done.path), "format": done.form, "verdict": done.report.verdict.text,
            "sections": [one.title for one in done.report.sections], "pictures": [str(one) for one in done.pictures],
        }  # fmt: skip
        typer.echo(json.dumps(told))
        return
    typer.echo(done.report.verdict.text)
    typer.echo(f"Report: {done.path}")
