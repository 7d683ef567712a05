"""Rehearsing a project from the Dagster UI, and the look at canaries that have ended."""

from enum import Enum
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import dagster as dg
from pydantic import Field

from plms_pipeline.letters.defs.jobs import root_of
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

MAX_WAIT_S = 3600
LOOK_EVERY_S = 60


class Mode(Enum):
    """How to rehearse."""

    forecast = "forecast"
    canary = "canary"


class RehearseConfig(dg.Config):
    """What to rehearse."""

    project_id: int = Field(description="The project; for a canary it must be approved.")
    mode: Mode = Field(
        Mode.forecast,
        description="forecast: priced from the priors, nothing runs or is spent. canary: the sample really runs, writes "
        "suppressed, within the project's budget.",
    )
    rehearsal_pct: float = Field(
        0.01,
        description="Share of the tasks, above 0 and up to 1; raised up to 0.05 where a kind of work would be left out.",
    )
    seed: int = Field(-1, description="Draws the sample; -1: one derived from this Dagster run.")
    wait_s: int = Field(
        600, description=f"How long to wait for a canary to end (at most {MAX_WAIT_S}).", ge=0, le=MAX_WAIT_S
    )


@dg.op(
    description="Rehearse a stratified sample of a project; the metadata shows totals with 90 % intervals and risks."
)
def rehearse_project_sample(context: dg.OpExecutionContext, config: RehearseConfig, plms: Plms) -> None:
    """Call the actions that HTTP and the terminal call."""
    from uuid import uuid4

    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions import rehearse
    from plms_pipeline.runs.service.opening import Opened

    settings = plms.settings()
    # A retry of the Dagster run (its root is the same) repeats the same canary.
    key = str(uuid5(NAMESPACE_URL, f"plms:rehearse_project:{root_of(context.run)}"))
    actor = launch_actor(context.run.tags)
    seed = None if config.seed < 0 else config.seed
    with no_retry_for_permanent_errors():
        world = Opened(settings, plms.registry(), plms.clock())
        if config.mode is Mode.forecast:
            found = rehearse.rehearse_by_priors(
                world.registry, config.project_id, pct=config.rehearsal_pct, seed=seed, clock=world.clock,
                ids=lambda: str(uuid4()), actor=actor, alpha=settings.alpha,
            )  # fmt: skip
        else:
            found = _canary(world, config, key, seed, actor)
        world.close()
    context.add_output_metadata(metadata_of(found.answer))


def _canary(world: Any, config: RehearseConfig, key: str, seed: int | None, actor: Any) -> Any:
    from datetime import timedelta
    from uuid import uuid4

    from plms_pipeline.runs.actions import rehearse
    from plms_pipeline.runs.actions.start import StartPolicy
    from plms_pipeline.runs.service.waiting import wait_for_run

    settings = world.settings
    started = rehearse.start_canary(
        world.registry, config.project_id, key=key, pct=config.rehearsal_pct, seed=seed, clock=world.clock,
        ids=lambda: str(uuid4()), actor=actor, world=world.worlds.gathered(), stopped=world.dispatcher.stopped(),
        policy=StartPolicy(timedelta(seconds=settings.idempotency_ttl_seconds), "uuid"),
    )  # fmt: skip
    if started.is_running and started.run_id is not None and config.wait_s:
        wait_for_run(world.registry, started.run_id, wait_s=config.wait_s, steps=world.steps())
    return rehearse.looked_at(
        world.registry, started.rehearsal_id, clock=world.clock, alpha=settings.alpha, replayed=started.replayed
    )


def metadata_of(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as Dagster shows it."""
    shown: dict[str, Any] = {
        "rehearsal_id": answer["rehearsal_id"], "state": answer["state"], "seed": answer["seed"], **answer["sampling_metrics"],
        "warnings": dg.MetadataValue.md("\n".join(f"- {warning}" for warning in answer["warnings"]) or "none"),
    }  # fmt: skip
    if answer["run_id"] is not None:
        shown["run_id"] = answer["run_id"]
    if "simulation_results" in answer:
        results = answer["simulation_results"]
        whole = results["extrapolated_full"]
        lines = ["| measure | sample | whole project | 90 % interval |", "|---|---:|---:|---|"]
        for measure in ("tokens", "duration_ms", "cost_usd"):
            low, high = whole["ci_90"][measure]
            lines.append(f"| {measure} | {results['rehearsal_actual'][measure]} | {whole[measure]} | {low} … {high} |")
        shown["totals"] = dg.MetadataValue.md("\n".join(lines))
        shown["risk_factors"] = dg.MetadataValue.json(results["risk_factors"])
        shown["risk_score"] = answer["risk_score"]
    return shown


@dg.job(
    name="rehearse_project",
    description="What will a project take? A stratified sample of it, priced from the priors or really run, extrapolated with "
    "90 % intervals.",
    tags={"dagster/max_runtime": str(MAX_WAIT_S + 300), "plms/effect": "spend"},
)
def rehearse_project() -> None:
    """One op."""
    rehearse_project_sample()


@dg.sensor(
    name="canary_ended",
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Puts together the answers of canaries whose runs have ended, in the tick; launches nothing.",
)
def canary_ended(context: dg.SensorEvaluationContext, plms: Plms) -> dg.SkipReason:
    """At most 20 a tick; what is left is due at the next."""
    from plms_pipeline.errors import Unavailable
    from plms_pipeline.runs.actions.rehearse import finish_canaries

    try:
        done = finish_canaries(plms.registry(), clock=plms.clock(), alpha=plms.settings().alpha)
    except Unavailable as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if done:
        context.update_cursor(plms.clock().now().isoformat())
    return dg.SkipReason(f"{done} canaries finished." if done else "No canary has ended.")


JOBS = [rehearse_project]
SENSORS = [canary_ended]
