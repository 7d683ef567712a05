"""Training the family `estimates` from the Launchpad, and once a week by itself.

The same action as `plms retrain-estimates`. A candidate is named after the run that trained it, so a retry trains nothing
twice; it waits for a person like any other.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from plms_pipeline.letters.defs.jobs import root_of
from plms_pipeline.models.defs.telling import CANDIDATES, events
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

if TYPE_CHECKING:
    from plms_pipeline.models.records import Candidate

MAX_RUNTIME_S = 3600
ZONE = "America/New_York"
# Half an hour after the market's own check.
CRON = "30 5 * * 0"


class EstimatesConfig(dg.Config):
    """Why, and whether receipts that are known suffice."""

    reason: str = Field("", description="Why; kept in the manifest and the registry.")
    only_if_changed: bool = Field(
        False, description="Train only if there are enough receipts, and others than those of the newest candidate."
    )
    start_from: str = Field(
        "", description="champion, or the id of a candidate of estimates: its experiment instead of the default one."
    )
    cold_if_lost: bool = Field(
        False, description="If its files are gone or were changed: the default experiment, and a word in the reason, instead "
        "of failing. Sensors ask so.",
    )  # fmt: skip


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Train on the receipts in the books, judge walk-forward against the priors, and let the candidate wait.",
)
def train_estimates(
    context: dg.OpExecutionContext, config: EstimatesConfig, plms: Plms
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Call the action that the terminal calls."""
    from plms_pipeline.models.actions.stages import recommendation, written_report
    from plms_pipeline.models.estimating.actions import nothing_new

    with no_retry_for_permanent_errors():
        now = plms.clock().now()
        why = nothing_new(plms.registry(), until=now) if config.only_if_changed else None
        if why is not None:
            context.log.info(f"nothing_trained reason={why}")
            yield dg.Output(None, metadata={"trained": False, "why": why})
            return
        found = _candidate(context, config, plms)
        context.instance.add_dynamic_partitions(str(CANDIDATES.name), [found.candidate_id])
        report = written_report(found, plms.settings().data_dir)
        told = recommendation(plms.registry(), found, plms.settings().data_dir, now=plms.clock().now())
    yield from events(report, found.candidate_id)
    yield from events(told, found.candidate_id)
    yield dg.Output(
        None,
        metadata={
            "trained": True, "candidate": found.candidate_id, "gates_passed": found.gates_passed,
            "blockers": ", ".join(found.blockers), "next": "A person decides: the job decide_candidate.",
        },
    )  # fmt: skip


def _candidate(context: dg.OpExecutionContext, config: EstimatesConfig, plms: Plms) -> "Candidate":
    from datetime import timedelta
    from importlib.metadata import version

    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.actions.resembling import experiment_like, experiment_like_or_default
    from plms_pipeline.models.candidate_ids import candidate_id
    from plms_pipeline.models.estimating.actions import EstimatesRequest, estimates_candidate

    settings, actor = plms.settings(), launch_actor(context.run.tags)
    commit = f"+{settings.git_commit}" if settings.git_commit else ""
    lost = ""
    if config.cold_if_lost:
        experiment, lost = experiment_like_or_default(plms.registry(), config.start_from, root=settings.data_dir)
    else:
        experiment = experiment_like(plms.registry(), config.start_from, root=settings.data_dir)
    reason = "; ".join(filter(None, (config.reason.strip(), lost))) or None
    return estimates_candidate(
        plms.registry(), EstimatesRequest(experiment, actor.name, reason),
        candidate_id=candidate_id(root_of(context.run)), root=settings.data_dir, actor=actor, clock=plms.clock(),
        expiry=timedelta(days=settings.candidate_expiry_days), code_version=version("plms_pipeline") + commit,
        told=lambda stage, what: context.log.info(f"stage={stage} {what}"),
    )  # fmt: skip


@dg.job(
    name="retrain_estimates",
    description="Train a model of what tasks take on the receipts in the books; launch it as it stands. It promotes nothing "
    "and spends nothing, so it runs while the kill switch is on.",
    # One training at a time, of whichever family: each takes all that the machine has.
    tags={"dagster/max_runtime": str(MAX_RUNTIME_S), "plms/exclusive": "retraining"},
)
def retrain_estimates() -> None:
    """One op."""
    train_estimates()


@dg.schedule(
    name="weekly_estimates_retraining",
    job=retrain_estimates,
    cron_schedule=CRON,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Sundays at 05:30 in New York: trains if there are enough receipts, and others than those of the newest "
    "candidate; else the tick is skipped and says why.",
)
def weekly_estimates_retraining(context: dg.ScheduleEvaluationContext, plms: Plms) -> dg.RunRequest | dg.SkipReason:
    """Ask the books."""
    return weekly_request(plms, context.scheduled_execution_time)


def weekly_request(plms: Plms, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run of a week, if there is something to train on."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.estimating.actions import nothing_new

    try:
        why = nothing_new(plms.registry(), until=plms.clock().now())
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if why is not None:
        return dg.SkipReason(f"Nothing to train on: {why}")
    form = {"reason": "weekly", "only_if_changed": True}
    return dg.RunRequest(run_key=str(at.date()), run_config={"ops": {"train_estimates": {"config": form}}})


JOBS = [retrain_estimates]
SCHEDULES = [weekly_estimates_retraining]
