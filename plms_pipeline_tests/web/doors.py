"""Front doors for tests: with keys of their own, and whatever stands behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.hosts import parse_allowed
from plms_pipeline.access.principals import Principal, unchecked
from plms_pipeline.access.proxies import TrustedProxy
from plms_pipeline.access.tokens import Key, issue
from plms_pipeline.clock import FrozenClock
from plms_pipeline.web.guard import FrontDoor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLOCK = FrozenClock(NOW)
KEY = Key("tests", "HS256", b"0123456789abcdef" * 2)
ALLOWED = parse_allowed(["localhost", "127.0.0.1"])
HOST = ("host", "localhost:3000")
JSON = ("content-type", "application/json")
OURS = ("origin", "http://localhost:3000")
ADA = unchecked(Actor("local:ada"))


def token(role: str, subject: str | None = None, ttl: timedelta = timedelta(hours=1)) -> str:
    """A token that the doors below know."""
    return issue(
        KEY,
        subject=subject or f"a-{role}",
        role=role,
        issuer="plms",
        audience="plms-api",
        now=NOW,
        ttl=ttl,
        token_id="t",
    )


def keeper(everybody: Principal | None = None, proxy: TrustedProxy | None = None) -> Doorkeeper:
    """Who knows the tokens above."""
    keys = {KEY.kid: KEY}
    return Doorkeeper(lambda _now: keys, CLOCK, issuer="plms", audience="plms-api", everybody=everybody, proxy=proxy)


def open_door(app: Any, **options: Any) -> FrontDoor:
    """PLMS_AUTH=disabled: everybody is `local:ada`, unless told otherwise, and may do everything."""
    return FrontDoor(app, ALLOWED, keeper(options.pop("everybody", ADA)), CLOCK, **options)


def signed_door(app: Any, proxy: TrustedProxy | None = None, **options: Any) -> FrontDoor:
    """People sign in here."""
    return FrontDoor(app, ALLOWED, keeper(proxy=proxy), CLOCK, **options)


def session(role: str, subject: str | None = None) -> tuple[str, str]:
    """The header by which a signed-in browser is known."""
    return ("cookie", f"plms_session={token(role, subject)}")
