"""Repeating a run from the Dagster UI."""

from typing import Any

import dagster as dg
from pydantic import Field

from plms_pipeline.letters.defs.jobs import root_of
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors
from plms_pipeline.runs.defs.start import MAX_WAIT_S, derived_key


class ReplayConfig(dg.Config):
    """What to repeat."""

    run_id: str = Field(description="The run to repeat; it must have ended.")
    accept_drift: bool = Field(False, description="Start it although plan or providers are not what they were.")
    idempotency_key: str = Field(
        "", description="A UUID that names this start; empty: one derived from this Dagster run."
    )
    wait_s: int = Field(
        0, description=f"Wait so many seconds (at most {MAX_WAIT_S}) and compare the files; 0 returns at once.", ge=0,
        le=MAX_WAIT_S,
    )  # fmt: skip


@dg.op(description="Repeat a run; the metadata names what differs before, and afterwards.")
def repeat_run(context: dg.OpExecutionContext, config: ReplayConfig, plms: Plms) -> None:
    """Call the action that the terminal calls."""
    from datetime import timedelta
    from uuid import uuid4

    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.portfolio.policies import launcher_policy
    from plms_pipeline.runs.actions.replay import comparison_of, replay_run
    from plms_pipeline.runs.actions.start import StartPolicy
    from plms_pipeline.runs.service.opening import Opened
    from plms_pipeline.runs.service.waiting import wait_for_run

    settings = plms.settings()
    with no_retry_for_permanent_errors(), Opened(settings, plms.registry(), plms.clock()) as world:
        answer, checked = replay_run(
            world.registry,
            config.run_id,
            clock=world.clock,
            ids=lambda: str(uuid4()),
            actor=launch_actor(context.run.tags),
            key=config.idempotency_key or derived_key(root_of(context.run)),
            world=world.worlds.gathered(),
            stopped=world.dispatcher.stopped(),
            accept_drift=config.accept_drift,
            policy=StartPolicy(
                timedelta(seconds=settings.idempotency_ttl_seconds),
                settings.idempotency_keys,
                launcher_policy(settings),
            ),
        )
        world.dispatcher.tick()
        told: dict[str, Any] = {"run_id": answer.run_id, "differences": [str(one) for one in checked.differences]}
        if config.wait_s:
            ended = wait_for_run(world.registry, answer.run_id, wait_s=config.wait_s, steps=world.steps())
            told |= {"status": ended.status, "validation": ended.validation}
            if ended.has_ended:
                world.settler.close_due()
                told["comparison"] = comparison_of(world.registry, answer.run_id).as_json()
    context.add_output_metadata(
        {
            name: dg.MetadataValue.json(value) if isinstance(value, dict | list) else value
            for name, value in told.items()
        }
    )


@dg.job(
    name="replay_run",
    description="Repeat a run that has ended: inputs are compared with its passport before, files with the original's after.",
    tags={"dagster/max_runtime": str(MAX_WAIT_S + 300), "plms/effect": "spend"},
)
def replay_job() -> None:
    """One op."""
    repeat_run()


JOBS = [replay_job]
