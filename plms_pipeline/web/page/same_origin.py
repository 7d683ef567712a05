"""Was this write sent by our own page, or by somebody who makes a browser send it?

A browser sends along by itself whatever says who its user is: a session cookie, or nothing at all where nobody needs a token.
So a write of a browser whose identity comes by itself must come from our own origin, which `web/origins.py` looks at, and must
besides be what no form and no link of another site can send without asking first: JSON, and a header of ours. A program sends
neither `Origin` nor `Sec-Fetch-Site`, and one with a bearer token proves by it that it means what it sends.
"""

from __future__ import annotations

from plms_pipeline.web.api.envelope import Refusal, Scope
from plms_pipeline.web.origins import SAFE_METHODS, origin_refusal

PAGE_HEADER = b"x-plms-page"
COOKIE = b"plms_session="
_BROWSERS = (b"origin", b"sec-fetch-site")
_LOOKED_AT = (b"host", b"authorization", b"content-type", PAGE_HEADER, *_BROWSERS)


def page_refusal(scope: Scope, *, is_open: bool) -> Refusal | None:
    """Why a browser's write is refused, or None.

    Args:
        is_open: whether everybody comes in without a token (PLMS_AUTH=disabled).
    """
    if scope["method"] in SAFE_METHODS:
        return None
    headers: dict[bytes, bytes] = {}
    has_session = False
    for name, value in scope["headers"]:
        if name in _LOOKED_AT:
            if name in headers:
                return Refusal(400, "doubled_header", f"The header {name.decode()} may occur only once.")
            headers[name] = value
        elif name == b"cookie" and COOKIE in value:
            has_session = True
    is_ambient = is_open or (has_session and b"authorization" not in headers)
    if not is_ambient or not any(name in headers for name in _BROWSERS):
        # A cookie without any header of a browser is a program that was given one.
        return None
    named = {name.decode(): value.decode("latin-1") for name, value in headers.items()}
    if origin_refusal(named) is not None:
        return Refusal(403, "cross_origin", "Nothing is changed for another site's page; open this server's own page.")
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if PAGE_HEADER not in headers or (media_type and media_type != b"application/json"):
        return Refusal(
            403, "not_from_the_page",
            "A browser changes something only by JSON with the header X-PLMS-Page, as this server's own page sends it.",
        )  # fmt: skip
    return None
