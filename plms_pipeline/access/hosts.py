"""By which name was a server asked, and is that name one of its own?

A page that no token guards is not private on loopback or behind a firewall: a web page that somebody inside visits can have a
name of its own resolve to this machine (DNS rebinding), and then reads what is answered as if it were its own. The browser says
in `Host` which name it was, so what is open is answered to names that somebody allowed. An address is no name: whoever asks by
an address asks from a page of that address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from plms_pipeline.errors import BadInput

WsgiApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LOCAL_NAME: Final = "localhost"
VARIABLE: Final = "PLMS_METRICS_HOSTS"


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and port as they stand in `Host` or `Origin`; the port may be implied."""

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """Split `host[:port]`, IPv6 in brackets; None when it is anything else."""
    if not text or not text.isascii() or any(mark in text for mark in "/\\@?#, \t") or text != text.strip():
        return None
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or not inside or (rest and not rest.startswith(":")):
            return None
        return _authority(f"[{inside.lower()}]", rest[1:], has_port=bool(rest))
    host, colon, port = text.partition(":")
    return _authority(host.lower(), port, has_port=bool(colon)) if host else None


def _authority(host: str, port: str, *, has_port: bool) -> Authority | None:
    if not has_port:
        return Authority(host, None)
    if not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return None
    return Authority(host, int(port))


def parse_allowed(entries: Iterable[str]) -> frozenset[Authority]:
    """Host names that the door answers to. An entry without a port holds for every port.

    Raises:
        ValueError: an entry is not `host` or `host:port`; the message names it. A wildcard is not a host.
    """
    allowed = set()
    for entry in entries:
        authority = parse_authority(entry)
        if authority is None or "*" in entry:
            raise ValueError(f"{entry!r} is not a host name or host:port")
        allowed.add(authority)
    return frozenset(allowed)


def metrics_hosts(text: str) -> frozenset[Authority]:
    """The names of PLMS_METRICS_HOSTS.

    Raises:
        BadInput: it holds something else than host names.
    """
    try:
        return parse_allowed(entry.strip() for entry in text.split(",") if entry.strip())
    except ValueError as error:
        raise BadInput(
            f"{VARIABLE}: {error}; give names separated by commas, for example plms.example.org,exporter:9464.",
            code="bad_setting",
        ) from None


def why_not_scraped(host: str | None, allowed: frozenset[Authority]) -> str | None:
    """Why a page of metrics is not told to whoever asks for it by this `Host`; None when it is.

    Args:
        host: the header; None when there is none, or more than one.
        allowed: beside `localhost` and every address.
    """
    authority = parse_authority(host) if host is not None else None
    if authority is not None:
        name = authority.host
        if name == LOCAL_NAME or _is_address(name) or authority in allowed or Authority(name, None) in allowed:
            return None
    return (
        f"Metrics are told to whoever asks by address, as localhost, or by a name in {VARIABLE}, and not to the host "
        f"{(host or '')[:100]!r}."
    )


def guarded_page(app: WsgiApp, allowed: frozenset[Authority]) -> WsgiApp:
    """A WSGI application that tells metrics, for those only who ask by a name that is allowed."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refusal = why_not_scraped(environ.get("HTTP_HOST"), allowed)
        if refusal is None:
            return app(environ, start_response)
        body = f"host_not_allowed: {refusal}\n".encode()
        kind = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", kind)
        return [body]

    return guarded


def _is_address(host: str) -> bool:
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
