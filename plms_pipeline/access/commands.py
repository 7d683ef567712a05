"""`plms token`: keys and tokens for local use."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated
from uuid import uuid4

import typer

from plms_pipeline.access import files
from plms_pipeline.access.actors import local_actor
from plms_pipeline.access.roles import ROLES, scopes_of
from plms_pipeline.access.tokens import ALGORITHMS, Algorithm, issue
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.settings import Settings, load_settings

app = typer.Typer(help="Keys and tokens of the HTTP API.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_TTL = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@app.command(epilog="Example: plms token keys --rotate")
def keys(
    alg: Annotated[str, typer.Option(help="RS256 (a key pair) or HS256 (a shared secret).")] = "RS256",
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Replace the key that signs; the old one verifies for 7 more days.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the keys that sign and verify tokens."""
    settings = load_settings()
    made = files.make_keys(settings.data_dir, alg=_algorithm(alg), now=SystemClock().now(), rotate=rotate)
    if as_json:
        told = {"kid": made.current.kid, "alg": made.current.alg, "verifies": sorted(made.public)}
        typer.echo(json.dumps({**told, "public_keys": str(made.public_file)}))
        return
    typer.echo(f"Tokens are signed with key {made.current.kid} ({made.current.alg}) from now on.")
    if made.current.alg == "RS256":
        typer.echo(f"Others verify them with {made.public_file}.")


@app.command(name="issue", epilog="Example: plms token issue --role operator --subject ci --ttl 8h")
def issue_token(
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    subject: Annotated[str, typer.Option(help="The name of whoever will use it.")],
    ttl: Annotated[str, typer.Option(help="How long it is valid, for example 30m, 24h or 7d.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Issue a token; it is printed and kept nowhere."""
    settings, now = load_settings(), SystemClock().now()
    scopes = scopes_of(role)
    life = _life(ttl)
    token_id = str(uuid4())
    token = issue(
        files.signing_keys(settings.data_dir).current,
        subject=subject,
        role=role,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        now=now,
        ttl=life,
        token_id=token_id,
    )
    _remember(settings, subject, role, token_id, (now + life).isoformat())
    if as_json:
        told = {"token": token, "role": role, "scopes": sorted(scopes), "expires_at": (now + life).isoformat()}
        typer.echo(json.dumps({**told, "token_id": token_id}))
    else:
        typer.echo(token)


def _algorithm(text: str) -> Algorithm:
    for known in ALGORITHMS:
        if text.upper() == known:
            return known
    raise BadInput(f"{text!r} is no algorithm for tokens; choose one of {', '.join(ALGORITHMS)}.", code="bad_algorithm")


def _life(text: str) -> timedelta:
    found = _TTL.fullmatch(text.strip().lower())
    if found is None:
        raise BadInput(f"{text!r} is no life of a token; write 30m, 24h or 7d.", code="bad_ttl")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _remember(settings: Settings, subject: str, role: str, token_id: str, expires_at: str) -> None:
    """Write into the audit log that a token was issued; never the token."""
    from plms_pipeline.access.actions import record_token
    from plms_pipeline.registry.opening import opened

    details = {"role": role, "token_id": token_id, "expires_at": expires_at}
    with opened(settings) as registry:
        record_token(registry, at=SystemClock().now(), actor=local_actor(), subject=subject, details=details)
