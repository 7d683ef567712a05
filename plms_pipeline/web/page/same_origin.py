"""Was this write of a browser sent by our own page?

A browser sends along by itself whatever says who its user is: a session cookie, or nothing at all where nobody needs a token.
`web/api/neighbours.py` asks where such a write came from; here it must besides be what no form and no link of another site can
send without asking first: JSON, and a header of ours. So one check that is fooled is not all that stands between another site
and the kill switch. A program sends neither `Origin` nor `Sec-Fetch-Site`, and notices nothing of this.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.web.api.envelope import Refusal, Scope
from plms_pipeline.web.origins import SAFE_METHODS

PAGE_HEADER: Final = b"x-plms-page"
_TYPE: Final = b"content-type"
_BROWSERS: Final = frozenset({b"origin", b"sec-fetch-site"})


def page_refusal(scope: Scope, *, is_ambient: bool) -> Refusal | None:
    """Why a browser's write is refused, or None.

    Args:
        is_ambient: whether the browser says who sends the request without its user's doing.
    """
    if scope["method"] in SAFE_METHODS or not is_ambient:
        return None
    headers = {name: value for name, value in scope["headers"] if name in _BROWSERS or name in (_TYPE, PAGE_HEADER)}
    if not _BROWSERS & headers.keys():
        return None
    media_type = headers.get(_TYPE, b"").partition(b";")[0].strip().lower()
    if PAGE_HEADER in headers and media_type in (b"", b"application/json"):
        return None
    return Refusal(
        403,
        "not_from_the_page",
        "A browser changes something only by JSON with the header X-PLMS-Page, as this server's own page sends it.",
    )
