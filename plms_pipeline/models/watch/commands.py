"""`plms monitor`: the newest returns against what was approved, from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.actions.monitoring import Files, Look
    from plms_pipeline.models.watch.judging import Rules

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Example: plms monitor. Of files: plms monitor reference.parquet live.parquet --window 512 --min-sharpe 0.75 "
    "--max-drawdown 0.08 --psi-alert 0.25 --output monitoring_snapshot.json"
)
def monitor(
    reference: Annotated[
        Path | None, typer.Argument(help="Returns that were approved; none: the champion's, on imported prices.")
    ] = None,
    live: Annotated[Path | None, typer.Argument(help="Fresh returns; CSV, Parquet, JSON.")] = None,
    return_col: Annotated[str, typer.Option(help="Column of the returns.")] = "realised_return",
    window: Annotated[int, typer.Option(min=1, help="How many of the newest count.")] = 512,
    drift_bins: Annotated[int | None, typer.Option(min=2, help="Cells of the grid; default: by the window.")] = None,
    min_returns: Annotated[int, typer.Option(min=1, help="Below so many nothing is judged.")] = 100,
    min_sharpe: Annotated[float | None, typer.Option(help="Alert below it (annualised).")] = None,
    max_drawdown: Annotated[float | None, typer.Option(help="Alert beyond it, a positive fraction.")] = None,
    min_tail_return: Annotated[float | None, typer.Option(help="Alert when the value at risk falls below it.")] = None,
    psi_alert: Annotated[float, typer.Option(help="Population stability index.")] = 0.2,
    js_alert: Annotated[float, typer.Option(help="Jensen-Shannon divergence.")] = 0.05,
    ks_alert: Annotated[float, typer.Option(help="Kolmogorov-Smirnov statistic.")] = 0.15,
    output: Annotated[Path | None, typer.Option(help="Write the snapshot there, too.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Fresh returns; goes before the second argument.")] = None,
    operations_summary: Annotated[Path | None, typer.Option(help="Its alerts and guardrails are added.")] = None,
    evaluation_dir: Annotated[Path | None, typer.Option(help="Folder of fresh predictions and their summary.")] = None,
    evaluation_predictions_name: Annotated[str, typer.Option(help="In that folder.")] = "predictions.parquet",
    evaluation_operations_name: Annotated[str, typer.Option(help="In that folder.")] = "operations_summary.json",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Record nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the newest returns with what was approved: drift and risk against limits, and what follows from it.

    Without files it looks at the champion for prices, on the bars that were imported since its training, and records the look;
    risk limits are those by which it was judged unless one is given.

    Exit 0: nothing is to be done, also while no bar came after the training. 1: an alert. 2: wrong use. 3: no champion, no
    prices, or a file without returns.
    """
    from plms_pipeline.models.evaluation.drift import DriftThresholds
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
    from plms_pipeline.models.watch.judging import Rules

    named = {"min_sharpe": min_sharpe, "max_drawdown": max_drawdown, "min_tail_return": min_tail_return}
    given = {name: limit for name, limit in named.items() if limit is not None}
    rules = Rules(
        window, drift_bins, min_returns, risk=OperationsThresholds(**given),
        drift=DriftThresholds(psi_alert, js_alert, ks_alert),
    )  # fmt: skip
    if reference is None:
        _refuse_files(live, predictions, operations_summary, evaluation_dir)
        found = _champion(rules, has_limits=bool(given), is_dry=dry_run)
    else:
        names = (evaluation_predictions_name, evaluation_operations_name)
        found = _compared(
            _files(reference, live, predictions, operations_summary, evaluation_dir, names, return_col), rules
        )
    if output is not None:
        _write(output, found)
    if as_json:
        typer.echo(json.dumps({**found.document, "codes": list(found.codes)}))
    else:
        _show(found)
    if found.codes:
        raise typer.Exit(1)


def _write(output: Path, found: Look) -> None:
    from plms_pipeline.instance.files.named import named_by
    from plms_pipeline.models.watch.files import write_snapshot

    with named_by("--output", output):
        write_snapshot(output, found.document)


def _refuse_files(*given: Path | None) -> None:
    from plms_pipeline.errors import BadInput

    if any(one is not None for one in given):
        raise BadInput("Name the reference first: plms monitor REFERENCE LIVE.", code="no_reference")


def _files(
    reference: Path, live: Path | None, predictions: Path | None, summary: Path | None, folder: Path | None,
    names: tuple[str, str], column: str,
) -> Files:  # fmt: skip
    from plms_pipeline.errors import BadInput
    from plms_pipeline.models.actions.monitoring import Files
    from plms_pipeline.models.watch.files import in_folder, is_there

    fresh = predictions or live
    if folder is not None:
        fresh = fresh or in_folder(folder, names[0])
        if summary is None and is_there(folder / names[1]):
            summary = folder / names[1]
    if fresh is None:
        raise BadInput(
            "What is live is missing: a second file, --predictions, or --evaluation-dir.", code="no_live_returns"
        )
    return Files(reference, fresh, summary, column)


def _compared(given: Files, rules: Rules) -> Look:
    from plms_pipeline.models.actions.monitoring import compare

    return compare(given, rules)


def _champion(rules: Rules, *, has_limits: bool, is_dry: bool) -> Look:
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.monitoring import look

    settings = load_settings()
    with opened(settings, read_only=is_dry) as registry:
        return look(
            registry,
            data_dir=settings.data_dir,
            clock=SystemClock(),
            rules=rules,
            own_limits=not has_limits,
            is_dry=is_dry,
        )


def _show(found: Look) -> None:
    document: dict[str, Any] = found.document
    risk, drift = document["risk"], document["drift"]
    if found.champion is not None:
        typer.echo(
            f"Champion {found.champion.candidate_id}, promotion {found.champion.sequence}: {found.rows} rows since its training"
        )
    typer.echo(
        f"{document['window_count']} returns: Sharpe {_number(risk['sharpe'])} a year, drawdown "
        f"{_number(risk['max_drawdown'])}, value at risk {_number(risk['value_at_risk'])}"
    )
    typer.echo(
        f"Drift: PSI {_number(drift['population_stability_index'])}, Jensen-Shannon {_number(drift['js_divergence'])}, "
        f"Kolmogorov-Smirnov {_number(drift['ks_statistic'])}"
    )
    for one in document["alerts"]:
        typer.echo(f"  ALERT {one['code']}: {one['message']}")
    if not document["judged"]:
        typer.echo("  Too few returns to judge; see --min-returns.")
    typer.echo(found.sentence)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
