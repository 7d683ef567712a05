"""Is what no token guards kept from a web page whose name resolves to us?"""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.access.hosts import guarded_page, metrics_hosts, why_not_scraped
from plms_pipeline.errors import BadInput

NAMED = metrics_hosts("plms.example.org, exporter:9464")


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:9464", "127.0.0.1:6100", "10.1.2.3", "[::1]:6300", "[fe80::1]", "plms.example.org",
        "plms.example.org:6100", "Exporter:9464",
    ],
)  # fmt: skip
def test_addresses_and_allowed_names_are_answered(host: str) -> None:
    """Prometheus asks by whatever stands in its list of targets."""
    assert why_not_scraped(host, NAMED) is None


@pytest.mark.parametrize(
    "host",
    [
        None, "", "evil.example", "exporter", "exporter:1", "localhost.evil.example", "127.0.0.1.evil.example",
        "127.0.0.1@evil.example", "1.2.3", "[::1", "0x7f000001.", "plms.example.org.evil.example", "*",
    ],
)  # fmt: skip
def test_other_names_are_not(host: str | None) -> None:
    """Whoever owns a name can have it resolve to any address, and the browser says so in `Host` only."""
    told = why_not_scraped(host, NAMED)
    assert told is not None
    assert "PLMS_METRICS_HOSTS" in told


@pytest.mark.parametrize("text", ["*", "*.example.org", "http://plms", "a b", "plms:0"])
def test_what_is_no_name_is_named(text: str) -> None:
    """A wildcard that is taken for a name would allow nothing, and nobody would know."""
    with pytest.raises(BadInput, match="PLMS_METRICS_HOSTS"):
        metrics_hosts(text)


def test_a_page_is_told_to_allowed_names_only() -> None:
    """As the exporter and the observer serve it."""
    page = guarded_page(_metrics, NAMED)
    assert _asked(page, HTTP_HOST="localhost:9464") == ("200 OK", b"up 1\n")
    for environ in ({"HTTP_HOST": "evil.example"}, {}):
        status, body = _asked(page, **environ)
        assert (status, body.startswith(b"host_not_allowed")) == ("403 Forbidden", True)


def _metrics(_: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"up 1\n"]


def _asked(app: Any, **environ: str) -> tuple[str, bytes]:
    told: list[str] = []
    body = b"".join(app(environ, lambda status, _headers: told.append(status)))
    return told[0], body
