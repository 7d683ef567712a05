"""Cause and effect without a person: changed data train, a recorded decision is carried out, drift asks for a training.

A tick asks the registry and Dagster's own runs; a cursor is written for display and never read, so that nobody loses a training
by resetting it. None of them lets anything go live that a person did not approve.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from plms_pipeline.models.defs.estimates import retrain_estimates
from plms_pipeline.models.defs.promotion import approved_ids, places, promoted
from plms_pipeline.models.defs.retraining import DATA_TAG, JOB, retrain_models
from plms_pipeline.models.defs.telling import CANDIDATES, events
from plms_pipeline.resources import Plms

if TYPE_CHECKING:
    from plms_pipeline.models.actions.watching import Due
    from plms_pipeline.models.training.history import Attempt, Progress

EVERY_S = 30
# Candidates whose copies for people are looked at in a tick, the newest.
COPIES = 50
# A feed that is written all day is trained on once a day at most.
COOLDOWN = timedelta(hours=20)
RUNS = 100
ZONE = "America/New_York"
_OVER = {
    dg.DagsterRunStatus.SUCCESS: "ended",
    dg.DagsterRunStatus.FAILURE: "failed",
    # Whoever ends a training by hand does not want it back within seconds.
    dg.DagsterRunStatus.CANCELED: "failed",
}


def attempts_of(instance: dg.DagsterInstance, job: str = JOB) -> "list[Attempt]":
    """What Dagster knows of runs of a job that trained, train or are queued to."""
    from plms_pipeline.models.training.history import Attempt

    found = []
    for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=RUNS):
        run = record.dagster_run
        progress: Progress = _OVER.get(run.status, "running")  # type: ignore[assignment]  # the three words of the table
        found.append(Attempt(progress, run.tags.get(DATA_TAG), record.create_timestamp.astimezone(UTC)))
    return found


def _due(instance: dg.DagsterInstance, plms: Plms, cooldown: timedelta) -> "Due":
    from plms_pipeline.models.actions.watching import training_due

    return training_due(
        plms.registry(), plms.settings().data_dir, attempts_of(instance), now=plms.clock().now(), cooldown=cooldown
    )


def _training(reason: str, *, key: str | None = None, data_hash: str | None = None, **config: Any) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=key,
        run_config={"ops": {"train_and_judge": {"config": {"reason": reason, **config}}}},
        tags={DATA_TAG: data_hash} if data_hash else {},
    )


@dg.sensor(
    name="dataset_changed",
    job=retrain_models,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains a candidate when the content of the imported prices is another than the last training had: not when a "
    "file was only touched, at most one at a time, and every 20 hours at most. What is imported while a training runs is "
    "trained on afterwards. A candidate waits for a person.",
)
def dataset_changed(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SensorResult | dg.SkipReason:
    """Compare contents."""
    from plms_pipeline.errors import PlmsError

    try:
        due = _due(context.instance, plms, COOLDOWN)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    why = due.decision.reason + (f" until {due.decision.due_at:%Y-%m-%d %H:%M} UTC" if due.decision.due_at else "")
    if due.decision.action != "train" or due.digest is None:
        return dg.SkipReason(f"{due.decision.action}: {why}")
    request = _training(why, data_hash=due.digest, only_if_changed=True)
    return dg.SensorResult(run_requests=[request], cursor=due.digest)


@dg.schedule(
    name="weekly_retraining_check",
    job=retrain_models,
    cron_schedule="0 5 * * 0",
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Sundays at 05:00 in New York: trains if the data are others than those of the last training, whatever the "
    "cooldown says.",
)
def weekly_retraining_check(context: dg.ScheduleEvaluationContext, plms: Plms) -> dg.RunRequest | dg.SkipReason:
    """Ask once more."""
    return weekly_request(context.instance, plms, context.scheduled_execution_time)


def weekly_request(instance: dg.DagsterInstance, plms: Plms, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run that trains on changed data, if they are."""
    from plms_pipeline.errors import PlmsError

    try:
        due = _due(instance, plms, timedelta(0))
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if due.decision.action != "train" or due.digest is None:
        return dg.SkipReason(f"{due.decision.action}: {due.decision.reason}")
    return _training(
        f"weekly: {due.decision.reason}", key=str(at.date()), data_hash=due.digest,
        only_if_changed=True,
    )  # fmt: skip


