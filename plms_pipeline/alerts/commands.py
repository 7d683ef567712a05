"""`plms alerts list | show | log | test | ack | silence | unsilence`: what is wrong, who was told, and who has it in hand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import uuid4

import typer

from plms_pipeline.alerts.inputs import INPUTS
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened

app = typer.Typer(help="What is wrong, who was told of it, and who has it in hand.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[
    str,
    typer.Argument(
        help="An alert's id or its beginning (4 characters); or a rule or subject with one alert.", show_default=False
    ),
]
Why = Annotated[str, typer.Option("--reason", help="Why; kept for ever.", show_default=False)]


@app.callback()
def alerts() -> None:
    """Alerts: rules over budgets, lanes, evidence, nights and Dagster; messages to Slack, PagerDuty, mail and tickets."""


@contextmanager
def _opened() -> Iterator[Any]:
    from plms_pipeline.alerts.service import Alerts
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.settings import load_settings

    settings = load_settings()
    with opened(settings) as registry, Alerts(settings, registry, SystemClock()) as world:
        yield world


@contextmanager
def _books() -> Iterator[tuple[Any, Any, Any]]:
    """Settings, registry and clock, for whoever only reads: also while the rules make no sense."""
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.settings import load_settings

    settings = load_settings()
    with opened(settings) as registry:
        yield settings, registry, SystemClock()


@app.command(
    name="list",
    epilog="Example: plms alerts list --check. Exit: 0; with --check 1 when something fires; 4 the registry is away.",
)
def list_(
    is_all: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="The rules, and where each goes.")] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="What rules can look at.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when something fires.")] = False,
    as_json: AsJson = False,
) -> None:
    """What fires, what is silenced, and whether every source is read."""
    from plms_pipeline.alerts.actions import showing
    from plms_pipeline.alerts.actions.opening import problem_of
    from plms_pipeline.alerts.service import FILES

    if inputs:
        table = {one.name: {"unit": one.unit, "source": one.source, "meaning": one.meaning} for one in INPUTS.values()}
        lines = [f"{name:26} {one['unit']:8} {one['meaning']}" for name, one in table.items()]
        typer.echo(json.dumps({"inputs": table}) if as_json else "\n".join(lines))
        return
    if rules:
        with _opened() as world:
            told = [showing.rule_json(rule, world.engine.routing) for rule in world.engine.rules.values()]
            lines = [
                f"{one['severity']}  {one['rule']:24} {one['condition']:44} → {', '.join(one['route'])}" for one in told
            ]
            configured = ", ".join(sorted(world.channels))
            typer.echo(json.dumps({"rules": told, "channels": sorted(world.channels)}) if as_json
                       else "\n".join([*lines, f"channels that are configured: {configured}"]))  # fmt: skip
            return
    with _books() as (settings, registry, clock):
        found = showing.overview(registry, clock=clock, also_over=is_all)
        refused = problem_of(settings)
    wrong = [line for line in showing.unread(found) if refused is None or not line.startswith(f"{FILES}: ")]
    if refused is not None:
        wrong.append(
            f"{FILES}: {refused} What was read last goes on to count where it was read; nothing can begin with it."
        )
    if as_json:
        typer.echo(json.dumps({**found.as_json(), "unread_sources": wrong}))
    else:
        _print(found, wrong)
    if check and any(state.is_open for state in found.alerts):
        raise typer.Exit(1)


def _print(found: Any, wrong: list[str]) -> None:
    for state in found.alerts:
        since = "" if state.crossed_at is None else f" since {state.crossed_at:%Y-%m-%d %H:%M}"
        who = f", {state.acked_by} has it" if state.state == "acked" else ""
        name = str(state.episode_id or "-")[:8]
        typer.echo(f"{state.severity}  {state.state:8} {name:8}  {state.rule:22} {state.subject}{since}{who}")
        if state.detail:
            typer.echo(f"      {state.detail[:160]}")
    if not found.alerts:
        typer.echo("Nothing fires.")
    listed = sum(state.state in found.counts for state in found.alerts)
    if (in_all := sum(found.counts.values())) > listed:
        typer.echo(f"… and {in_all - listed} more: {in_all} in all, of which {found.counts['firing']} nobody has")
    for one in found.silences:
        typer.echo(
            f"silenced until {one['until'][:16]}: {one['rule']} {one['subject']} ({one['reason'][:80]}) {one['silence_id'][:8]}"
        )
    for line in wrong:
        typer.echo(f"not read: {line}")
    counts = found.deliveries
    stuck = f", {len(found.stuck)} stuck" if found.stuck else ""
    typer.echo(f"messages: {counts['done']} sent, {counts['pending']} waiting, {counts['dead']} given up{stuck}")


@app.command(epilog="Example: plms alerts show 4f1c0a2e. Exit: 0, 2 there is no such alert.")
def show(name: Name, as_json: AsJson = False) -> None:
    """One alert: what it did, and what went to whom."""
    from plms_pipeline.alerts.actions.showing import details

    with _books() as (_, registry, _clock):
        told = details(registry, name)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['severity']} {told['rule']} {told['subject']}: {told['state']} ({told['alert_id']})")
    if told["detail"]:
        typer.echo(f"  {told['detail']}")
    typer.echo(f"  runbook {told['runbook']}")
    for event in told["events"]:
        typer.echo(f"  {event['at'][:19]}  {event['kind']:10} by {event['actor']}")
    for sent in told["deliveries"]:
        _print_sent(sent, "  ")


@app.command(epilog="Example: plms alerts log --limit 50. Exit: 0.")
def log(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many of the newest.")] = 20,
    is_dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """What went to whom."""
    from plms_pipeline.alerts.actions import showing

    with _books() as (_, registry, _clock):
        told = showing.log(registry, limit=limit, only=frozenset({"dead"}) if is_dead else None)
    if as_json:
        typer.echo(json.dumps({"deliveries": told}))
        return
    for sent in told:
        _print_sent(sent, "")


def _print_sent(sent: dict[str, Any], margin: str) -> None:
    why = f": {sent['error']}" if sent["error"] else ""
    typer.echo(
        f"{margin}{sent['created_at'][:19]}  {sent['kind']:9} {sent['severity']} {sent['rule']:22} → {sent['channel']} "
        f"({sent['recipient']}) {sent['state']}, {sent['attempts']} attempts{why}"
    )


@app.command(
    name="test",
    epilog="Example: plms alerts test chat. Exit: 0 taken by everybody, 1 not taken, 2 no such channel or rule, 4 the registry "
    "is away.",
)
def send_test(
    target: Annotated[
        str | None, typer.Argument(help="A channel (chat, mail:owner); all that are configured when omitted.")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="To wherever this rule goes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a test message the way of every other: through the deliveries."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.alerts.actions.deciding import try_out

    if target is not None and rule is not None:
        raise BadInput("Name a channel or a rule, not both.", code="bad_usage")
    with _opened() as world:
        if dry_run:
            owed = try_out(world.engine, target=target, rule=rule, ids=_ids, actor=local_actor(), is_dry=True)
            typer.echo(
                json.dumps({"would_send": [_would(one) for one in owed]}) if as_json else "\n".join(map(_told, owed))
            )
            return
        owed = try_out(world.engine, target=target, rule=rule, ids=_ids, actor=local_actor())
        wanted = {one.key for one in owed}
        said = _sent(world, wanted)
    if as_json:
        typer.echo(json.dumps({"deliveries": said}))
    else:
        for one in said:
            _print_sent(one, "")
    if any(one["state"] != "done" for one in said):
        raise typer.Exit(1)


def _would(one: Any) -> dict[str, str]:
    return {"channel": one.recipient.channel, "recipient": one.recipient.address, "text": one.message.headline}


def _told(one: Any) -> str:
    return "{channel} ({recipient}): {text}".format(**_would(one))


def _sent(world: Any, keys: set[str]) -> list[dict[str, Any]]:
    """Send what is due until these have been tried; another process may be faster."""
    from plms_pipeline.alerts.actions import showing

    until_s = time.monotonic() + 20
    while True:
        world.deliver()
        said = [one for one in showing.log(world.engine.registry, limit=200) if one["delivery_key"] in keys]
        if all(one["state"] != "pending" or one["error"] for one in said) or time.monotonic() > until_s:
            return said
        time.sleep(0.2)


@app.command(
    epilog='Example: plms alerts ack 4f1c0a2e --reason "raising the budget". Exit: 0, 1 it does not fire, 2 no such alert.'
)
def ack(
    name: Name,
    reason: Why,
    group: Annotated[bool, typer.Option("--group", help="Everything that was told together with it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say that you have it in hand: nobody further is told."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.alerts.actions.deciding import acknowledge
    from plms_pipeline.alerts.actions.showing import alert_json

    with _opened() as world:
        acked = acknowledge(world.engine, name, ids=_ids, actor=local_actor(), reason=reason, is_whole_group=group)
    if as_json:
        typer.echo(json.dumps({"acknowledged": [alert_json(state) for state in acked]}))
        return
    for state in acked:
        typer.echo(f"{state.rule} {state.subject} is yours ({state.acked_by}); it is told again when it is over.")


@app.command(
    epilog='Example: plms alerts silence lane_busy_95 --subject lane:6100 --for 2h --reason "planned". Exit: 0, 2 bad use.'
)
def silence(
    rule: Annotated[str, typer.Argument(help="A rule; * for all rules about --subject.", show_default=False)],
    reason: Why,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d; 30 days at most.", show_default=False)],
    subject: Annotated[str, typer.Option(help="Only about this subject, such as project:42.")] = "*",
    as_json: AsJson = False,
) -> None:
    """Keep messages back for a while; what still fires afterwards is told then."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.alerts.actions import deciding
    from plms_pipeline.alerts.spans import span_of

    try:
        span = span_of(lasts)
    except ValueError as error:
        raise BadInput(f"--for {lasts[:20]!r}: {error}.", code="bad_silence") from None
    with _opened() as world:
        made = deciding.silence(
            world.engine, rule=rule, subject=subject, lasts=span, ids=_ids, actor=local_actor(), reason=reason
        )
    typer.echo(
        json.dumps(made.as_json()) if as_json else f"{made.silence_id}: quiet until {made.until:%Y-%m-%d %H:%M} UTC."
    )
    if made.note and not as_json:
        typer.echo(f"  note: {made.note}")


@app.command(epilog='Example: plms alerts unsilence 1b2c3d4e --reason "done early". Exit: 0, 2 no such silence.')
def unsilence(
    name: Annotated[str, typer.Argument(help="A silence's id or its beginning.", show_default=False)],
    reason: Why,
    as_json: AsJson = False,
) -> None:
    """End a silence now."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.alerts.actions import deciding

    with _books() as (_, registry, clock):
        ended = deciding.unsilence(registry, name, clock=clock, ids=_ids, actor=local_actor(), reason=reason)
    typer.echo(json.dumps(ended.as_json()) if as_json else f"{ended.silence_id} has ended.")


def _ids() -> str:
    return str(uuid4())
