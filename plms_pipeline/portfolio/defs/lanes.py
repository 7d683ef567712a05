"""Lanes in Dagster: what they did minute by minute, and the weekly review."""

from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


@dg.asset(
    name="lane_metrics",
    group_name="portfolio",
    owners=["team:plms"],
    kinds={"sqlalchemy"},
    code_version="1",
    description="What every lane did in each minute: slot time, queue, starts, ends, failures, waits. Read from the log of "
    "slots into `lane_minutes`; a late end is read again. With PLMS_LANE_AUTOSCALE=on caps follow, each move a decision.",
)
def lane_metrics(plms: Plms) -> dg.MaterializeResult[None]:
    """Read what has passed since the last time."""
    from dataclasses import asdict
    from uuid import uuid4

    from plms_pipeline.portfolio.actions.reviews import autoscale, measure_lanes
    from plms_pipeline.portfolio.policies import autoscale_bounds

    registry, clock, minutes, busy = plms.registry(), plms.clock(), 0, 0
    moved: list[Any] = []
    with no_retry_for_permanent_errors():
        found = measure_lanes(registry, clock=clock)
        until, last = found.until, None
        while found.until is not None and found.until != last:
            minutes, busy, last = minutes + found.minutes, busy + found.busy_ms, found.until
            found = measure_lanes(registry, clock=clock)
            until = found.until or until
        bounds = autoscale_bounds(plms.settings())
        if bounds is not None:
            moved = [asdict(one) for one in autoscale(registry, clock=clock, ids=lambda: str(uuid4()), bounds=bounds)]
    return dg.MaterializeResult(
        metadata={
            "minutes": minutes, "busy_ms": busy, "until": "never" if until is None else until.isoformat(),
            "autoscale": "off" if bounds is None else f"{bounds.least} to {bounds.most} slots",
            "caps_moved": dg.MetadataValue.json(moved),
        }
    )  # fmt: skip


@dg.op(
    description="Recommend caps, gates and the weight of the newest receipt from last week; nothing changes until a person "
    "applies one."
)
def review_what_lanes_did(context: dg.OpExecutionContext, plms: Plms) -> None:
    """Call the action that the terminal calls."""
    from uuid import uuid4

    from plms_pipeline.portfolio.actions.reviews import measure_lanes, review_lanes

    registry, clock = plms.registry(), plms.clock()
    with no_retry_for_permanent_errors():
        measure_lanes(registry, clock=clock)
        found = review_lanes(registry, clock=clock, ids=lambda: str(uuid4()), alpha=plms.settings().alpha)
    table: list[Any] = [
        {"lane": one.lane_id, "field": one.field, "subject": one.subject, "current": one.current,
         "recommended": one.recommended, "rule": one.rule, "evidence": one.evidence, "review_id": one.review_id}
        for one in found
    ]  # fmt: skip
    context.add_output_metadata({"recommendations": len(found), "what": dg.MetadataValue.json(table)})


@dg.job(
    name="lane_review",
    description="Weekly: recommended caps, gates and α with their evidence. `plms lanes apply` or `plms lanes reject` decides "
    "each.",
    tags={"dagster/max_runtime": "600"},
)
def lane_review() -> None:
    """One op."""
    review_what_lanes_did()


measure_lanes_job = dg.define_asset_job(
    "measure_lanes", selection=[lane_metrics], tags={"dagster/max_runtime": "600", "plms/exclusive": "lane_metrics"}
)

lane_review_weekly = dg.ScheduleDefinition(
    name="lane_review_weekly",
    job=lane_review,
    cron_schedule="0 6 * * 1",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
lane_metrics_hourly = dg.ScheduleDefinition(
    name="lane_metrics_hourly",
    job=measure_lanes_job,
    cron_schedule="5 * * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

ASSETS = [lane_metrics]
JOBS = [lane_review, measure_lanes_job]
SCHEDULES = [lane_review_weekly, lane_metrics_hourly]
