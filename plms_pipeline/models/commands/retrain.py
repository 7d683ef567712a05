"""`plms retrain`: from a file of prices to a verdict about the model that was trained on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from plms_pipeline.models.commands.evaluating import evaluate_again, evaluation_of, written
from plms_pipeline.models.commands.options import Options, with_options
from plms_pipeline.models.commands.telling import tell, tell_dry, tell_json
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.actions.request import Request
    from plms_pipeline.models.actions.retraining import Retrained
    from plms_pipeline.models.records import Candidate
    from plms_pipeline.models.training.experiment import Experiment
    from plms_pipeline.models.training.starting import Start

app = typer.Typer(no_args_is_help=True)


@app.command(
    epilog="Examples: plms retrain --dataset data/samples/sp500_daily.csv.gz --min-sharpe 1.0 --max-drawdown 0.05; "
    'plms retrain --from champion --reason "a new quarter"; plms retrain --pretrain-config longer.yaml '
    "--run-reinforcement --regenerate-regimes; plms retrain --skip-training --run-evaluation --eval-checkpoint champion "
    "--eval-max-drawdown 0.1. Every option of the source: docs/retrain.md"
)
@with_options
def retrain(given: Options) -> None:
    """Train a candidate, judge it on time it has not seen, and say what keeps it from being promoted.

    Exit 0: it was trained, whatever the gates say of it. 1: the data are not valid. 2: wrong use. 3: no bar can be used.
    """
    from plms_pipeline.models.actions.reevaluating import refuse_beforehand
    from plms_pipeline.models.training.flags import evaluates_again, refuse_nonsense

    refuse_nonsense(given.given)
    if given.skip_training:
        evaluate_again(given)
        return
    asked = _asked(given)
    root = given.output_dir or load_settings().data_dir
    # What is wrong with it is told before an hour of training.
    again = evaluation_of(given, root, root=root) if evaluates_again(given.given) else None
    if again is not None:
        refuse_beforehand(again, asked.experiment)
    if given.dry_run:
        _looked(asked, as_json=given.as_json)
        return
    done, candidate = _trained(asked, given.output_dir, as_json=given.as_json)
    if not given.as_json:
        tell(done, candidate)
    told = None if again is None else written(replace(again, run=done.run.path), given)
    if given.as_json:
        tell_json(done, candidate, told)


def _asked(given: Options) -> Request:
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.models.actions.request import Request
    from plms_pipeline.models.dataset.files import current_path
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

    chosen, start = _chosen(given.train_config, given.start_from)
    pretraining = None if given.skip_pretraining else given.pretrain_config
    return Request(
        given.dataset or current_path(load_settings().data_dir),
        chosen,
        strict=False if given.no_validation else given.strict_validation or None,
        symbol=given.symbol,
        trials=given.trials,
        thresholds=OperationsThresholds(**given.limits()),
        requested_by=local_actor().name,
        reason=given.reason,
        start=start,
        pretraining=None if pretraining is None else _branch(chosen, pretraining),
        challenger=_challenger(chosen, given.reinforcement_config) if given.run_reinforcement else None,
        warm_start=given.warm_start.value,
        has_regimes=given.regenerate_regimes,
    )


def _branch(training: Experiment, file: Path) -> Experiment:
    from plms_pipeline.models.files.written import read_document
    from plms_pipeline.models.training.experiment import branch

    return branch(training, read_document(file), str(file))


def _challenger(training: Experiment, file: Path | None) -> Experiment:
    from plms_pipeline.models.training.successive import preset_challenger

    return preset_challenger(training) if file is None else _branch(training, file)


def _chosen(train_config: Path | None, wanted: str | None) -> tuple[Experiment, Start | None]:
    """The experiment, and the candidate of whose it is a branch."""
    from plms_pipeline.models.actions.starting import branch_of, start_from
    from plms_pipeline.models.training.experiment import experiment
    from plms_pipeline.models.training.files import read_experiment
    from plms_pipeline.registry.opening import opened

    if wanted is None:
        return (experiment({}) if train_config is None else read_experiment(train_config)), None
    settings = load_settings()
    with opened(settings) as registry:
        start = start_from(registry, wanted, root=settings.data_dir)
    return branch_of(start, train_config), start


def _looked(asked: Request, *, as_json: bool) -> None:
    from plms_pipeline.errors import VerdictNo
    from plms_pipeline.models.actions.retraining import dataset, refuse_what_deceives
    from plms_pipeline.models.market.findings import errors
    from plms_pipeline.models.training.fit import planned

    data = dataset(asked)
    for one in asked.experiments:
        refuse_what_deceives(data.examination.bars, one)
        planned(data.examination.bars, one)
    tell_dry(asked, data, as_json=as_json)
    wrong = errors(data.findings)
    if wrong:
        raise VerdictNo(f"{len(wrong)} checks of the data found errors; correct the data, or train without those rows.")


def _trained(asked: Request, output_dir: Path | None, *, as_json: bool) -> tuple[Retrained, Candidate | None]:
    from datetime import timedelta
    from importlib.metadata import version
    from uuid import uuid4

    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.instance.files.named import folder_named_by
    from plms_pipeline.models.actions.candidates import retrain_candidate
    from plms_pipeline.models.actions.retraining import retrain as train
    from plms_pipeline.registry.opening import opened

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
