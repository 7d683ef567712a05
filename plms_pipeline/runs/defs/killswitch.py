"""The kill switch in the Dagster UI, and the net behind those who look after it.

The job carries no `plms/effect: spend`: it runs while the switch is on, or nobody could turn it off here.
"""

from typing import Any, Literal
from uuid import uuid4

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

LOOK_EVERY_S = 30


class SwitchConfig(dg.Config):
    """What to do with the kill switch."""

    action: Literal["status", "on", "off", "resume"] = Field(
        "status",
        description="status: only show. on: stop what starts or spends, pause what runs. off: things may start again. "
        "resume: let go on what was paused.",
    )
    scope: Literal["global", "lane", "project"] = Field("global", description="What is switched.")
    subject: str = Field("", description="The lane's or project's number; empty for everything.")
    reason: str = Field("", description="Why; needed for on, off and resume, kept for ever.")


@dg.op(
    description="Turn the kill switch on or off, or let go on what it paused; the metadata says what is stopped then."
)
def switch(context: dg.OpExecutionContext, config: SwitchConfig, plms: Plms) -> None:
    """Call the actions that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.decisions.rules import reason_of
    from plms_pipeline.portfolio import files
    from plms_pipeline.portfolio.actions import switches
    from plms_pipeline.runs.stopping import actions

    settings, registry, clock = plms.settings(), plms.registry(), plms.clock()
    actor, told = launch_actor(context.run.tags), dict[str, Any]()
    with no_retry_for_permanent_errors():
        if config.action == "resume":
            done = actions.resume(
                registry, clock=clock, ids=lambda: str(uuid4()), actor=actor, reason=reason_of(config.reason)
            )
            told |= {"resumed_runs": done.runs, "resumed_cards": done.cards}
        elif config.action != "status":
            turn = switches.turn_on if config.action == "on" else switches.turn_off
            turned = turn(
                registry, clock=clock, ids=lambda: str(uuid4()), actor=actor, reason=config.reason, scope=config.scope,
                subject=config.subject,
            )  # fmt: skip
            lowered = config.action == "off" and config.scope == "global" and files.lower_flag(settings.data_dir)
            told |= {"changed": turned.changed or lowered}
        told |= _looked(plms)
        found = switches.status(registry, flag=lambda: files.flag_reason(settings.data_dir))
    context.log.info(f"kill_switch action={config.action} scope={config.scope} is_on={found.is_on}")
    context.add_output_metadata(
        {
            **told,
            "kill_switch": "on" if found.is_on else "off",
            "flag_file": found.flag or "not there",
            "switches": dg.MetadataValue.json(
                [f"{one.where}: {one.reason} (by {one.actor})" for one in found.switches if not one.is_mirror]
            ),
        }
    )


@dg.job(
    name="killswitch",
    description="Stop everything that starts or spends, here or in one lane or project; let it go on when the cause is found.",
    tags={"dagster/max_runtime": "300", "plms/exclusive": "killswitch"},
)
def killswitch_job() -> None:
    """One op."""
    switch()


@dg.sensor(
    name="kill_switch_pulled",
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="The net behind `plms serve`: pauses what runs while a kill switch is on, ends what does not pause.",
)
def kill_switch_pulled(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SkipReason:
    """One look, in the tick; launches nothing."""
    from plms_pipeline.errors import Unavailable

    try:
        told = _looked(plms)
    except Unavailable as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    context.update_cursor(plms.clock().now().isoformat())
    if not told["stops"]:
        return dg.SkipReason("No kill switch is on.")
    return dg.SkipReason(", ".join(f"{name} {value}" for name, value in told.items()))


def _looked(plms: Plms) -> dict[str, int]:
    """Ask for pauses and ends, and tell the executor; an executor that is away is told later."""
    from plms_pipeline.pas.service import pas_client
    from plms_pipeline.portfolio.files import flag_reason
    from plms_pipeline.runs.process import lease_holder
    from plms_pipeline.runs.stopping import actions

    settings, registry, clock = plms.settings(), plms.registry(), plms.clock()
    found = actions.look(registry, clock=clock, flag=flag_reason(settings.data_dir))
    with pas_client(settings) as pas:
        taken, waiting = actions.tell(registry, clock=clock, pas=pas, holder=lease_holder())
    return {
        "stops": len(found.stops), "asked_to_pause": found.asked, "asked_to_end": found.ended, "executor_took": taken,
        "executor_owes": waiting,
    }  # fmt: skip


JOBS = [killswitch_job]
SENSORS = [kill_switch_pulled]
