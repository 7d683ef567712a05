"""`plms run replay` and `plms run compare`, from a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any
from uuid import uuid4

import typer

from plms_pipeline.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `plms run`."""
    app.command(
        epilog="Example: plms run replay 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --wait. Exit: 0 started (with --check: nothing "
        "differs; with --wait: it produced the same files), 1 refused or different, 4 the registry or the executor is away."
    )(replay)
    app.command(
        epilog="Example: plms run compare 5b1c54d8-3a6c-4f5c-8a0c-1f0a6b9d7e21 --json. Exit: 0 the same files, 1 others, 3 not "
        "ended yet."
    )(compare)


def replay(
    run_id: Annotated[str, typer.Argument(help="The run to repeat; it must have ended.")],
    key: Annotated[str | None, typer.Option(help="Idempotency-Key; default: a new UUID.")] = None,
    accept_drift: Annotated[
        bool, typer.Option("--accept-drift", help="Start it although plan or providers are not what they were.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say what differs; start nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and compare the files.")] = False,
    wait_s: Annotated[float, typer.Option(help="With --wait: at most so many seconds.", min=0)] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Repeat a run: its inputs are compared with its passport before, its files with the original's afterwards."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.portfolio.policies import launcher_policy
    from plms_pipeline.runs.actions.replay import check_replay, replay_run
    from plms_pipeline.runs.actions.start import StartPolicy
    from plms_pipeline.runs.service.opening import opened
    from plms_pipeline.runs.service.waiting import Ended, require_executor
    from plms_pipeline.runs.starting import repeatable

    given = key or str(uuid4())
    with opened(load_settings()) as world, repeatable(given):
        if check:
            checked = check_replay(world.registry, run_id, world=world.worlds.gathered())
            _print_differences([asdict(one) for one in checked.differences], as_json=as_json)
            raise typer.Exit(1 if checked.refusing else 0)
        answer, checked = replay_run(
            world.registry,
            run_id,
            clock=world.clock,
            ids=lambda: str(uuid4()),
            actor=local_actor(),
            key=given,
            world=world.worlds.gathered(),
            stopped=world.dispatcher.stopped(),
            accept_drift=accept_drift,
            policy=StartPolicy(
                timedelta(seconds=world.settings.idempotency_ttl_seconds),
                world.settings.idempotency_keys,
                launcher_policy(world.settings),
            ),
        )
        told: dict[str, Any] = {
            "run_id": answer.run_id, "replay_of": run_id, "idempotent_replay": answer.replayed,
            "differences": [asdict(one) for one in checked.differences],
        }  # fmt: skip
        if wait:
            told |= _waited(world, answer.run_id, wait_s)
        else:
            world.dispatcher.write_copies()
        _print_replay(told, as_json=as_json)
        if ended := told.get("ended"):
            require_executor(Ended(**ended), world.client.health)
    if wait and not told.get("comparison", {}).get("is_identical"):
        raise typer.Exit(1)


def compare(
    run_id: Annotated[str, typer.Argument(help="A replay.")],
    as_json: AsJson = False,
) -> None:
    """Compare the files of a replay with those of its original."""
    from plms_pipeline.runs.actions.replay import comparison_of
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        found = comparison_of(world.registry, run_id).as_json()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print_comparison(found)
    if not found["is_identical"]:
        raise typer.Exit(1)


def _waited(world: Any, run_id: str, wait_s: float) -> dict[str, Any]:
    from plms_pipeline.runs.actions.replay import comparison_of
    from plms_pipeline.runs.service.waiting import wait_for_run

    ended = wait_for_run(world.registry, run_id, wait_s=wait_s, steps=world.steps())
    told: dict[str, Any] = {"ended": asdict(ended)}
    if ended.has_ended:
        world.settler.close_due()
        world.dispatcher.tick()
        told["comparison"] = comparison_of(world.registry, run_id).as_json()
    return told


def _print_replay(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"run      {told['run_id']} (replay of {told['replay_of']})")
    if told["differences"]:
        _print_differences(told["differences"], as_json=False)
    if ended := told.get("ended"):
        typer.echo(f"status   {ended['status']} {ended['validation']}")
    if comparison := told.get("comparison"):
        _print_comparison(comparison)


def _print_differences(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"differences": found}))
    elif not found:
        typer.echo("Nothing differs: a replay works on the same inputs.")
    for one in () if as_json else found:
        word = "differs" if one["refuses"] else "noted"
        typer.echo(f"{word:8} {one['what']}: {one['then'] or 'nothing'} then, {one['now'] or 'nothing'} now")


def _print_comparison(found: dict[str, Any]) -> None:
    counts = ", ".join(f"{found[f'n_{name}']} {name}" for name in ("same", "different", "missing", "extra"))
    typer.echo(f"files    {counts}")
    for name in ("different", "missing", "extra"):
        for path in found[name][:20]:
            typer.echo(f"  {name:9} {path}")
