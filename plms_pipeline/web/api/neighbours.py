"""While nobody needs a token, who else on this machine may ask?

With PLMS_AUTH=disabled the API serves loopback only, which keeps other machines out and lets every web page in: a page that
the user visits can post to 127.0.0.1, and a name of its own can be made to resolve there (DNS rebinding). So without tokens
the API answers to loopback names only, and changes nothing for a browser that comes from another site. Programs send neither
`Origin` nor `Sec-Fetch-Site` and notice nothing of this.
"""

from __future__ import annotations

from plms_pipeline.web.api.envelope import Refusal, Scope
from plms_pipeline.web.origins import SAFE_METHODS, host_refusal, origin_refusal, parse_allowed

LOOPBACK_NAMES = parse_allowed(("localhost", "127.0.0.1", "[::1]"))
_LOOKED_AT = (b"host", b"origin", b"sec-fetch-site")


def browser_refusal(scope: Scope) -> Refusal | None:
    """Why a request is refused that a browser may have been talked into, or None."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _LOOKED_AT:
            if name.decode() in headers:
                return Refusal(400, "doubled_header", f"The header {name.decode()} may occur only once.")
            headers[name.decode()] = value.decode("latin-1")
    if host_refusal(headers.get("host"), LOOPBACK_NAMES) is not None:
        return Refusal(
            403, "host_not_allowed", "With PLMS_AUTH=disabled this API answers to localhost and 127.0.0.1 only."
        )
    if scope["method"] in SAFE_METHODS or origin_refusal(headers) is None:
        return None
    return Refusal(403, "cross_origin", "With PLMS_AUTH=disabled nothing is changed for another site's page.")