@dg.sensor(
    name="decision_recorded",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Promotes what a person approved, in the tick; ends candidates whose time is over; shows candidates that were "
    "trained elsewhere. Launches nothing, and a decision that was carried out is not carried out again.",
)
def decision_recorded(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SensorResult | dg.SkipReason:
    """Carry out what is in the books."""
    from plms_pipeline.access.actors import Actor
    from plms_pipeline.errors import PlmsError, Unavailable
    from plms_pipeline.models.actions.deciding import rewrite
    from plms_pipeline.models.actions.expiry import expire

    actor = Actor("sensor:decision_recorded", is_verified=True)
    told: list[Any] = []
    said = []
    try:
        said += [f"{one} expired" for one in expire(plms.registry(), clock=plms.clock(), actor=actor)]
        # Copies for people that a full disk or a cleaned folder has lost.
        rewrite(plms.registry(), places(plms), limit=COPIES)
        fresh = _unknown(context.instance, plms)
        for one in approved_ids(plms):
            try:
                stage, is_new = promoted(plms, one, actor)
            except Unavailable:
                raise
            except PlmsError as error:
                # It stays approved, and the next tick asks again: a halt may be lifted, a service recover.
                said.append(f"{one} is not promoted, {error.code}: {error.message}")
                continue
            if is_new:
                said.append(f"{one} promoted")
                told += events(stage, one)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    requests = [CANDIDATES.build_add_request(fresh)] if fresh else []
    if not told and not requests:
        return dg.SkipReason("; ".join(said) or "Nothing was decided that is not carried out.")
    return dg.SensorResult(
        asset_events=told, dynamic_partitions_requests=requests, skip_reason=dg.SkipReason("; ".join(said) or "partitions"),
        cursor=plms.clock().now().isoformat(),
    )  # fmt: skip


def _unknown(instance: dg.DagsterInstance, plms: Plms) -> list[str]:
    """Candidates that have no partition yet: those that were trained from a terminal."""
    from plms_pipeline.models.store import candidates

    known = set(instance.get_dynamic_partitions(str(CANDIDATES.name)))
    with plms.registry().reading() as session:
        return [one.candidate_id for one in candidates.listed(session) if one.candidate_id not in known]


@dg.sensor(
    name="champion_drifted",
    job=retrain_models,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for a training when the live monitor says that the champion left what was approved, once per episode, "
    "and when a person sent the newest candidate back, once per candidate: with the experiment of that candidate.",
)
def champion_drifted(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SensorResult | dg.SkipReason:
    """Ask the looks and the decisions."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.actions.watching import drift_asks, person_asks

    try:
        asked = drift_asks(plms.registry()) or person_asks(plms.registry())
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if asked is None:
        return dg.SkipReason("Nobody asks for a training.")
    if any(one.progress == "running" for one in attempts_of(context.instance)):
        return dg.SkipReason(f"A training is under way; {asked.reason}.")
    request = _training(asked.reason, key=asked.key, start_from=asked.start_from, cold_if_lost=True)
    return dg.SensorResult(run_requests=[request], cursor=asked.key)


@dg.sensor(
    name="estimates_drifted",
    job=retrain_estimates,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="As champion_drifted, of the family that says what tasks take: trains when its watch says that intervals no "
    "longer hold or the priors are better, and when a person sent its newest candidate back, with its experiment.",
)
def estimates_drifted(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SensorResult | dg.SkipReason:
    """Ask the looks and the decisions."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.actions.watching import drift_asks, person_asks
    from plms_pipeline.models.records import ESTIMATES

    try:
        asked = drift_asks(plms.registry(), ESTIMATES) or person_asks(plms.registry(), ESTIMATES)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if asked is None:
        return dg.SkipReason("Nobody asks for a training.")
    if any(one.progress == "running" for one in attempts_of(context.instance, retrain_estimates.name)):
        return dg.SkipReason(f"A training is under way; {asked.reason}.")
    form = {"reason": asked.reason, "start_from": asked.start_from, "cold_if_lost": True}
    request = dg.RunRequest(run_key=asked.key, run_config={"ops": {"train_estimates": {"config": form}}})
    return dg.SensorResult(run_requests=[request], cursor=asked.key)


SENSORS = [dataset_changed, decision_recorded, champion_drifted, estimates_drifted]
SCHEDULES = [weekly_retraining_check]
