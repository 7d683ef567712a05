"""Training from the Launchpad: one run reads, trains, judges, reports and recommends, and tells every asset as it goes.

The candidate is named after the run that trained it; a retry of that run is the same candidate, so nothing is trained twice.
Training spends no money and reaches nobody outside, so the kill switch does not hold it back.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from plms_pipeline.letters.defs.jobs import root_of
from plms_pipeline.models.defs.asking import DataConfig, ExperimentConfig
from plms_pipeline.models.defs.telling import CANDIDATES, events, metadata
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

if TYPE_CHECKING:
    from plms_pipeline.models.actions.request import Request
    from plms_pipeline.models.records import Candidate
    from plms_pipeline.models.stages.stage import Stage

JOB = "retrain_models"
DATA_TAG = "plms/data_hash"
MAX_RUNTIME_S = 3600
Events = Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]


class RetrainConfig(DataConfig, ExperimentConfig):
    """What is to be trained; everything may be left as it is."""

    start_from: str = Field(
        "",
        description="champion, or the id of a candidate: its experiment instead of the preset (experiment_file then changes "
        "keys of it), and where they fit its weights. Empty: from nothing.",
    )
    strict_validation: bool = Field(False, description="Refuse data about which anything at all was found.")
    trials: int = Field(
        1,
        description="How many candidates were tried on these data at least, this one included: the luck of the best is taken "
        "off. Those that the registry knows are counted anyway.",
        ge=1,
    )
    min_sharpe: float | None = Field(None, description="Alert below this Sharpe ratio (annualised); empty: no limit.")
    max_drawdown: float | None = Field(
        None, description="Alert beyond this drawdown, a positive fraction; empty: no limit."
    )
    reason: str = Field("", description="Why; kept in the manifest and the registry.")
    cold_if_lost: bool = Field(
        False,
        description="If the files of start_from are gone or were changed: train the preset from nothing, and say so in the "
        "reason, instead of failing. Sensors ask so.",
    )
    only_if_changed: bool = Field(False, description="Train only if the data are not those of the last training.")
    dry_run: bool = Field(False, description="Read, check and tell the data; train nothing.")


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Read, check and keep the prices; train walk-forward; judge; write the report; recommend. The metadata says "
    "what a person has to decide, and how.",
)  # fmt: skip
def train_and_judge(context: dg.OpExecutionContext, config: RetrainConfig, plms: Plms) -> Events:
    """Tell each stage when it is over."""
    from plms_pipeline.models.actions.stages import data_stages, feature_stage
    from plms_pipeline.models.actions.training import is_trained

    data_dir = plms.settings().data_dir
    with no_retry_for_permanent_errors():
        asked = _asked(context, config, plms)
        data, bars, kept = data_stages(asked, root=data_dir, as_of=plms.clock().now())
        features = feature_stage(data_dir, data.digest, asked.experiment)
        for stage in (bars, kept, features):
            yield from events(stage)
        if config.dry_run or (config.only_if_changed and is_trained(plms.registry(), data.digest)):
            why = "dry_run" if config.dry_run else "the data are those of the last training"
            context.log.info(f"nothing_trained reason={why}")
            yield dg.Output(None, metadata={"trained": False, "why": why, **metadata(bars)})
            return
        found = _candidate(context, asked, plms)
        context.instance.add_dynamic_partitions(str(CANDIDATES.name), [found.candidate_id])
        told = _told(found, plms)
        for stage in told:
            yield from events(stage, found.candidate_id)
    yield dg.Output(None, metadata={"trained": True, **metadata(told[-1])})


def _asked(context: dg.OpExecutionContext, config: RetrainConfig, plms: Plms) -> "Request":
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.actions.asking import experiment_of, request_of
    from plms_pipeline.models.actions.starting import start_from, start_or_cold
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

    data_dir = plms.settings().data_dir
    start, lost = None, ""
    if config.start_from.strip() and config.cold_if_lost:
        start, lost = start_or_cold(plms.registry(), config.start_from, root=data_dir)
        if lost:
            context.log.warning(f"starts {lost}")
    elif config.start_from.strip():
        start = start_from(plms.registry(), config.start_from, root=data_dir)
    return request_of(
        config.dataset, config.symbol,
        experiment_of(config.experiment, config.experiment_file, data_dir=data_dir, start=start),
        data_dir=data_dir, strict=config.strict_validation, trials=config.trials,
        thresholds=OperationsThresholds(min_sharpe=config.min_sharpe, max_drawdown=config.max_drawdown),
        requested_by=launch_actor(context.run.tags).name, reason="; ".join(filter(None, (config.reason, lost))), start=start,
    )  # fmt: skip


def _candidate(context: dg.OpExecutionContext, asked: "Request", plms: Plms) -> "Candidate":
    from datetime import timedelta
    from importlib.metadata import version

    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.actions.training import candidate_for
    from plms_pipeline.models.candidate_ids import candidate_id

    settings = plms.settings()
    commit = f"+{settings.git_commit}" if settings.git_commit else ""
    return candidate_for(
        plms.registry(), asked, candidate_id=candidate_id(root_of(context.run)), root=settings.data_dir,
        actor=launch_actor(context.run.tags), clock=plms.clock(), expiry=timedelta(days=settings.candidate_expiry_days),
        code_version=version("plms_pipeline") + commit,
        told=lambda stage, what: context.log.info(f"stage={stage} {what}"),
    )  # fmt: skip


def _told(found: "Candidate", plms: Plms) -> list["Stage"]:
    from plms_pipeline.models.actions.stages import candidate_stages, recommendation, written_report

    data_dir = plms.settings().data_dir
    return [
        *candidate_stages(found, data_dir),
        written_report(found, data_dir),
        recommendation(plms.registry(), found, data_dir, now=plms.clock().now()),
    ]


@dg.job(
    name=JOB,
    description="Train a candidate on the imported prices and put it before a person; launch it as it stands. It promotes "
    "nothing and spends nothing, so it runs while the kill switch is on.",
    tags={"dagster/max_runtime": str(MAX_RUNTIME_S), "plms/exclusive": "retraining"},
)
def retrain_models() -> None:
    """One op."""
    train_and_judge()


JOBS: list[Any] = [retrain_models]
