"""The cookie that holds a browser's token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plms_pipeline.access.sessions import COOKIE, MAX_COOKIE_CHARS, came_by_https, cookie_for, ended_cookie, token_of
from plms_pipeline.errors import BadInput, Unauthenticated

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ([], None),
        (["a=b"], None),
        ([f"{COOKIE}=x.y.z"], "x.y.z"),
        ([f"a=b; {COOKIE}=x; c=d"], "x"),
        (["a=b", f" {COOKIE}=x "], "x"),
        ([f"{COOKIE}="], None),
        ([COOKIE], None),
        ([f"not_{COOKIE}=x"], None),
        ([f"{COOKIE}=x; {COOKIE}=x"], "x"),
    ],
)
def test_the_token_is_found_among_the_cookies(cookies: list[str], found: str | None) -> None:
    """Other servers on this host set cookies of their own, and browsers send all of them."""
    assert token_of(cookies) == found


@pytest.mark.parametrize("cookies", [[f"{COOKIE}=x; {COOKIE}=y"], [f"{COOKIE}=x", f"{COOKIE}=y"]])
def test_two_different_sessions_are_none(cookies: list[str]) -> None:
    """Another port of the host can plant a cookie beside ours; whose name would the next approval carry?"""
    with pytest.raises(Unauthenticated, match="two different cookies") as raised:
        token_of(cookies)
    assert raised.value.code == "session_doubled"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_ends_with_the_token() -> None:
    """A session that outlives its token is a door that nobody can lock."""
    cookie = cookie_for("t", expires_at=NOW + timedelta(hours=2), now=NOW, is_secure=False)
    assert cookie == f"{COOKIE}=t; Max-Age=7200; Path=/; HttpOnly; SameSite=Strict"
    assert cookie_for("t", expires_at=NOW, now=NOW, is_secure=True).endswith(
        "; Max-Age=0; Path=/; HttpOnly; SameSite=Strict; Secure"
    )
    assert ended_cookie(is_secure=False) == f"{COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"


def test_a_token_that_no_browser_would_keep_is_refused_with_its_reason() -> None:
    """It would drop the cookie without a word, and signing in would seem to do nothing."""
    with pytest.raises(BadInput, match="cookie holds") as raised:
        cookie_for("x" * (MAX_COOKIE_CHARS + 1), expires_at=NOW, now=NOW, is_secure=False)
    assert raised.value.code == "token_too_long"


@pytest.mark.parametrize(
    ("scheme", "origin", "is_https"),
    [
        ("http", None, False),
        ("https", None, True),
        ("http", "https://plms.example.org", True),
        ("http", "http://x", False),
    ],
)
def test_https_is_recognised_behind_a_proxy_that_ends_it(scheme: str, origin: str | None, is_https: bool) -> None:
    """Without `Secure` the cookie would go over plain http as soon as somebody links to it."""
    assert came_by_https(scheme, origin) is is_https
