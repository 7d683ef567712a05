"""The champion of estimates reads the receipts: what it says is what forecasts ask, and what it said is watched.

A reading is launched when a model was promoted, at most once an hour while receipts come, and every night.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from plms_pipeline.models.defs.telling import GROUP, OWNERS, result, specs_of
from plms_pipeline.models.stages.names import ESTIMATES_MONITOR, PROMOTED_MODEL
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

ZONE = "America/New_York"
# After the champion for prices was told.
CRON = "45 3 * * *"
WHILE_RECEIPTS_COME_S = 3600.0


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"sqlalchemy"}, code_version="1", deps=[PROMOTED_MODEL],
    check_specs=specs_of(ESTIMATES_MONITOR),
    description="What the promoted model of estimates makes of every task it knows, for whoever forecasts, and whether what "
    "was begun since its promotion took what it said. Each look is a row; the sensor estimates_drifted asks for a training "
    "when a look does.",
)  # fmt: skip
def estimates_monitor(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.MaterializeResult[Any]]:
    """Look once."""
    from plms_pipeline.models.actions.estimates_watching import look_at_estimates
    from plms_pipeline.models.stages.live import estimates_stage

    with no_retry_for_permanent_errors():
        found = look_at_estimates(plms.registry(), data_dir=plms.settings().data_dir, clock=plms.clock())
    context.log.info(f"estimates_watched action={found.action} rows={found.document['rows']}")
    yield result(estimates_stage(found.document, action=found.action, sentence=found.sentence))


watch_estimates = dg.define_asset_job(
    "watch_estimates",
    selection=dg.AssetSelection.assets(ESTIMATES_MONITOR),
    description="Lets the champion of estimates read the receipts, so that forecasts ask what it says now, and judges it "
    "on what began since its promotion. By itself after a promotion, within the hour of new receipts, and every night.",
    tags={"dagster/max_runtime": "1800", "plms/exclusive": "watch_estimates"},
)


@dg.schedule(
    name="nightly_estimates_watch",
    job=watch_estimates,
    cron_schedule=CRON,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:45 in New York; without a champion of estimates there is nothing to read.",
)
def nightly_estimates_watch(context: dg.ScheduleEvaluationContext, plms: Plms) -> dg.RunRequest | dg.SkipReason:
    """One reading a night."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.records import ESTIMATES
    from plms_pipeline.models.store import champions

    try:
        with plms.registry().reading() as session:
            champion = champions.current(session, ESTIMATES)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if champion is None:
        return dg.SkipReason("No model of estimates was promoted yet: the priors answer.")
    return dg.RunRequest(run_key=str(context.scheduled_execution_time.date()))


@dg.sensor(
    name="estimates_unread",
    job=watch_estimates,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lets a model of estimates that was promoted or came back read the receipts, and again when receipts came and "
    "its last reading is an hour old. One that cannot read is tried again in the night, and the priors answer.",
)
def estimates_unread(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SensorResult | dg.SkipReason:
    """Ask the books."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.actions.estimates_watching import reading_due

    try:
        due = reading_due(plms.registry(), now=plms.clock().now(), after_s=WHILE_RECEIPTS_COME_S)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if due is None:
        return dg.SkipReason("Nothing is promoted, or nothing new is to be read.")
    context.log.info(f"estimates_reading_due reason={due.reason}")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=due.key)], cursor=due.key)


ASSETS = [estimates_monitor]
JOBS = [watch_estimates]
SCHEDULES = [nightly_estimates_watch]
SENSORS = [estimates_unread]
