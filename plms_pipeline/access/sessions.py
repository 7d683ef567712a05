"""How does a browser carry a token that no script may read?

In the cookie `plms_session`, which holds the token itself: it ends when the token ends, and is refused when the token's key
is withdrawn, without a table of sessions that could disagree with the keys. `HttpOnly` keeps scripts away from it,
`SameSite=Strict` other sites' pages. Neither stops a page of another port of the same host, for cookies and sites know no
ports: whoever takes a cookie for an identity must look at `Origin` before anything is changed (`web/origins.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from plms_pipeline.errors import BadInput, Unauthenticated

COOKIE = "plms_session"
# Browsers keep at least 4096 bytes of name, value and attributes together (RFC 6265), and many not one more.
MAX_COOKIE_CHARS = 3800


def token_of(cookies: Iterable[str]) -> str | None:
    """The token among the values of the `Cookie` headers of a request, or None.

    Raises:
        Unauthenticated: two different ones (`session_doubled`): another server of this host may have planted one of them.
    """
    found = {
        value.strip()
        for header in cookies
        for pair in header.split(";")
        for name, separator, value in [pair.partition("=")]
        if separator and name.strip() == COOKIE
    }
    if len(found) > 1:
        raise Unauthenticated(
            f"The request holds two different cookies {COOKIE}; remove this site's cookies and sign in again.",
            code="session_doubled",
        )
    return next(iter(found), "") or None


def cookie_for(token: str, *, expires_at: datetime, now: datetime, is_secure: bool) -> str:
    """The value of `Set-Cookie` that signs a browser in.

    Args:
        token: verified before.
        expires_at: when it ends.
        now: the present moment.
        is_secure: whether the browser came by https; the cookie then never leaves it otherwise.

    Raises:
        BadInput: the token is too long for a cookie (`token_too_long`).
    """
    if len(token) > MAX_COOKIE_CHARS:
        raise BadInput(
            f"The token has {len(token)} characters and a cookie holds {MAX_COOKIE_CHARS}; have one with fewer claims issued.",
            code="token_too_long",
        )
    life_s = max(0, int((expires_at - now).total_seconds()))
    return f"{COOKIE}={token}; Max-Age={life_s}{_attributes(is_secure=is_secure)}"


def ended_cookie(*, is_secure: bool) -> str:
    """The value of `Set-Cookie` that signs a browser out."""
    return f"{COOKIE}=; Max-Age=0{_attributes(is_secure=is_secure)}"


def came_by_https(scheme: str, origin: str | None) -> bool:
    """Whether a browser came by https, also when TLS ends at a proxy before us: its own `Origin` says so."""
    return scheme in ("https", "wss") or (origin or "").lower().startswith("https://")


def _attributes(*, is_secure: bool) -> str:
    return "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if is_secure else "")
