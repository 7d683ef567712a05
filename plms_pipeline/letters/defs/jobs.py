"""Dagster jobs that failed: kept by a run failure sensor, launched again by another when they are due.

A retry is a new run of the job with the same configuration, which names its parent and its root as Dagster's own re-executions
do: our run coordinator then gives it the same actor, and a start whose Idempotency-Key derives from the root starts nothing
twice.
"""

import re
from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms

LETTER_TAG = "plms/letter"
ROOT_TAG = "dagster/root_run_id"
PARENT_TAG = "dagster/parent_run_id"
WILL_RETRY_TAG = "dagster/will_retry"
HOLDER = "sensor:failed_jobs_due"
EVERY_S = 30
MOST = 50
# What Dagster and our coordinator stamp on a run themselves.
_STAMPED = re.compile(r"^\.?dagster/(?!partition)|^plms/(?:actor|launched_from|letter)")


def root_of(run: dg.DagsterRun) -> str:
    """The first of the runs that this one repeats, whoever repeated it."""
    return run.root_run_id or run.tags.get(ROOT_TAG) or run.run_id


def reason_of(message: str | None, step_events: Any) -> str:
    """Why a run failed: what its steps raised, else what Dagster says."""
    told = []
    for event in step_events:
        data = event.event_specific_data
        error = getattr(data, "error", None)
        user = getattr(data, "user_failure_data", None)
        innermost = error
        while innermost is not None and innermost.cause is not None:
            innermost = innermost.cause
        described = getattr(user, "description", None) or getattr(innermost, "message", None)
        if described:
            told.append(f"{event.step_key}: {described.strip()}")
    return "; ".join(told) or message or ""


@dg.run_failure_sensor(
    name="failed_jobs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=EVERY_S,
    description="Keeps a failed run of a job as a dead letter with the class of its failure, unless Dagster itself retries it.",
)
def failed_jobs(context: dg.RunFailureSensorContext, plms: Plms) -> dg.SkipReason | None:
    """One letter per chain of runs."""
    from plms_pipeline.letters.rules import Failure
    from plms_pipeline.letters.store import put

    run = context.dagster_run
    if run.tags.get(WILL_RETRY_TAG, "").lower() == "true":
        return dg.SkipReason(f"Dagster retries {run.run_id} itself.")
    reason = reason_of(context.failure_event.message, context.get_step_failure_events())
    failure = Failure(
        kind="job", subject_id=root_of(run), reason=reason, run_id=run.run_id, payload={"job": run.job_name},
        # What was made by clicking assets together is no job that could be launched under its name.
        is_final=run.job_name.startswith("__"),
    )  # fmt: skip
    with plms.registry().writing() as session:
        letter = put(session, failure, now=plms.clock().now(), actor="sensor:failed_jobs")
    context.log.info(f"letter {letter.letter_id} {letter.error_class} {letter.state}")
    return None


def retry_sensor(jobs: list[Any]) -> dg.SensorDefinition:
    """The sensor that launches failed jobs again when they are due.

    Args:
        jobs: every job that may be launched again.
    """
    names = {job.name for job in jobs}

    @dg.sensor(
        name="failed_jobs_due",
        jobs=jobs,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches jobs again that failed in passing, at most three times each and with growing waits. Nothing due, "
        "nothing launched.",
    )
    def failed_jobs_due(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
        """Ask the letters what is due, and Dagster what came of what was launched."""
        from plms_pipeline.errors import PlmsError

        try:
            ended = _learn(context.instance, plms)
            requests = _due(context.instance, plms, names)
        except PlmsError as error:
            return dg.SkipReason(f"{error.code}: {error.message}")
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason(f"Nothing is due; {ended} retries have ended.")

    return failed_jobs_due


def _due(instance: dg.DagsterInstance, plms: Plms, names: set[str]) -> list[dg.RunRequest]:
    from plms_pipeline.letters.actions.retrying import Tried, retry_due
    from plms_pipeline.letters.rules import Letter

    requests: list[dg.RunRequest] = []

    def launch(letter: Letter) -> Tried:
        parent = instance.get_run_by_id(letter.run_id or letter.subject_id)
        if parent is None or parent.job_name not in names:
            return Tried(
                "given_up", f"malformed: Dagster has no run {letter.run_id} of a job that is known here any more"
            )
        tags = {name: value for name, value in parent.tags.items() if not _STAMPED.search(name)}
        requests.append(
            dg.RunRequest(
                # The same retry has the same key: a tick that died after Dagster had noted it launches no second one.
                run_key=letter.retry_key,
                job_name=parent.job_name,
                run_config=parent.run_config,
                partition_key=parent.tags.get("dagster/partition"),
                tags={
                    **tags,
                    PARENT_TAG: parent.run_id,
                    ROOT_TAG: letter.subject_id,
                    LETTER_TAG: letter.letter_id,
                },
            )
        )
        # It is claimed until Dagster shows the run; a tick that is lost is made up for when the lease ends.
        return Tried("begun", f"launched {parent.job_name} again")

    retry_due(plms.registry(), clock=plms.clock(), holder=HOLDER, handlers={"job": launch}, limit=MOST)
    return requests


def _learn(instance: dg.DagsterInstance, plms: Plms) -> int:
    """What came of the runs that were launched again; how many letters are done or stopped by it."""
    from plms_pipeline.letters import store
    from plms_pipeline.letters.rules import PROCESSING

    registry, now = plms.registry(), plms.clock().now()
    with registry.reading() as session:
        waiting = store.listed(session, states=(PROCESSING,), kind="job", limit=store.MOST_ROWS)
    ended = 0
    for letter in waiting:
        run = _launched(instance, letter)
        if run is None:
            continue
        with registry.writing() as session:
            if letter.lease_holder is not None and not store.begun(session, letter, run_id=run.run_id):
                continue
            # A failure is told by the failure sensor.
            if run.status == dg.DagsterRunStatus.SUCCESS:
                ended += store.recover(session, letter.letter_id, now=now, actor=HOLDER)
            elif run.status == dg.DagsterRunStatus.CANCELED:
                ended += store.stop(session, letter.letter_id, now=now, actor=HOLDER)
    return ended


def _launched(instance: dg.DagsterInstance, letter: Any) -> dg.DagsterRun | None:
    """The run that was launched for a letter's present retry, once Dagster shows it."""
    if letter.lease_holder is None:
        return instance.get_run_by_id(letter.run_id or "")
    runs = instance.get_runs(dg.RunsFilter(tags={LETTER_TAG: letter.letter_id}), limit=1)
    return runs[0] if runs and runs[0].run_id != letter.run_id else None
