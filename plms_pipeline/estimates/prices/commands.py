"""`plms prices set | list`: what providers charge, as decisions."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import uuid4

import typer

from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def prices() -> None:
    """What providers charge; forecasts of costs follow where tokens are known."""


@app.command(
    "set", epilog='Example: plms prices set openai/gpt-4 --input 10 --output 30 --from 2026-03-01 --reason "new list"'
)
def set_(
    provider: Annotated[str, typer.Argument(help="The provider, as its receipts name it.")],
    input_usd: Annotated[str, typer.Option("--input", help="USD per million input tokens.")],
    output_usd: Annotated[str, typer.Option("--output", help="USD per million output tokens.")],
    from_on: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first UTC day.")],
    reason: Annotated[str, typer.Option(help="Why; kept for ever.")],
    as_json: AsJson = False,
) -> None:
    """Decide what a provider charges from a day on; says per lane what that does to the costs of before."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.estimates.prices.actions import set_price

    with opened(load_settings()) as registry:
        done = set_price(
            registry, provider, input_usd=_amount(input_usd), output_usd=_amount(output_usd), from_on=from_on.date(),
            reason=reason, actor=local_actor(), clock=SystemClock(), ids=lambda: str(uuid4()),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(done.as_json()))
        return
    typer.echo(f"{done.provider}: {input_usd} in, {output_usd} out per million tokens from {done.from_on}.")
    for lane, one in sorted(done.lanes.items()):
        of = f"{one.with_tokens} of {one.receipts} receipts know their tokens"
        typer.echo(
            f"lane {lane}: {of}; " + ("not re-priced" if one.factor is None else f"costs times {one.factor:.3g}")
        )
    if not done.lanes:
        typer.echo(f"No receipt of it from before {done.from_on} knows a cost: nothing is re-priced.")


@app.command("list", epilog="Example: plms prices list --provider openai/gpt-4 --json")
def list_(provider: Annotated[str | None, typer.Option(help="Only this one.")] = None, as_json: AsJson = False) -> None:
    """Prices that were decided upon, newest day first."""
    from plms_pipeline.estimates.prices.actions import prices as listed

    with opened(load_settings()) as registry:
        found = listed(registry, provider=provider)
    if as_json:
        typer.echo(json.dumps({"prices": found}))
        return
    for one in found:
        typer.echo(
            f"{one['from']}  {one['provider']}: {one['input_usd_per_mtok']:g} in, {one['output_usd_per_mtok']:g} out per "
            f"million tokens (by {one['by']})"
        )


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise BadInput(f"{text!r} is no amount in dollars.", code="bad_use") from error
