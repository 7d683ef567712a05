"""Whether a request comes from our own pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.access.hosts import Authority, parse_allowed, parse_authority
from plms_pipeline.web.origins import embedding_refusal, host_refusal, is_same_origin, origin_refusal

LOOPBACK = parse_allowed(["localhost", "127.0.0.1", "[::1]"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", Authority("localhost", None)),
        ("LocalHost:3000", Authority("localhost", 3000)),
        ("[::1]:3000", Authority("[::1]", 3000)),
        ("[::1]", Authority("[::1]", None)),
        ("", None),
        (":3000", None),
        ("localhost:", None),
        ("localhost:0", None),
        ("localhost:99999", None),
        ("localhost:3e3", None),
        ("a:b:c", None),
        ("user@localhost", None),
        ("localhost/evil", None),
        ("localhost#x", None),
        ("localhost, evil.test", None),
        ("[::1", None),
        ("[]", None),
        ("[::1]3000", None),
        ("löcalhost", None),
        ("localhost:٣٠٠", None),
    ],
)
def test_a_host_is_read_strictly(text: str, expected: Authority | None) -> None:
    """A lenient reading would let `localhost@evil.test` pass for localhost."""
    assert parse_authority(text) == expected


@given(st.text(max_size=30))
def test_reading_a_host_never_fails(text: str) -> None:
    """A header is written by strangers; an exception would be a 500 and a traceback for each."""
    read = parse_authority(text)
    assert (host_refusal(text, LOOPBACK) is None) <= (read is not None)
    assert is_same_origin(f"http://{text}", text) == (read is not None)


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1", "[::1]:3000", "LOCALHOST:8080"])
def test_loopback_names_are_answered_whatever_the_port(host: str) -> None:
    """A forwarded port (ssh -L 8080:localhost:3000) must keep working."""
    assert host_refusal(host, LOOPBACK) is None


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "127.0.0.1.nip.io:3000", "localhost.", "", None])
def test_a_name_that_merely_resolves_to_us_is_refused(host: str | None) -> None:
    """DNS rebinding: the browser believes that evil.test is same-origin with what it loaded from there."""
    refusal = host_refusal(host, LOOPBACK)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "host_not_allowed")


def test_an_allowed_name_with_a_port_holds_for_that_port_only() -> None:
    """Who writes a port means it."""
    allowed = parse_allowed(["plms.example.org:3000"])
    assert host_refusal("plms.example.org:3000", allowed) is None
    assert host_refusal("plms.example.org:3001", allowed) is not None


@pytest.mark.parametrize("entry", ["*", "*.example.org", "http://x", "a b", ""])
def test_a_wildcard_or_url_is_not_a_host_name(entry: str) -> None:
    """A wildcard would silently switch the protection off."""
    with pytest.raises(ValueError, match="is not a host name"):
        parse_allowed([entry])


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:3000", "localhost:3000", True),
        ("http://LOCALHOST:3000", "localhost:3000", True),
        ("http://[::1]:3000", "[::1]:3000", True),
        ("https://plms.example.org", "plms.example.org", True),
        ("https://plms.example.org", "plms.example.org:443", True),
        ("http://localhost:3001", "localhost:3000", False),
        ("http://127.0.0.1:3000", "localhost:3000", False),
        ("http://evil.test", "localhost:3000", False),
        ("http://localhost:3000.evil.test", "localhost:3000", False),
        ("http://localhost:3000@evil.test", "localhost:3000", False),
        ("null", "localhost:3000", False),
        ("file://", "localhost:3000", False),
        ("localhost:3000", "localhost:3000", False),
        ("", "localhost:3000", False),
    ],
)
def test_an_origin_is_ours_only_when_host_and_port_agree(origin: str, host: str, *, same: bool) -> None:
    """Another port on localhost is another program, and often another person's."""
    assert is_same_origin(origin, host) is same


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-origin"},
    ],
)
def test_our_pages_and_programs_may_change_things(headers: dict[str, str]) -> None:
    """The UI, curl and scripts must work."""
    assert origin_refusal({"host": "localhost:3000", **headers}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.test", "sec-fetch-site": "same-origin"},
    ],
)
def test_one_sign_of_another_site_is_enough_to_refuse(headers: dict[str, str]) -> None:
    """Either header alone says enough; believing the friendlier of the two would be a hole."""
    refusal = origin_refusal({"host": "localhost:3000", **headers})
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "cross_origin")


def test_a_link_from_a_chat_opens_but_an_image_or_frame_does_not() -> None:
    """People follow links to runs; nobody needs the UI inside another page."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert embedding_refusal("GET", link) is None
    assert embedding_refusal("GET", {}) is None
    assert embedding_refusal("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}) is None
    for changes in ({"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, {"sec-fetch-dest": "iframe"}):
        assert embedding_refusal("GET", {**link, **changes}) is not None
    assert embedding_refusal("POST", link) is not None
