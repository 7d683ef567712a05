"""The nets behind `plms serve`: budgets, and everything else that rules look at, Dagster's own health included.

A tick evaluates, sends what is owed for a while, and launches nothing. Which of them and of the workers comes first does not
matter: each source says how often it wants to be looked at, and the registry when it was.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms

EVERY_S = 30


@dg.sensor(
    name="budget_threshold_crossed",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Compares the budgets of projects at work with their thresholds every PLMS_BUDGET_CHECK_S seconds (60), those "
    "of idle projects every ten minutes, and tells who must know. Launches nothing.",
)
def budget_threshold_crossed(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
    """One bounded look at money."""
    return _tick(context, plms, only=("budget", "spending"))


def rules_sensor(names: Sequence[str]) -> dg.SensorDefinition:
    """The sensor that looks at everything.

    Args:
        names: our sensors and schedules, whose ticks are looked at; Dagster also remembers those that are gone.
    """
    known = frozenset((*names, "alert_rules_crossed"))

    @dg.sensor(
        name="alert_rules_crossed",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares everything else that rules look at with its thresholds (`plms alerts list --rules`), sends what "
        "is owed, and tells the asset alerts when something has changed. Launches nothing.",
    )
    def alert_rules_crossed(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
        """One bounded look at everything."""
        return _tick(context, plms, only=None, known=known)

    return alert_rules_crossed


def _tick(
    context: dg.SensorEvaluationContext,
    plms: Plms,
    *,
    only: tuple[str, ...] | None,
    known: frozenset[str] = frozenset(),
) -> Any:
    from plms_pipeline.alerts.actions.showing import overview
    from plms_pipeline.alerts.defs.assets import materialization
    from plms_pipeline.alerts.looking import Source
    from plms_pipeline.alerts.service import Alerts
    from plms_pipeline.alerts.sources import dagster
    from plms_pipeline.errors import PlmsError

    instance = context.instance
    own = Source("dagster", dagster.looking(lambda: ticking(instance, known)), 60.0)
    try:
        settings = plms.settings()
        book = _rules().of(settings)
        with Alerts(settings, plms.registry(), plms.clock(), also=() if only else (own,), book=book) as alerts:
            done = alerts.evaluate(only)
            sent = alerts.deliver()
            found = overview(plms.registry(), clock=plms.clock())
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    states = repr((sorted((one.rule, one.subject, one.state) for one in found.alerts), found.deliveries))
    events = [] if only or states == context.cursor else [materialization(found)]
    why = (
        f"looked at {', '.join(done.looked) or 'nothing'}; fired {len(done.fired)}, resolved {len(done.resolved)}, escalated "
        f"{done.escalated}, sent {sum(one.outcome == 'sent' for one in sent)} of {len(sent)}"
        + (f"; failed: {', '.join(name for name, _ in done.failed)}" if done.failed else "")
    )
    return dg.SensorResult(skip_reason=dg.SkipReason(why), asset_events=events, cursor=None if only else states)


@cache
def _rules() -> Any:
    """The process of a code location lives on: what counted at the last tick goes on to count while a file makes no sense."""
    from plms_pipeline.alerts.actions.opening import LastGood

    return LastGood()


def ticking(instance: dg.DagsterInstance, known: frozenset[str]) -> list[Any]:
    """How each of our running sensors and schedules has ticked lately."""
    from plms_pipeline.alerts.sources.dagster import Ticking

    found = []
    for state in instance.all_instigator_state():
        if state.name not in known or not state.is_running:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=10)
        data = state.instigator_data
        found.append(
            Ticking(
                state.name, getattr(data, "min_interval", None),
                tuple(
                    (tick.timestamp, tick.status.value, str(tick.error.message)[:200] if tick.error else "") for tick in ticks
                ),
            )
        )  # fmt: skip
    return found


SENSORS = [budget_threshold_crossed]
