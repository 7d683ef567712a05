"""What PAS says has ended, in Dagster: the nets behind `plms serve`, and the job that settles what takes longer."""

from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

SETTLED = dg.AssetKey("settled_completions")
JOB = "settle_completions"
EVERY_S = 30
IDLE_S = 10.0
LONGEST_S = 300.0
# A tick has 20 s; what one settlement takes is part of it.
TICK_S = 10.0
TICK_EVENTS = 200

settled_completions = dg.AssetSpec(
    SETTLED,
    group_name="runs",
    owners=["team:plms"],
    kinds={"sqlalchemy"},
    code_version="1",
    description="Completions of PAS that became receipts, verdicts, ended runs and moved priors. Written by `plms serve` at "
    "once, by the sensor pas_completion in its tick, or by the job settle_completions; the registry's inbox is the record.",
)


class SettleConfig(dg.Config):
    """How long to drain."""

    idle_s: float = IDLE_S
    longest_s: float = LONGEST_S


@dg.op(description="Settle what is due until nothing came for a while, or the time is over.")
def settle_what_ended(context: dg.OpExecutionContext, config: SettleConfig, plms: Plms) -> None:
    """Drain the inbox; hand over what that made ready; close runs that ended."""
    import time

    from plms_pipeline.runs.service.opening import Opened

    with no_retry_for_permanent_errors():
        world = Opened(plms.settings(), plms.registry(), plms.clock())
        try:
            total = world.settler.drain(
                idle_s=config.idle_s, longest_s=config.longest_s, after_each=world.dispatcher.tick, sleep=time.sleep
            )
            closed = world.settler.close_due()
        finally:
            world.close()
    context.log.info(f"settled {total.settled} receipts {total.receipts} ended_runs {len(total.ended_runs)}")
    context.log_event(dg.AssetMaterialization(SETTLED, metadata={**_counts(total), "reports_written": closed}))


def _counts(result: Any) -> dict[str, Any]:
    return {
        "claimed": result.claimed,
        "settled": result.settled,
        "ignored": result.ignored,
        "refused": result.refused,
        "deferred": result.deferred,
        "receipts": result.receipts,
        "prior_versions": result.priors,
        "ended_runs": len(result.ended_runs),
        "runs": dg.MetadataValue.json(list(result.ended_runs)[:100]),
    }


@dg.job(
    name=JOB,
    description="Settle what PAS says has ended: gates, receipts, tasks, runs and priors. Ends 10 s after the last event; safe "
    "to launch by hand at any time, and to kill.",
    # plms/exclusive: the run queue lets one run at a time through (dagster.yaml).
    tags={"dagster/max_runtime": str(int(LONGEST_S) + 300), "plms/exclusive": "settle"},
)
def settle_completions() -> None:
    """One op."""
    settle_what_ended()


@dg.sensor(
    job=settle_completions,
    name="pas_completion",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="The net behind `plms serve`: settles in its tick what needs no measuring, and launches settle_completions for "
    "the rest, one at a time. Nothing due, nothing launched.",
)
def pas_completion(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
    """Ask the inbox what is due; settle what fits; leave the rest to the job."""
    import time

    from plms_pipeline.errors import PlmsError
    from plms_pipeline.runs.service.opening import Opened

    try:
        world = Opened(plms.settings(), plms.registry(), plms.clock())
        try:
            if not world.settler.due():
                return dg.SkipReason("Nothing is due.")
            began, total = time.monotonic(), world.settler.nothing
            while time.monotonic() - began < TICK_S:
                tick = world.settler.tick(limit=TICK_EVENTS, may_measure=False)
                total = total.plus(tick.settled)
                if not tick.did_something:
                    break
            left = world.settler.due()
            at = world.clock.now().isoformat()
        finally:
            world.close()
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    events = [dg.AssetMaterialization(SETTLED, metadata=_counts(total))] if total.settled or total.ended_runs else []
    if left and not _is_live(context.instance):
        # No run_key: it would let one such run through, ever.
        return dg.SensorResult(run_requests=[dg.RunRequest()], asset_events=events, cursor=at)
    why = f"settled {total.settled}, ignored {total.ignored}, refused {total.refused}, left {left}"
    return dg.SensorResult(skip_reason=dg.SkipReason(why), asset_events=events, cursor=at)


def _is_live(instance: dg.DagsterInstance) -> bool:
    """Whether a run of the job waits or works."""
    open_states = [
        dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
    ]  # fmt: skip
    return instance.get_runs_count(dg.RunsFilter(job_name=JOB, statuses=open_states)) > 0


@dg.sensor(
    name="lost_completions",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    target=settle_completions,
    description="Compares runs that are under way with PAS's status: what ended there and was never told is put into the "
    "inbox, and a run that PAS does not know any more ends FAIL. Launches nothing; pas_completion settles what it found.",
)
def lost_completions(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SkipReason:
    """One bounded comparison."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.runs.service.opening import Opened

    try:
        world = Opened(plms.settings(), plms.registry(), plms.clock())
        try:
            found = world.settler.reconcile()
            closed = world.settler.close_due()
            context.update_cursor(world.clock.now().isoformat())
        finally:
            world.close()
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    return dg.SkipReason(
        f"compared {found.compared}, told {found.told}, lost {found.lost}, again {found.again}, reports {closed}"
        + (f", executor away: {found.away}" if found.away else "")
    )


ASSETS = [settled_completions]
JOBS = [settle_completions]
SENSORS = [pas_completion, lost_completions]
