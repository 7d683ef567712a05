"""`plms dlq`: what failed for good or waits to be tried again, from a terminal.

`inspect`, `retry` and `retry-all` stand in `runs/letters/commands.py`, because only a higher domain knows runs. Reasons
are printed as plain text without markup; what a terminal would obey was taken out when they were kept.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from plms_pipeline.letters.actions.showing import Shown
from plms_pipeline.letters.reasons import cleaned
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

app = typer.Typer(help="What failed, when it is tried again, and what was put aside.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[
    str,
    typer.Argument(
        help="A letter's id or the run that failed, each or its beginning; or the event or effect.", show_default=False
    ),
]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept.", show_default=False)]


@app.callback()
def dlq() -> None:
    """Dead letters: TRANSIENT ones are retried three times, with growing waits; PERMANENT and POLICY ones never."""


@app.command(epilog="Example: plms dlq status --state permanent --json. Exit: 0.")
def status(
    state: Annotated[Shown, typer.Option(help="List letters in this state; open: what is owed.")] = "open",
    limit: Annotated[int, typer.Option(help="List at most so many letters.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """How many letters there are, what is owed, how often retries help, and which causes there are."""
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.letters.actions import showing

    with opened(load_settings()) as registry:
        found = showing.status(registry, clock=SystemClock(), limit=limit, states=showing.states_of(state))
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    states = " ".join(f"{state}={n}" for state, n in found.by_state.items())
    typer.echo(f"backlog {found.backlog} (due now {found.due})   {states}")
    helped = "no retry has ended yet"
    if found.retry_success is not None:
        helped = (
            f"{found.helped} of {found.over} letters whose retries are over were helped ({found.retry_success:.0%})"
        )
    since = f"; the oldest fails since {found.oldest_open_at:%Y-%m-%d %H:%M:%S}" if found.oldest_open_at else ""
    typer.echo(helped + since)
    console = Console(markup=False, emoji=False)
    if found.groups:
        # `quarantine --fingerprint` wants the whole of it.
        others = (Column(name, overflow="fold") for name in ("kind", "class", "letters", "owed", "one reason"))
        table = Table(Column("fingerprint", no_wrap=True), *others)
        for group in found.groups:
            table.add_row(
                group.fingerprint, group.kind, group.error_class, str(group.letters), str(group.open_letters),
                group.example[:100],
            )  # fmt: skip
        console.print(table)
    if found.letters:
        print_letters(list(found.letters))


@app.command(
    "reset-retries",
    epilog='Example: plms dlq reset-retries 3f2b8c1e --reason "the provider is back". Exit: 0, 1 refused, 2 there is none.',
)
def reset(
    name: Name,
    reason: Why,
    transient: Annotated[
        bool, typer.Option("--transient", help="What was taken for PERMANENT may be tried again. POLICY never may.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a letter that was put aside or used up its retries begin anew, due now."""
    from plms_pipeline.letters.actions.deciding import reset_retries

    _decide(lambda **who: reset_retries(name=name, reason=reason, is_transient=transient, **who), as_json=as_json)


@app.command(
    "mark-permanent",
    epilog='Example: plms dlq mark-permanent 3f2b8c1e --reason "wrong plan". Exit: 0 done, 1 it is already or its '
    "retry is under way, 2 there is none.",
)
def permanent(name: Name, reason: Why, as_json: AsJson = False) -> None:
    """Put a letter aside for good: it is not retried any more, and never cleaned away."""
    from plms_pipeline.letters.actions.deciding import mark_permanent

    _decide(lambda **who: mark_permanent(name=name, reason=reason, **who), as_json=as_json)


@app.command(epilog="Example: plms dlq clean --days 30 --dry-run. Exit: 0.")
def clean(
    days: Annotated[int, typer.Option(help="Keep what was done within so many days.", min=0)] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove letters that are done. What is owed, set apart or permanent is never touched."""
    from plms_pipeline.letters.actions import deciding

    with opened(load_settings()) as registry:
        done = deciding.clean(registry, **_who(), days=days, is_dry=dry_run)
    told = {"removed": done.removed, "ended_before": done.ended_before.isoformat(), "dry_run": done.is_dry}
    word = "would be removed" if dry_run else "removed"
    typer.echo(
        json.dumps(told) if as_json else f"{done.removed} letters {word} (done before {done.ended_before:%F %T})"
    )


@app.command(
    epilog='Example: plms dlq quarantine --fingerprint 0a1b2c3d4e5f6071 --reason "one provider". Exit: 0 done, 1 nothing '
    "is owed for the letter, 2 bad use or no such letter, 3 no such fingerprint."
)
def quarantine(
    reason: Why,
    letter: Annotated[str | None, typer.Option(help="Just this letter.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="All letters of this cause that are owed.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole backlog.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set letters apart until somebody has looked; `reset-retries` brings one back."""
    from plms_pipeline.errors import BadInput
    from plms_pipeline.letters.actions import deciding

    if sum((letter is not None, fingerprint is not None, everything)) != 1:
        raise BadInput("Say which: --letter, --fingerprint or --all.", code="bad_usage")
    with opened(load_settings()) as registry:
        moved = deciding.quarantine(registry, **_who(), reason=reason, name=letter, fingerprint=fingerprint)
    typer.echo(json.dumps({"quarantined": moved}) if as_json else f"{len(moved)} letters set apart")


def print_letters(letters: list[Letter]) -> None:
    """Two lines for each letter: its id and what failed are what people copy, and in a table they would be cut."""
    for one in letters:
        due = f", due {one.next_due_at:%m-%d %H:%M:%S}" if one.next_due_at and one.state == "ready" else ""
        typer.echo(f"{one.letter_id}  {one.error_class} {one.state}, tries {one.attempts}/{one.max_attempts}{due}")
        typer.echo(f"  {one.kind} {cleaned(one.run_id or one.subject_id)}: {one.reason[:300]}")


def _decide(change: Any, *, as_json: bool) -> None:
    from plms_pipeline.letters.actions import showing

    with opened(load_settings()) as registry:
        letter = change(registry=registry, **_who())
    if as_json:
        typer.echo(json.dumps(showing.as_json(letter), ensure_ascii=False))
    else:
        print_letters([letter])


def _who() -> dict[str, Any]:
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock

    return {"clock": SystemClock(), "actor": local_actor()}
