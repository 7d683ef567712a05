"""Did this request come from our own pages, or does another site use the browser of somebody who may?

A server on loopback is not private: every page that the user visits can send requests to it, and a name that an
attacker controls can be made to resolve to 127.0.0.1 (DNS rebinding). The obvious defence, "it listens on localhost
only", stops neither. The rules here are those of Datasette (`Sec-Fetch-Site`, else `Origin` against `Host`), of
https://web.dev/articles/fetch-metadata, and an allow-list of host names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plms_pipeline.access.hosts import Authority, parse_authority

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away: HTTP status, stable code, one sentence for people."""

    status: int
    code: str
    detail: str
    allow: str | None = None


def host_refusal(host: str | None, allowed: frozenset[Authority]) -> Refusal | None:
    """Refuse a request that was not addressed to one of our names."""
    authority = parse_authority(host) if host is not None else None
    if authority is not None and (authority in allowed or Authority(authority.host, None) in allowed):
        return None
    return Refusal(
        403,
        "host_not_allowed",
        f"This server does not answer to the host {host!r}. Open it by a name in PLMS_UI_ALLOWED_HOSTS.",
    )


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header names the server that `Host` names. The scheme only implies the port: TLS may end
    at a proxy before us."""
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme.lower() not in DEFAULT_PORTS:
        return False
    ours, theirs = parse_authority(host), parse_authority(rest)
    if ours is None or theirs is None:
        return False
    implied = DEFAULT_PORTS[scheme.lower()]
    return (ours.host, ours.port or implied) == (theirs.host, theirs.port or implied)


def origin_refusal(headers: Mapping[str, str]) -> Refusal | None:
    """Refuse a request that changes something, or a WebSocket, unless it comes from our own pages.

    Programs send neither `Sec-Fetch-Site` nor `Origin` and are let through: they need no browser's help to connect.
    A browser always sends `Origin` with a cross-site POST and with a WebSocket, and cannot be told to omit it.

    Args:
        headers: lower-case names; each that is looked at here occurs at most once (the guard sees to it).
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    same_site = site is None or site == "same-origin"
    same_origin = origin is None or is_same_origin(origin, headers.get("host", ""))
    if same_site and same_origin:
        return None
    return Refusal(
        403,
        "cross_origin",
        f"Only this server's own pages may do this; the request came from {origin or site!r}.",
    )


def embedding_refusal(method: str, headers: Mapping[str, str]) -> Refusal | None:
    """Refuse what another site fetches in the background; a link that a person follows is let through."""
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return None
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    if method in ("GET", "HEAD") and followed:
        return None
    return Refusal(403, "cross_site", "Another site asked for this in the background; open the page yourself instead.")
