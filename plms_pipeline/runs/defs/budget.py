"""The net behind `plms serve`: where only the daemon runs, it looks at budgets, and their policies act."""

import dagster as dg

from plms_pipeline.resources import Plms

LOOK_EVERY_S = 60


@dg.sensor(
    name="budget_check",
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the money of every project that is due: history, and the breach policy above 25 % overrun.",
)
def budget_check(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SkipReason:
    """One round, in the tick; launches nothing."""
    from plms_pipeline.errors import Unavailable
    from plms_pipeline.runs.service.budgets import BudgetWatch

    try:
        done = BudgetWatch(plms.settings(), plms.registry(), plms.clock()).look()
    except Unavailable as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    context.update_cursor(plms.clock().now().isoformat())
    acted = ", ".join(f"project {one.project_id}: {one.what}" for one in done.acted) or "no policy acted"
    return dg.SkipReason(f"{done.looked_at} projects looked at, {done.remembered} changed; {acted}")


SENSORS = [budget_check]
