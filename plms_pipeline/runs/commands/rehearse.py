"""`plms run rehearse`: what a project will take, from a sample, from a terminal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.errors import BadInput
from plms_pipeline.settings import load_settings

MODES = ("forecast", "canary")


def register(app: typer.Typer) -> None:
    """Add the command to `plms run`."""
    app.command(
        epilog="Example: plms run rehearse 42 --mode canary --pct 0.05 --seed 7. Exit: 0 representative, 1 not representative, "
        "refused or failed, 2 bad use, 4 the registry is away, or for a canary the executor."
    )(rehearse)


def rehearse(
    project_id: Annotated[int, typer.Argument(help="The project.", min=1, max=2**31 - 1, show_default=False)],
    mode: Annotated[
        str, typer.Option(help="forecast: priced from the priors. canary: the sample really runs, writes suppressed.")
    ] = "forecast",
    pct: Annotated[float, typer.Option(help="Share of the tasks, above 0 and up to 1.")] = 0.01,
    seed: Annotated[
        int | None, typer.Option(help="Draws the sample; a new one when omitted, told in the answer.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key of a canary. Default: a new UUID.")] = None,
    wait_s: Annotated[float, typer.Option(help="How long to wait for a canary to end, in seconds.", min=0)] = 3600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rehearse a stratified sample of a project and extrapolate to the whole, with 90 % intervals."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions import rehearse as actions
    from plms_pipeline.runs.service.opening import opened
    from plms_pipeline.runs.service.waiting import Ended, require_executor
    from plms_pipeline.runs.starting import repeatable

    if mode not in MODES:
        raise BadInput(f"{mode!r} is no mode of rehearsal; use {' or '.join(MODES)}.", code="bad_mode")
    ended: Ended | None = None
    with opened(load_settings()) as world:
        if mode == "forecast":
            found = actions.rehearse_by_priors(
                world.registry, project_id, pct=pct, seed=seed, clock=world.clock, ids=lambda: str(uuid4()),
                actor=local_actor(), alpha=world.settings.alpha,
            )  # fmt: skip
        else:
            given = key or str(uuid4())
            with repeatable(given):
                found, ended = _canary(world, project_id, pct, seed, given, wait_s)
        if as_json:
            typer.echo(json.dumps(found.answer))
        else:
            _print(found.answer)
        if ended is not None:
            require_executor(ended, world.client.health)
    if found.state != "done" or not found.answer["sampling_metrics"]["is_representative"]:
        raise typer.Exit(1)


def _canary(world: Any, project_id: int, pct: float, seed: int | None, key: str, wait_s: float) -> tuple[Any, Any]:
    """The canary as it stands after the waiting, and its run, if it was waited for."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions import rehearse as actions
    from plms_pipeline.runs.actions.start import StartPolicy
    from plms_pipeline.runs.service.waiting import wait_for_run

    settings = world.settings
    started = actions.start_canary(
        world.registry, project_id, key=key, pct=pct, seed=seed, clock=world.clock, ids=lambda: str(uuid4()),
        actor=local_actor(), world=world.worlds.gathered(), stopped=world.dispatcher.stopped(),
        policy=StartPolicy(timedelta(seconds=settings.idempotency_ttl_seconds), settings.idempotency_keys),
    )  # fmt: skip
    ended = None
    if started.is_running and started.run_id is not None:
        ended = wait_for_run(world.registry, started.run_id, wait_s=wait_s, steps=world.steps())
    found = actions.looked_at(
        world.registry, started.rehearsal_id, clock=world.clock, alpha=settings.alpha, replayed=started.replayed
    )
    return found, ended


def _print(answer: dict[str, Any]) -> None:
    metrics = answer["sampling_metrics"]
    word = "representative" if metrics["is_representative"] else "NOT representative"
    typer.echo(
        f"{answer['mode']} of project {answer['project_id']}: {metrics['n_sample']} of {metrics['n_total']} tasks "
        f"({metrics['actual_pct']:.1%}), {metrics['strata_coverage']:.1%} of {metrics['n_strata']} strata, {word}; "
        f"seed {answer['seed']}"
    )
    for name in ("run_id", "run_status", "validation"):
        if answer.get(name) is not None:
            typer.echo(f"{name:12} {answer[name]}")
    results = answer.get("simulation_results")
    if results is None:
        typer.echo(f"state        {answer['state']} (`plms run show {answer['run_id']}`)")
    else:
        _print_results(results, answer["risk_score"])
    for warning in answer["warnings"]:
        typer.echo(f"warning      {warning}")


_NAMES: Final = {"tokens": "tokens", "duration_ms": "time", "cost_usd": "cost"}


def _print_results(results: dict[str, Any], risk_score: float) -> None:
    table = Table("measure", "sample", "whole project", "90 % interval")
    whole = results["extrapolated_full"]
    for measure in ("tokens", "duration_ms", "cost_usd"):
        low, high = whole["ci_90"][measure]
        table.add_row(
            _NAMES[measure],
            _shown(results["rehearsal_actual"][measure], measure),
            _shown(whole[measure], measure),
            f"{_shown(low, measure)} … {_shown(high, measure)}",
        )
    Console(markup=False, emoji=False).print(table)
    typer.echo(f"risk_score   {risk_score}")
    for factor in results["risk_factors"]:
        typer.echo(f"risk         lane {factor['lane'] or 'all'}: {factor['issue']} ({_told(factor)})")


def _told(factor: dict[str, Any]) -> str:
    """A risk factor as people read it: what is measured by its name, a width as so many times the estimate."""
    said = []
    for name, value in factor.items():
        if name == "measure":
            said.append(_NAMES.get(value, str(value)))
        elif name == "ci_width_pct":
            said.append(f"the interval is {value:.2g} times the estimate wide")
        elif name not in ("lane", "issue"):
            said.append(f"{name} {value}")
    return ", ".join(said)


def _shown(value: float | None, measure: str) -> str:
    if value is None:
        return "unknown"
    if measure == "duration_ms":
        minutes = value / 60_000
        return f"{minutes / 60:,.1f} h" if minutes >= 120 else f"{minutes:,.1f} min"
    if measure == "cost_usd":
        return f"${value:,.2f}" if value >= 10 else f"${value:,.4f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.4f}"
