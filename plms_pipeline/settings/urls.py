"""What is an address, and how much of it may be shown?"""

from __future__ import annotations

from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Whether a text is a whole http:// or https:// address, with a host and no port that cannot be."""
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    return parts.scheme in ("http", "https") and has_place and text.isascii() and text.isprintable() and " " not in text


def masked(value: str) -> str:
    """A secret as it may be shown: for a URL everything but user info and query, otherwise only asterisks.

    A password may hold `@`, `?` and `/` although it should not; where it is unclear what is password and what is host,
    nothing after the scheme is shown.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        return "********"
    rest, question, query = rest.partition("?")
    if "@" in query:
        return f"{scheme}://***"
    _, at, host = rest.rpartition("@")
    return f"{scheme}://" + ("***@" if at else "") + host + ("?***" if question else "")


def without_path(url: str) -> str:
    """A URL of which scheme and host alone are shown, because its path is the secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/***"
