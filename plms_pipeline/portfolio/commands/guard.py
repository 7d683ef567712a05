"""`plms guard status | enforce | done | reset`: what a person may start outside an approved project.

    lease=$(plms guard enforce --cost 0.50) && ./work && plms guard done "$lease" --cost 0.31

The place belongs to the process that called `enforce` (a shell, a scheduler): when that dies, the next `enforce` gives the
place to somebody else. Behind a pipe or in parentheses that is a subshell, which ends at once: `--owner $$` names the shell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import uuid4

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.portfolio.policies import LauncherPolicy, launcher_policy
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def guard() -> None:
    """Kill switch, concurrency, rate and budget of what is started outside an approved project."""


@dataclass(frozen=True, slots=True)
class _Opened:
    settings: Settings
    registry: Registry
    clock: SystemClock
    policy: LauncherPolicy

    def flag(self) -> str | None:
        """The reason of the flag file, or None."""
        return flag_reason(self.settings.data_dir)


@contextmanager
def _opened() -> Iterator[_Opened]:
    settings = load_settings()
    with opened(settings) as registry:
        yield _Opened(settings, registry, SystemClock(), launcher_policy(settings))


@app.command(epilog="Example: plms guard status --json. Exit 0 whether or not anything goes on.")
def status(as_json: AsJson = False) -> None:
    """What the guards say now."""
    from plms_pipeline.portfolio.actions.guards import guard_status

    with _opened() as world:
        found = guard_status(world.registry, clock=world.clock, policy=world.policy, flag=world.flag)
    told = found.as_json()
    if as_json:
        typer.echo(json.dumps(told))
        return
    reasons = "; ".join(told["killswitch_reasons"])
    typer.echo(f"kill switch  {f'ON: {reasons}' if told['killswitch'] else 'off'}")
    if told["killswitch_elsewhere"]:
        typer.echo(f"  of lanes and projects only: {'; '.join(told['killswitch_elsewhere'])}")
    typer.echo(f"concurrency  {told['concurrency']['taken']} of {told['concurrency']['limit']}")
    for lease in told["leases"]:
        typer.echo(f"  {lease['lease']}  {lease['holder']}  since {lease['since'][:19]}")
    typer.echo(f"rate         {found.rate_per_s:g} per second, {found.tokens:.2f} now")
    budget = told["budget"]
    typer.echo(
        f"budget       {budget['account']}: settled {budget['settled_usd']}, reserved {budget['reserved_usd']}, "
        f"left {budget['left_usd']} of {budget['limit_usd']} USD"
    )


@app.command(
    epilog="Example: lease=$(plms guard enforce --cost 0.50 --owner $$). Exit: 0 it may start, 1 a guard refuses, 2 bad use, "
    "4 the registry is away."
)
def enforce(
    cost: Annotated[str, typer.Option(help="What it will take at most, in USD.")] = "0",
    owner: Annotated[
        int | None, typer.Option(help="Process id of whoever starts it; default: the caller.", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pass the guards, or not; prints the lease that `plms guard done` gives back.

    The lease lasts as long as the process that calls this (or --owner). Called inside a pipe or a subshell, that is the
    subshell, and the lease ends with it: give --owner $$ there, the process id of your shell.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.instance.process import is_dead, owner_of
    from plms_pipeline.portfolio.actions import guards
    from plms_pipeline.portfolio.guarding import Refusal

    with _opened() as world:
        answer = guards.enforce(
            world.registry, clock=world.clock, ids=lambda: str(uuid4()), policy=world.policy, flag=world.flag,
            actor=local_actor(), holder=owner_of(owner), cost_usd=_amount(cost), is_dead=is_dead,
        )  # fmt: skip
    if isinstance(answer, Refusal):
        raise answer.error()
    told = {"lease": answer.lease_id, "reserved_usd": str(answer.reserved_usd), "until": answer.expires_at.isoformat()}
    typer.echo(json.dumps(told) if as_json else answer.lease_id)


@app.command(
    epilog='Example: plms guard done "$lease" --cost 0.31. Exit: 0 settled, 2 no such lease, 4 the registry is away.'
)
def done(
    lease: Annotated[str, typer.Argument(help="What `plms guard enforce` printed.")],
    cost: Annotated[str | None, typer.Option(help="What it really took, in USD; default: what was reserved.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give the place back and settle what was spent.

    What a lease took that was reset or has ended since is charged all the same, once.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.portfolio.actions.guards import finish, shown_usd

    spent = None if cost is None else _amount(cost)
    with _opened() as world:
        done_ = finish(world.registry, lease, clock=world.clock, actor=local_actor(), spent_usd=spent)
    overrun = done_.overrun_usd
    if as_json:
        typer.echo(json.dumps({"lease": lease, "overrun_usd": str(overrun), "ended": done_.ended}))
    elif done_.ended is not None:
        typer.echo(
            f"The lease had ended before ({done_.ended}); {shown_usd(overrun)} USD more are charged all the same."
        )
    elif overrun:
        typer.echo(f"It took {shown_usd(overrun)} USD more than was reserved; all of it is charged.")
    else:
        typer.echo("Settled.")


@app.command(epilog='Example: plms guard reset --reason "the build server was reinstalled"')
def reset(
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    as_json: AsJson = False,
) -> None:
    """Give back every lease of the launcher with its reservation; what was spent stays spent.

    A run that goes on (a replay of a completed project) keeps its place and its reservation, because it goes on spending; they
    end with the run. `plms run cancel RUN_ID` calls it off.
    """
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.portfolio.actions import guards
    from plms_pipeline.portfolio.actions.guards import shown_usd

    with _opened() as world:
        given = guards.reset(world.registry, clock=world.clock, actor=local_actor(), reason=reason)
    if as_json:
        told = {"places": given.places, "freed_usd": str(given.freed_usd), "kept_runs": list(given.kept_runs)}
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{given.places} places and {shown_usd(given.freed_usd)} USD are free again.")
    for run_id in given.kept_runs:
        typer.echo(
            f"Run {run_id} goes on and keeps its place and reservation; `plms run cancel {run_id}` calls it off."
        )


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BadInput(f"{text[:40]!r} is no amount; give dollars such as 0.25.", code="bad_amount") from None
