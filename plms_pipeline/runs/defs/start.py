"""Starting runs from the Dagster UI, and the net that hands over what nobody handed over."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import dagster as dg
from pydantic import Field

from plms_pipeline.letters.defs.jobs import root_of
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

MAX_WAIT_S = 3600
DISPATCH_EVERY_S = 30


class StartConfig(dg.Config):
    """What to start."""

    project_id: int = Field(description="The project; it must be approved.")
    run_kind: str = Field("baseline", description="baseline, rehearsal, replay or hotfix.")
    write_sandbox: bool = Field(False, description="Suppress the run's writes; not for a baseline.")
    idempotency_key: str = Field(
        "",
        description="A UUID that names this start; empty: one derived from this Dagster run, so a retry starts nothing twice.",
    )
    wait_s: int = Field(
        0, description=f"Wait so many seconds (at most {MAX_WAIT_S}) until the run has ended; 0 returns at once.", ge=0,
        le=MAX_WAIT_S,
    )  # fmt: skip


@dg.op(description="Start a run of a project, once per key; the metadata names run, passport and forecast.")
def start_run_of_project(context: dg.OpExecutionContext, config: StartConfig, plms: Plms) -> None:
    """Call the action that the HTTP endpoint and the terminal call."""
    from datetime import timedelta
    from uuid import uuid4

    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.listing import project_forecast
    from plms_pipeline.runs.actions.start import StartPolicy, start_run
    from plms_pipeline.runs.service.opening import Opened
    from plms_pipeline.runs.service.waiting import wait_for_run
    from plms_pipeline.runs.starting import StartRequest

    settings = plms.settings()
    body: dict[str, Any] = {"run_kind": config.run_kind, "write_sandbox": config.write_sandbox}
    with no_retry_for_permanent_errors(), Opened(settings, plms.registry(), plms.clock()) as world:
        answer = start_run(
            world.registry,
            clock=world.clock,
            ids=lambda: str(uuid4()),
            actor=launch_actor(context.run.tags),
            request=StartRequest(
                config.project_id,
                config.idempotency_key or derived_key(root_of(context.run)),
                run_kind=config.run_kind,
                write_sandbox=config.write_sandbox,
                body=body,
            ),
            world=world.worlds.gathered(),
            stopped=world.dispatcher.stopped(),
            policy=StartPolicy(timedelta(seconds=settings.idempotency_ttl_seconds), settings.idempotency_keys),
        )
        world.dispatcher.tick()
        told: dict[str, Any] = {"run_id": answer.run_id, "replayed": answer.replayed}
        if config.wait_s:
            ended = wait_for_run(world.registry, answer.run_id, wait_s=config.wait_s, steps=world.steps())
            told |= {"status": ended.status, "validation": ended.validation}
        forecast = project_forecast(world.registry, config.project_id)
    context.log.info(f"run_started run_id={answer.run_id} replayed={answer.replayed}")
    context.add_output_metadata(
        {
            "run_id": answer.run_id,
            "idempotent_replay": answer.replayed,
            "passport": dg.MetadataValue.path(str(settings.data_dir / answer.body["replay_passport_path"])),
            "provider_matrix": dg.MetadataValue.json(answer.body["provider_matrix"]),
            "job_cards": len(answer.body["pas_job_cards"]),
            **{f"forecast_{name}": value for name, value in forecast.items() if value is not None},
            **{name: value for name, value in told.items() if name in ("status", "validation")},
        }
    )


def derived_key(dagster_run_id: str) -> str:
    """The Idempotency-Key of a Dagster run that was given none: a retry of the run (its root is the same) repeats it."""
    return str(uuid5(NAMESPACE_URL, f"plms:start_project_run:{dagster_run_id}"))


@dg.job(
    name="start_project_run",
    description="Start a run of an approved project: fill in the project and launch. Nothing is ever started twice.",
    # plms/effect: what spends is held back in the queue while the kill switch is on.
    tags={"dagster/max_runtime": str(MAX_WAIT_S + 300), "plms/effect": "spend"},
)
def start_project_run() -> None:
    """One op."""
    start_run_of_project()


@dg.op(description="Hand over what is due to the executor, and write missing copies of passports.")
def hand_over(context: dg.OpExecutionContext, plms: Plms) -> None:
    """Tick until nothing moves."""
    from plms_pipeline.runs.service.opening import Opened

    with no_retry_for_permanent_errors(), Opened(plms.settings(), plms.registry(), plms.clock()) as world:
        announced = submitted = 0
        result = world.dispatcher.tick()
        while result.did_something:
            announced, submitted = announced + result.announced, submitted + result.submitted
            result = world.dispatcher.tick()
        restored = world.dispatcher.restore_copies()
    context.add_output_metadata(
        {
            "announced": announced,
            "submitted": submitted,
            "waiting": result.waiting,
            "restored_passports": len(restored),
            "executor_away": result.away or "no",
            "kill_switch": result.stopped or "off",
        }
    )


@dg.job(
    name="dispatch_cards",
    description="Hand over what is due now. `plms serve` does this at once after each start; this is the same, by hand.",
    tags={"dagster/max_runtime": "600", "plms/effect": "spend", "plms/exclusive": "dispatch"},
)
def dispatch_cards() -> None:
    """One op."""
    hand_over()


@dg.sensor(
    name="dispatch_queued_tasks",
    minimum_interval_seconds=DISPATCH_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="The net behind `plms serve`: hands over what is due, in the tick; launches nothing.",
)
def dispatch_queued_tasks(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SkipReason:
    """One bounded tick; what is left is due at the next."""
    from plms_pipeline.errors import Unavailable
    from plms_pipeline.portfolio.actions.status import queue_of
    from plms_pipeline.runs.service.opening import Opened

    try:
        with Opened(plms.settings(), plms.registry(), plms.clock()) as world:
            if not world.dispatcher.has_work():
                return dg.SkipReason("Nothing is due.")
            result = world.dispatcher.tick()
            why = why_tasks_wait(
                queue_of(
                    world.registry,
                    clock=world.clock,
                    flag=result.stopped,
                    limit=1000,
                    max_runs=world.settings.pas_max_runs,
                )
            )
    except Unavailable as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    context.update_cursor(world.clock.now().isoformat())
    return dg.SkipReason(
        f"announced {result.announced}, submitted {result.submitted}, waiting {result.waiting}"
        + (f", executor away: {result.away}" if result.away else "")
        + (f", kill switch: {result.stopped}" if result.stopped else "")
        + (f"; {why}" if why else "")
    )


def why_tasks_wait(waiting: list[Any]) -> str:
    """The obstacles in the way of tasks, each with how many it holds up."""
    from collections import Counter

    reasons = Counter(one.reason.code for one in waiting)
    return ", ".join(f"{count} wait: {code}" for code, count in reasons.most_common())


JOBS = [start_project_run, dispatch_cards]
SENSORS = [dispatch_queued_tasks]
