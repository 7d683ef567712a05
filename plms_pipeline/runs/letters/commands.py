"""`plms dlq inspect`, `retry` and `retry-all`, beside the commands that only need the letters."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from plms_pipeline.letters.actions.retrying import WORDS, Round
from plms_pipeline.letters.commands import AsJson, Name, app
from plms_pipeline.letters.reasons import cleaned
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

__all__ = ["app"]


@app.command(epilog="Example: plms dlq inspect 3f2b8c1e --json. Exit: 0 found, 2 there is none.")
def inspect(name: Name, as_json: AsJson = False) -> None:
    """One letter, with everything that is kept of it, the runs that it is about, and what people decided and why."""
    from plms_pipeline.letters.actions import showing
    from plms_pipeline.letters.actions.deciding import letter_named
    from plms_pipeline.runs.letters.actions import runs_of

    with opened(load_settings()) as registry:
        letter = letter_named(registry, name)
        found = showing.as_json(letter)
        if letter.kind == "run":
            found["runs"] = dict(runs_of(registry, letter))
        found["decisions"] = showing.decisions_about(registry, letter)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    decisions = found.pop("decisions")
    for key, value in found.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        typer.echo(f"{key}: {'' if shown is None else shown}")
    for one in decisions:
        why = "" if one["why"] is None else f": {one['why']}"
        typer.echo(f"decided: {one['at'][:19]} {cleaned(one['by'])} {one['what']}{why}")


@app.command(
    epilog="Example: plms dlq retry 3f2b8c1e. Exit: 0 its retry is under way or not needed, 1 refused or failed again, 2 "
    "there is none, 4 the registry is away."
)
def retry(name: Name, as_json: AsJson = False) -> None:
    """Try one letter again now, without waiting for its moment; the retry counts."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.letters.actions.deciding import letter_named, require_retryable
    from plms_pipeline.runs.letters.actions import require_here
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        letter = letter_named(world.registry, name)
        require_retryable(letter)
        require_here(letter)
        done = world.retrier.retry_now(letter, actor=local_actor())
        world.dispatcher.write_copies()
    _tell(done, as_json=as_json)
    if done.count("begun") + done.count("recovered") != 1:
        raise typer.Exit(1)


@app.command(
    "retry-all",
    epilog="Example: plms dlq retry-all --json. Exit: 0 every letter had its turn (also when there is none), 1 some could not "
    "be begun.",
)
def retry_all(
    now: Annotated[bool, typer.Option("--now", help="Also those that wait for their moment.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 1000,
    as_json: AsJson = False,
) -> None:
    """Try everything again that is due, the longest due first; one that fails does not end the round."""
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        done = world.retrier.tick(is_forced=now, limit=limit)
        world.dispatcher.write_copies()
    _tell(done, as_json=as_json)
    if done.count("failed") + done.count("given_up"):
        raise typer.Exit(1)


def _tell(done: Round, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_counts(done), "letters": [asdict(line) for line in done.lines]}, ensure_ascii=False))
        return
    typer.echo(" ".join(f"{word}={n}" for word, n in _counts(done).items()))
    for line in done.lines:
        typer.echo(f"{line.letter_id}  {line.word}")
        typer.echo(f"  {line.kind} {cleaned(line.subject_id)}: {cleaned(line.said)[:300]}")


def _counts(done: Round) -> dict[str, Any]:
    return {word: done.count(word) for word in WORDS}
