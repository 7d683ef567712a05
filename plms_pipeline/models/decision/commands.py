"""`plms model`: candidates that wait, what is decided about them, what serves and what served, from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.actions.deciding import Places

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept for ever.")]
Family = Annotated[str, typer.Option(help="market or estimates.")]
CandidateArgument = Annotated[str, typer.Argument(help="The candidate's id: that of its training run.")]
FAMILIES = ("market", "estimates")


def register(app: typer.Typer) -> None:
    """Add the commands to `plms model`."""
    app.command("list", epilog="Example: plms model list --state waiting --json")(list_)
    app.command(epilog="Example: plms model show 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json")(show)
    app.command(
        epilog="Example: plms model decide 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 approve --role risk_lead --reason holds --json"
    )(decide)
    app.command(epilog="Example: plms model promote 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json")(promote)
    app.command(epilog="Example: plms model rollback --reason 'it loses money' --json")(rollback)
    app.command(epilog="Example: plms model history --at 2026-03-01T12:00:00Z --json")(history)
    app.command(epilog="Example: plms model expire --json")(expire)
    halts = typer.Typer(help="What stops the promotions of a family, and how it is lifted.", no_args_is_help=True)
    halts.command("list", epilog="Example: plms model halts list --json")(halts_list)
    halts.command(
        epilog="Example: plms model halts lift 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --reason 'feeds are right'"
    )(lift)
    app.add_typer(halts, name="halts")
    guardrails = typer.Typer(
        help="Guardrails of serving: while they are off nothing is promoted.", no_args_is_help=True
    )
    guardrails.command("on", epilog="Example: plms model guardrails on --reason 'tested'")(guardrails_on)
    guardrails.command("off", epilog="Example: plms model guardrails off --reason 'a replay without limits'")(
        guardrails_off
    )
    app.add_typer(guardrails, name="guardrails")


def new_id() -> str:
    """A new random id."""
    return str(uuid4())


def _places(settings: Settings) -> Places:
    from plms_pipeline.models.actions.deciding import Places

    return Places(settings.data_dir, settings.reports_dir)


def _say(line: str) -> None:
    """Print a line in which people's words stand: they may hold what a terminal obeys, or what looks like a line of ours."""
    typer.echo("".join(sign if sign.isprintable() else "?" for sign in line))


def _family(name: str) -> str:
    from plms_pipeline.errors import BadInput

    if name not in FAMILIES:
        raise BadInput(
            f"{name[:40]!r} is no family of models; there are {' and '.join(FAMILIES)}.", code="unknown_family"
        )
    return name


