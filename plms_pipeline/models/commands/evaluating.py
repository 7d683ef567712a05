"""What `plms retrain` does with a run that is there, or was just made: evaluate it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plms_pipeline.models.commands.options import Options
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.actions.reevaluating import Evaluated, Evaluation, Outputs


def evaluate_again(given: Options) -> None:
    """Evaluate the run that --eval-checkpoint names, and tell it."""
    from plms_pipeline.models.actions.reevaluating import evaluate

    run, manifest = _run(given.eval_checkpoint or "")
    asked = evaluation_of(given, run, root=load_settings().data_dir, manifest_sha256=manifest)
    stages = [*(["dataset"] if asked.dataset else []), "evaluation", "report"]
    if given.dry_run:
        done = evaluate(asked)
        if given.as_json:
            typer.echo(json.dumps({"dry_run": True, "stages": stages, **done.as_document()}))
        else:
            show(done)
            typer.echo(f"Would run: {', '.join(stages)}. Nothing was written.")
        return
    told = written(asked, given)
    if given.as_json:
        typer.echo(json.dumps({"stages": stages, **told}))


def evaluation_of(given: Options, run: Path, *, root: Path, manifest_sha256: str | None = None) -> Evaluation:
    """What is to be evaluated; the prices of a training are not its: they have taught the model."""
    from plms_pipeline.models.actions.reevaluating import RETURNS, Evaluation
    from plms_pipeline.models.evaluation.books import Columns
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
    from plms_pipeline.models.files.written import read_document

    return Evaluation(
        run,
        _outputs(given, root),
        manifest_sha256,
        dataset=given.dataset if given.skip_training else None,
        symbol=given.symbol,
        is_strict=given.strict_validation,
        changes={} if given.eval_config is None else read_document(given.eval_config),
        thresholds=OperationsThresholds(**given.limits()),
        return_column=given.eval_return_col or RETURNS,
        benchmark_column=given.eval_benchmark_col,
        trades=given.eval_trades,
        columns=Columns(
            timestamp=given.eval_trade_timestamp_col,
            symbol=given.eval_trade_symbol_col,
            notional=given.eval_trade_notional_col,
            position=given.eval_trade_position_col,
            price=given.eval_trade_price_col,
            returns=given.eval_trade_return_col,
        ),
        capital_base=given.eval_capital_base,
        tail_percentile=given.eval_tail_percentile,
    )


def _outputs(given: Options, root: Path) -> Outputs:
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.reevaluating import EVALUATIONS, Outputs

    folder = given.eval_output or root / EVALUATIONS / f"{SystemClock().now():%Y%m%d-%H%M%S-%f}"
    names = {"predictions": given.eval_predictions, "metrics": given.eval_metrics, "operations": given.eval_operations}
    return Outputs(folder, **{name: path for name, path in names.items() if path is not None})


def _run(wanted: str) -> tuple[Path, str | None]:
    """The run that somebody names, and what the registry says of its manifest, if it was asked."""
    from plms_pipeline.models.actions.starting import candidate_named
    from plms_pipeline.registry.opening import opened

    if Path(wanted).exists() or "/" in wanted or "\\" in wanted:
        return Path(wanted), None
    settings = load_settings()
    with opened(settings) as registry:
        found = candidate_named(registry, wanted)
    return settings.data_dir / found.folder, found.bytes.manifest


def written(asked: Evaluation, given: Options) -> dict[str, Any]:
    """Evaluate, write, tell a person who does not want JSON; what a program is told."""
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.instance.files.named import folder_named_by
    from plms_pipeline.models.actions.reevaluating import evaluate, write

    done = evaluate(asked)
    with folder_named_by("--eval-output", asked.outputs.folder):
        folder, page = write(done, clock=SystemClock())
    if not given.as_json:
        show(done)
        typer.echo(f"Evaluation: {folder}\nReport: {page}")
    return {"path": str(folder), **done.as_document()}


def show(done: Evaluated) -> None:
    """The headline figures and the broken limits."""
    risk, returns = done.summary["risk"], done.summary["returns"]
    figures = ", ".join(
        f"{words} {'unknown' if risk[name] is None else format(risk[name], '.4f')}"
        for name, words in (("sharpe", "Sharpe"), ("total_return", "total return"), ("max_drawdown", "drawdown"))
    )
    typer.echo(f"{done.run.path}: {len(done.frame)} predictions, {returns['first'][:10]} to {returns['last'][:10]}")
    typer.echo(f"By {returns['column']}: {figures}")
    for alert in done.summary["alerts"]:
        typer.echo(f"  ALERT {alert['code']}: {alert['message']}")
    if not done.summary["alerts"]:
        typer.echo("  No limit is broken.")
