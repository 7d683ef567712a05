"""Which requests may a browser have been talked into?

With tokens: whatever a cookie or a proxy says the sender of, because neither is the sender's own doing. Such a request changes
something only when it comes from our own pages; a request with `Authorization` was made by a program that holds the token.

With PLMS_AUTH=disabled the API serves loopback only, which keeps other machines out and lets every web page in: a page that
the user visits can post to 127.0.0.1, and a name of its own can be made to resolve there (DNS rebinding). So without tokens
the API answers to loopback names only, and changes nothing for a browser that comes from another site. Programs send neither
`Origin` nor `Sec-Fetch-Site` and notice nothing of this. The page of metrics is open with tokens, too, and is told to names
that somebody allowed.
"""

from __future__ import annotations

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.hosts import Authority, parse_allowed, why_not_scraped
from plms_pipeline.web.api.envelope import Refusal, Scope
from plms_pipeline.web.origins import SAFE_METHODS, host_refusal, origin_refusal

SESSION_PATH = "/api/session"
METRICS_PATH = "/metrics"
LOOPBACK_NAMES = parse_allowed(("localhost", "127.0.0.1", "[::1]"))
_LOOKED_AT = (b"host", b"origin", b"sec-fetch-site")


def browser_refusal(scope: Scope) -> Refusal | None:
    """Why a request is refused while nobody needs a token, or None."""
    headers, doubled = _looked_at(scope)
    if doubled is not None:
        return doubled
    if host_refusal(headers.get("host"), LOOPBACK_NAMES) is not None:
        return Refusal(
            403, "host_not_allowed", "With PLMS_AUTH=disabled this API answers to localhost and 127.0.0.1 only."
        )
    if scope["method"] in SAFE_METHODS or origin_refusal(headers) is None:
        return None
    return Refusal(403, "cross_origin", "With PLMS_AUTH=disabled nothing is changed for another site's page.")


def session_refusal(door: Doorkeeper, scope: Scope) -> Refusal | None:
    """Why a request is refused whose sender a cookie or a proxy names, or None. Signing in and out is always looked at."""
    if scope["method"] in SAFE_METHODS or not (scope["path"] == SESSION_PATH or door.is_ambient(scope)):
        return None
    headers, doubled = _looked_at(scope)
    if doubled is not None:
        return doubled
    if origin_refusal(headers) is None:
        return None
    return Refusal(403, "cross_origin", "A session changes something only for this server's own pages.")


def scrape_refusal(scope: Scope, allowed: frozenset[Authority]) -> Refusal | None:
    """Why the page of metrics, for which nobody needs a token, is not told, or None."""
    if scope["path"] != METRICS_PATH:
        return None
    headers, doubled = _looked_at(scope)
    if doubled is not None:
        return doubled
    told = why_not_scraped(headers.get("host"), allowed)
    return None if told is None else Refusal(403, "host_not_allowed", told)


def _looked_at(scope: Scope) -> tuple[dict[str, str], Refusal | None]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _LOOKED_AT:
            if name.decode() in headers:
                return headers, Refusal(400, "doubled_header", f"The header {name.decode()} may occur only once.")
            headers[name.decode()] = value.decode("latin-1")
    return headers, None