def _json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def list_(
    state: Annotated[str | None, typer.Option(help="Only these: waiting, approved, promoted, expired, …")] = None,
    family: Annotated[str | None, typer.Option(help="Only market or estimates.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Candidates, newest first."""
    from plms_pipeline.errors import BadInput
    from plms_pipeline.models.actions.showing import listed
    from plms_pipeline.registry.tables.vocabulary import CANDIDATE_STATES

    if state is not None and state not in CANDIDATE_STATES:
        raise BadInput(f"{state[:40]!r} is no state; there are {', '.join(CANDIDATE_STATES)}.", code="unknown_state")
    with opened(load_settings(), read_only=True) as registry:
        found = listed(registry, family=None if family is None else _family(family), state=state, limit=limit)
    if as_json:
        _json({"candidates": [one.as_json() for one in found]})
        return
    if not found:
        typer.echo("There is no such candidate; `plms retrain` trains one.")
    for one in found:
        typer.echo(
            f"{one.created_at:%Y-%m-%d %H:%M}  {one.candidate_id}  {one.family}  {one.state.replace('_', ' ')}  "
            f"recommended: {one.action.replace('_', ' ')}  gates {'passed' if one.gates_passed else 'FAILED'}"
        )


def show(candidate_id: CandidateArgument, as_json: AsJson = False) -> None:
    """One candidate: what the tree recommends, what keeps it from going live now, what was decided about it."""
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.showing import show as look
    from plms_pipeline.models.records import WAITING

    settings = load_settings()
    with opened(settings, read_only=True) as registry:
        found = look(registry, settings.data_dir, candidate_id, clock=SystemClock())
    if as_json:
        _json(found.as_json())
        return
    one, said = found.candidate, found.recommendation
    typer.echo(f"{one.candidate_id}: {one.family}, {one.state.replace('_', ' ')}, trial {one.trials} on its data")
    typer.echo(f"  folder {settings.data_dir / one.folder}")
    typer.echo(f"  model {one.bytes.model}\n  summary {one.bytes.evaluation}\n  data {one.bytes.data}")
    waits = f"; waits until {one.expires_at:%Y-%m-%d %H:%M} UTC" if one.state == WAITING else ""
    _say(f"  launched by {one.requested_by}{waits}")
    typer.echo(f"Recommended: {said.action.replace('_', ' ')}. {said.sentence}")
    for line in said.escalations:
        typer.echo(f"  {line.owner.replace('_', ' ')}: {line.trigger}: {line.todo}")
    for blocker in found.blockers:
        _say(f"  BLOCKED {blocker.code}: {blocker.sentence}")
    for row in found.decisions:
        _say(f"  {row.decided_at:%Y-%m-%d %H:%M} {row.decision} by {row.actor} ({row.role}): {row.reason[:200]}")


def decide(
    candidate_id: CandidateArgument,
    decision: Annotated[str, typer.Argument(help="approve, approve_with_caps, request_retrain, reject or halt.")],
    role: Annotated[str, typer.Option(help="In which you decide; only the risk_lead signs an approval.")],
    reason: Why,
    cap: Annotated[
        list[str] | None, typer.Option(help="For approve_with_caps, such as max_gross_exposure=0.5; may be repeated.")
    ] = None,
    evidence: Annotated[
        str | None, typer.Option(help="SHA-256 of the summary that you read; another is refused.")
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Leave what is approved for the sensor to promote.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide about a candidate; what is approved is promoted at once, in a step of its own."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.deciding import decide_candidate
    from plms_pipeline.models.actions.promotion import promote as carry_out
    from plms_pipeline.models.decision.words import APPROVALS

    settings, actor, clock = load_settings(), local_actor(), SystemClock()
    with opened(settings) as registry:
        done = decide_candidate(
            registry, candidate_id=candidate_id, decision=decision, reason=reason, actor=actor, role=role,
            places=_places(settings), clock=clock, ids=new_id, caps=_caps(cap), evidence_sha256=evidence,
            key=settings.approval_key, auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
        promoted = (
            carry_out(
                registry, root=settings.data_dir, candidate_id=candidate_id, actor=actor, clock=clock, ids=new_id,
                key=settings.approval_key,
            )
            if decision in APPROVALS and not leave
            else None
        )  # fmt: skip
    if as_json:
        _json({**done.as_json(), "champion": None if promoted is None else promoted.champion.as_json()})
        return
    typer.echo(f"{decision}: decision {done.decision_id}; candidate {candidate_id} is {done.candidate.state}")
    if promoted is not None:
        typer.echo(f"It serves {promoted.champion.family} as number {promoted.champion.sequence}.")


def _caps(given: list[str] | None) -> dict[str, float] | None:
    from plms_pipeline.errors import BadInput

    caps = {}
    for text in given or []:
        name, _, value = text.partition("=")
        try:
            caps[name.strip()] = float(value)
        except ValueError:
            raise BadInput(
                f"--cap {text[:60]!r}: write name=number, such as max_turnover=0.5.", code="bad_cap"
            ) from None
    return caps or None


def promote(candidate_id: CandidateArgument, as_json: AsJson = False) -> None:
    """Promote what was approved; done twice it changes nothing."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.promotion import promote as carry_out

    settings = load_settings()
    with opened(settings) as registry:
        done = carry_out(
            registry, root=settings.data_dir, candidate_id=candidate_id, actor=local_actor(), clock=SystemClock(),
            ids=new_id, key=settings.approval_key,
        )  # fmt: skip
    if as_json:
        _json(done.as_json())
        return
    is_new = "now" if done.is_new else "already"
    typer.echo(f"{candidate_id} {is_new} serves {done.champion.family} as number {done.champion.sequence}")


def rollback(
    reason: Why,
    family: Family = "market",
    to: Annotated[str | None, typer.Option(help="A candidate that served once; default: the one before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring back the champion before the present one, after its files were compared; also while guardrails are off.

    Exit 1: there is none before it, or its files are others. 3: nothing was ever promoted, or its files are gone.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.promotion import rollback as bring_back

    settings = load_settings()
    with opened(settings) as registry:
        done = bring_back(
            registry, places=_places(settings), family=_family(family), reason=reason, actor=local_actor(),
            clock=SystemClock(), ids=new_id, to=to,
        )  # fmt: skip
    if as_json:
        _json(done.as_json())
        return
    typer.echo(f"{done.champion.candidate_id} serves {family} again, as number {done.champion.sequence}")
    for warning in done.warnings:
        typer.echo(f"  WARNING {warning}")


def history(
    family: Family = "market",
    at: Annotated[str | None, typer.Option(help="Only what was live at this moment, ISO 8601 with a zone.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """What served when, newest first. Exit 3: nothing did."""
    from plms_pipeline.errors import NoData
    from plms_pipeline.models.actions.showing import history as served

    with opened(load_settings(), read_only=True) as registry:
        found = served(registry, _family(family), at=_moment(at), limit=limit)
    if not found:
        raise NoData(f"Nothing of {family} served{' then' if at else ' yet'}.", code="no_champion")
    if as_json:
        _json({"history": [one.as_json() for one in found]})
        return
    for one in found:
        caps = f"  caps {json.dumps(one.caps)}" if one.caps else ""
        _say(
            f"{one.sequence:>4}  {one.promoted_at:%Y-%m-%d %H:%M:%S}  {one.kind}  {one.candidate_id}  {one.promoted_by}{caps}"
        )


def _moment(text: str | None) -> Any:
    from datetime import datetime

    from plms_pipeline.errors import BadInput

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadInput(
            f"--at {text[:40]!r}: write a moment with its zone, such as 2026-03-01T12:00:00Z.", code="bad_moment"
        )
    return moment


def expire(as_json: AsJson = False) -> None:
    """End the candidates whose time is over; the sensor decision_recorded does it within half a minute."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.expiry import expire as end

    with opened(load_settings()) as registry:
        ended = end(registry, clock=SystemClock(), actor=local_actor())
    if as_json:
        _json({"expired": list(ended)})
        return
    typer.echo(f"{len(ended)} expired" + "".join(f"\n  {one}" for one in ended))


def halts_list(family: Family = "market", as_json: AsJson = False) -> None:
    """Halts that nobody lifted, and whether the guardrails are on."""
    from plms_pipeline.models.actions.showing import stops

    with opened(load_settings(), read_only=True) as registry:
        found, switch = stops(registry, _family(family))
    if as_json:
        _json({"halts": [one.as_json() for one in found], "guardrails": switch.as_json()})
        return
    for one in found:
        _say(f"{one.halt_id}  since {one.halted_at:%Y-%m-%d %H:%M} by {one.halted_by}: {one.reason[:200]}")
    _say(f"{len(found)} halts; guardrails are {'on' if switch.enabled else f'OFF by {switch.by}: {switch.reason}'}")


def lift(
    halt_id: Annotated[str, typer.Argument(help="The halt's id, from `plms model halts list`.")],
    reason: Why,
    as_json: AsJson = False,
) -> None:
    """Let the family be promoted again."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.deciding import lift_halt

    settings = load_settings()
    with opened(settings) as registry:
        done = lift_halt(
            registry, halt_id=halt_id, reason=reason, actor=local_actor(), places=_places(settings), clock=SystemClock(),
            ids=new_id, auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    _json(done.as_json()) if as_json else typer.echo(f"lifted: {done.family} can be promoted again")


def guardrails_on(reason: Why, family: Family = "market", as_json: AsJson = False) -> None:
    """Turn the guardrails of serving on."""
    _turn(family, reason, enabled=True, as_json=as_json)


def guardrails_off(reason: Why, family: Family = "market", as_json: AsJson = False) -> None:
    """Turn the guardrails of serving off; nothing is promoted meanwhile, and somebody is told."""
    _turn(family, reason, enabled=False, as_json=as_json)


def _turn(family: str, reason: str, *, enabled: bool, as_json: bool) -> None:
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.deciding import turn_guardrails

    settings = load_settings()
    with opened(settings) as registry:
        done = turn_guardrails(
            registry, enabled=enabled, reason=reason, actor=local_actor(), places=_places(settings), clock=SystemClock(),
            ids=new_id, family=_family(family),
        )  # fmt: skip
    _json(done.as_json()) if as_json else typer.echo(f"guardrails of {family} are {'on' if enabled else 'off'}")
