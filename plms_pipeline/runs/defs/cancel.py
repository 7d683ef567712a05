"""Calling a run off from the Dagster UI."""

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


class CancelConfig(dg.Config):
    """What to call off."""

    run_id: str = Field(description="The run; it must not have ended.")
    reason: str = Field(description="Why; kept with the run.")


@dg.op(
    description="Call a run off; the metadata says whether it has ended or the executor still has to end what it holds."
)
def call_run_off(context: dg.OpExecutionContext, config: CancelConfig, plms: Plms) -> None:
    """Call the action that HTTP and the terminal call, and tell the executor at once."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.cancel import cancel_run
    from plms_pipeline.runs.service.opening import Opened

    with no_retry_for_permanent_errors(), Opened(plms.settings(), plms.registry(), plms.clock()) as world:
        done = cancel_run(
            world.registry, clock=world.clock, actor=launch_actor(context.run.tags), run_id=config.run_id,
            reason=config.reason,
        )  # fmt: skip
        result = world.dispatcher.tick()
    context.log.info(f"run_cancelled run_id={done.run_id} has_ended={done.has_ended}")
    context.add_output_metadata(
        {"run_id": done.run_id, "has_ended": done.has_ended, "executor_away": result.away or "no"}
    )


@dg.job(
    name="cancel_run",
    description="Call a run off: what has not gone out never will, and the executor is asked to end the rest. Works while the "
    "kill switch is on.",
    tags={"dagster/max_runtime": "300"},
)
def cancel_run_job() -> None:
    """One op."""
    call_run_off()


JOBS = [cancel_run_job]
