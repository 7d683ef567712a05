"""`plms retrain`: from a file of prices to a verdict about the model that was trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.actions.retraining import Data, Request, Retrained
    from plms_pipeline.models.market.findings import Finding
    from plms_pipeline.models.records import Candidate
    from plms_pipeline.models.training.experiment import Experiment
    from plms_pipeline.models.training.starting import Start

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="champion, or a candidate's id: start from its experiment (--train-config then changes keys of it) and, "
        "where they fit, its weights.",
    ),
]
retrain_app = typer.Typer(no_args_is_help=True)


@retrain_app.command(
    epilog="Examples: plms retrain --dataset data/samples/sp500_daily.csv.gz --min-sharpe 1.0 --max-drawdown 0.05; "
    'plms retrain --from champion --reason "a new quarter"'
)
def retrain(
    dataset: Annotated[
        Path | None,
        typer.Option(help="Prices: CSV, CSV.gz, Parquet, SQLite; default: what `plms import prices` imported."),
    ] = None,
    train_config: Annotated[
        Path | None, typer.Option(help="An experiment, YAML or JSON; default: ridge, walk-forward.")
    ] = None,
    start_from: From = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Keep run and snapshot there and register nothing; default: the data directory.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="Of a file without a symbol column; default: from its name.")
    ] = None,
    strict_validation: Annotated[
        bool, typer.Option("--strict-validation", help="Refuse data with any error (exit 1).")
    ] = False,
    trials: Annotated[
        int, typer.Option(min=1, help="Raises the count of trials on these data, which the registry keeps.")
    ] = 1,
    min_sharpe: Annotated[float | None, typer.Option(help="Alert below this Sharpe ratio (annualised).")] = None,
    max_drawdown: Annotated[float | None, typer.Option(help="Alert beyond this drawdown, a positive fraction.")] = None,
    max_gross_exposure: Annotated[float | None, typer.Option(help="Alert beyond this exposure, in capital.")] = None,
    max_turnover: Annotated[
        float | None, typer.Option(help="Alert beyond this turnover, in capital per moment.")
    ] = None,
    max_symbol_exposure: Annotated[float | None, typer.Option(help="Alert beyond this exposure to a symbol.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the manifest.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, check and say what would run; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a candidate, judge it on time it has not seen, and say what keeps it from being promoted.

    Exit 0: it was trained, whatever the gates say of it. 1: the data are not valid. 2: wrong use. 3: no bar can be used.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.models.actions.retraining import Request
    from plms_pipeline.models.dataset.files import current_path
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

    data_dir = load_settings().data_dir
    limits = OperationsThresholds(
        min_sharpe=min_sharpe, max_drawdown=max_drawdown, max_gross_exposure=max_gross_exposure, max_turnover=max_turnover,
        max_symbol_exposure=max_symbol_exposure,
    )  # fmt: skip
    chosen, start = _chosen(train_config, start_from)
    asked = Request(
        dataset or current_path(data_dir), chosen, strict=strict_validation,
        symbol=symbol, trials=trials, thresholds=limits, requested_by=local_actor().name, reason=reason,
        start=start,
    )  # fmt: skip
    if dry_run:
        _looked(asked, as_json=as_json)
        return
    done, candidate = _trained(asked, output_dir, as_json=as_json)
    _tell(done, candidate, as_json=as_json)


def _chosen(train_config: Path | None, wanted: str | None) -> tuple[Experiment, Start | None]:
    """The experiment, and the candidate of whose it is a branch."""
    from plms_pipeline.models.actions.starting import branch_of, start_from
    from plms_pipeline.models.decision.commands import opened
    from plms_pipeline.models.training.experiment import experiment
    from plms_pipeline.models.training.files import read_experiment

    if wanted is None:
        return (experiment({}) if train_config is None else read_experiment(train_config)), None
    settings = load_settings()
    with opened(settings) as registry:
        start = start_from(registry, wanted, root=settings.data_dir)
    return branch_of(start, train_config), start


def _tell(done: Retrained, candidate: Candidate | None, *, as_json: bool) -> None:
    if as_json:
        waits = None if candidate is None else candidate.as_json()
        typer.echo(json.dumps({**_as_json(done), "candidate": waits}))
        return
    _show(done)
    if candidate is None:
        typer.echo("It is no candidate: with --output-dir nothing is registered, and nobody is asked.")
    else:
        typer.echo(
            f"Candidate {candidate.candidate_id} waits until {candidate.expires_at:%Y-%m-%d}; recommended: "
            f"{candidate.action.replace('_', ' ')}; trial {candidate.trials} on these data"
        )


def _looked(asked: Request, *, as_json: bool) -> None:
    from plms_pipeline.errors import VerdictNo
    from plms_pipeline.models.actions.retraining import dataset, refuse_what_deceives
    from plms_pipeline.models.market.findings import errors
    from plms_pipeline.models.training.fit import planned

    data = dataset(asked)
    refuse_what_deceives(data.examination.bars, asked.experiment)
    planned(data.examination.bars, asked.experiment)
    if as_json:
        typer.echo(
            json.dumps({"dry_run": True, "stages": ["dataset", "training", "evaluation", "report"], **_data_json(data)})
        )
    else:
        _show_data(data)
        typer.echo("Would run: dataset, training, evaluation, report. Nothing was written.")
    wrong = errors(data.findings)
    if wrong:
        raise VerdictNo(f"{len(wrong)} checks of the data found errors; correct the data, or train without those rows.")


def _trained(asked: Request, output_dir: Path | None, *, as_json: bool) -> tuple[Retrained, Candidate | None]:
    from datetime import timedelta
    from importlib.metadata import version
    from uuid import uuid4

    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.intake.files.atomic import folder_named_by
    from plms_pipeline.models.actions.candidates import retrain_candidate
    from plms_pipeline.models.actions.retraining import retrain as train
    from plms_pipeline.models.decision.commands import opened

    settings = load_settings()
    clock, run_id = SystemClock(), str(uuid4())
    code = version("plms_pipeline") + (f"+{settings.git_commit}" if settings.git_commit else "")

    def told(stage: str, what: str) -> None:
        if not as_json:
            typer.echo(f"{stage}: {what}", err=True)

    if output_dir is not None:
        with folder_named_by("--output-dir", output_dir):
            return train(asked, root=output_dir, clock=clock, run_id=run_id, code_version=code, told=told), None
    # Opened first: who finds out after a long training that the registry is away has trained for nothing.
    with opened(settings) as registry:
        return retrain_candidate(
            registry, asked, root=settings.data_dir, clock=clock, run_id=run_id, code_version=code, actor=local_actor(),
            expiry=timedelta(days=settings.candidate_expiry_days), told=told,
        )  # fmt: skip


def _as_json(done: Retrained) -> dict[str, Any]:
    return {
        "run_id": done.run.manifest["run_id"], "path": str(done.run.path), "model_sha256": done.run.model_sha256,
        "manifest_sha256": done.run.manifest_sha256, **_data_json(done.data), "metrics": done.metrics,
        "operations_summary": done.summary, "verdict": done.verdict.as_document(),
    }  # fmt: skip


def _data_json(data: Data) -> dict[str, Any]:
    bars = data.examination.bars
    return {
        "data_sha": data.digest, "symbols": list(bars.symbols), "bars": int(bars.timestamp.size),
        "rejected_rows": data.rejected,
        "findings": [_finding_json(one) for one in data.findings],
    }  # fmt: skip


def _finding_json(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name, "severity": one.severity, "count": one.count, "offenders": list(one.offenders), "remedy": one.remedy,
    }  # fmt: skip


def _show_data(data: Data) -> None:
    bars = data.examination.bars
    typer.echo(
        f"{bars.timestamp.size} bars of {len(bars.symbols)} symbols, {data.rejected} rows taken out; content "
        f"{data.digest[:12]}…"
    )
    for one in data.findings:
        typer.echo(f"  {one.severity}: {one.sentence}")


def _show(done: Retrained) -> None:
    _show_data(done.data)
    risk, skill = done.summary["risk"], done.metrics
    typer.echo(
        f"Out of sample: information coefficient {_number(skill['information_coefficient'])}, Sharpe "
        f"{_number(risk['sharpe'])} a year after costs, total return {_number(risk['total_return'])}, drawdown "
        f"{_number(risk['max_drawdown'])}"
    )
    for gate in done.verdict.gates:
        typer.echo(f"  {'pass' if gate.passed else 'FAIL'}  {gate.name}" + (f": {gate.reason}" if gate.reason else ""))
    typer.echo(
        "Nothing keeps it from being put before a person."
        if done.verdict.passed
        else f"It is kept from being promoted by {len(done.verdict.blocking)} gates."
    )
    typer.echo(f"Run: {done.run.path}\nReport: {done.run.path / 'report.html'}")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
