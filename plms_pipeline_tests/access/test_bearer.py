"""Is a token that was seen before judged as strictly as one that was not?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from plms_pipeline.access import bearer
from plms_pipeline.access.actors import Actor
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.principals import unchecked
from plms_pipeline.access.proxies import trusted_proxy
from plms_pipeline.access.roles import SCOPES
from plms_pipeline.access.tokens import LEEWAY, Key, issue
from plms_pipeline.errors import BadInput, Unauthenticated

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("a", "HS256", b"k" * 32)


@dataclass
class MovableClock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


def door(clock: MovableClock, keys: dict[str, Key], **options: object) -> Doorkeeper:
    return Doorkeeper(lambda _now: keys, clock, issuer="plms", audience="plms-api", **options)  # type: ignore[arg-type]


def token(subject: str = "ci", ttl: timedelta = timedelta(hours=1)) -> str:
    return issue(
        KEY, subject=subject, role="viewer", issuer="plms", audience="plms-api", now=NOW, ttl=ttl, token_id="t"
    )


def test_a_remembered_token_expires_on_time() -> None:
    """A cache that outlives the token is a token that outlives itself."""
    clock = MovableClock()
    keeper = door(clock, {"a": KEY})
    bearer_token = f"Bearer {token(ttl=timedelta(minutes=1))}"
    assert keeper.principal(bearer_token) is keeper.principal(bearer_token)
    clock.at = NOW + timedelta(minutes=1) + LEEWAY
    with pytest.raises(Unauthenticated, match="expired"):
        keeper.principal(bearer_token)


def test_a_remembered_token_is_forgotten_with_its_key() -> None:
    """A key that was withdrawn must take its tokens along at once."""
    found = {"keys": {"a": KEY}}
    keeper = Doorkeeper(lambda _now: found["keys"], MovableClock(), issuer="plms", audience="plms-api")
    bearer_token = f"Bearer {token()}"
    assert keeper.principal(bearer_token).name == "ci"
    found["keys"] = {}
    with pytest.raises(Unauthenticated, match="no key of ours"):
        keeper.principal(bearer_token)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may have tokens issued could otherwise fill it."""
    monkeypatch.setattr(bearer, "MAX_REMEMBERED", 3)
    keeper = door(MovableClock(), {"a": KEY})
    names = [f"n{i}" for i in range(10)]
    assert [keeper.principal(f"Bearer {token(name)}").name for name in names] == names
    assert len(keeper._known) <= 3


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "bearer\t", "Token x"])
def test_no_bearer_token_is_no_token(header: str | None) -> None:
    """The commonest mistake gets the answer that helps."""
    with pytest.raises(Unauthenticated, match="plms token issue") as raised:
        door(MovableClock(), {"a": KEY}).principal(header)
    assert raised.value.code == "token_missing"


def test_the_scheme_is_not_case_sensitive() -> None:
    """RFC 9110: `bearer`, `Bearer` and `BEARER` are one scheme."""
    assert door(MovableClock(), {"a": KEY}).principal(f"bearer {token()}").name == "ci"


def test_with_auth_disabled_everybody_may_everything_and_nobody_is_verified() -> None:
    """For trying things alone on one machine; a decision must still be able to tell that nobody vouched for the name."""
    principal = door(MovableClock(), {}, everybody=unchecked(Actor("local:me"))).principal(None)
    assert principal.scopes == SCOPES
    assert not principal.actor.is_verified
    assert principal.name == "local:me"


def scope(*headers: tuple[str, str], peer: str = "127.0.0.1") -> dict[str, object]:
    return {"headers": [(name.encode(), value.encode()) for name, value in headers], "client": (peer, 40000)}


PROXY = trusted_proxy("X-User", None, "10.0.0.7", "*=operator")


def test_a_request_says_who_sends_it_by_token_cookie_or_proxy() -> None:
    """One door for programs, browsers and a company's sign-on: API and UI ask the same one."""
    keeper = door(MovableClock(), {"a": KEY}, proxy=PROXY)
    assert keeper.of(scope(("authorization", f"Bearer {token('ci')}"))).name == "ci"
    assert keeper.of(scope(("cookie", f"plms_session={token('ada')}"))).name == "ada"
    found = keeper.of(scope(("x-user", "bob"), peer="10.0.0.7"))
    assert (found.name, found.role, found.is_verified) == ("bob", "operator", True)


@pytest.mark.parametrize("other", [("authorization", "Bearer x"), ("cookie", "plms_session=x")])
def test_a_proxy_and_a_token_at_once_are_refused(other: tuple[str, str]) -> None:
    """Two names for one decision: neither may be the one that is recorded."""
    keeper = door(MovableClock(), {"a": KEY}, proxy=PROXY)
    with pytest.raises(Unauthenticated) as raised:
        keeper.of(scope(("x-user", "bob"), other, peer="10.0.0.7"))
    assert raised.value.code == "two_identities"


def test_a_token_that_is_sent_beside_a_cookie_is_the_one_that_counts() -> None:
    """A program that runs in a browser's place keeps what the browser kept; what it says itself counts, or is refused."""
    keeper = door(MovableClock(), {"a": KEY})
    cookie = ("cookie", f"plms_session={token('ada')}")
    assert keeper.of(scope(cookie, ("authorization", f"Bearer {token('ci')}"))).name == "ci"
    with pytest.raises(Unauthenticated):
        keeper.of(scope(cookie, ("authorization", "Bearer nonsense")))
    with pytest.raises(Unauthenticated, match="plms token issue"):
        keeper.of(scope(("cookie", "other=1")))


def test_a_session_ends_with_its_key() -> None:
    """Revoking a token by its key must sign browsers out too."""
    found = {"keys": {"a": KEY}}
    keeper = Doorkeeper(lambda _now: found["keys"], MovableClock(), issuer="plms", audience="plms-api")
    request = scope(("cookie", f"plms_session={token()}"))
    assert keeper.of(request).name == "ci"
    found["keys"] = {}
    with pytest.raises(Unauthenticated):
        keeper.of(request)


def test_what_a_browser_sends_unasked_is_told_from_what_a_program_says() -> None:
    """Only the former needs to come from our own pages; a program has no page."""
    keeper = door(MovableClock(), {"a": KEY}, proxy=PROXY)
    assert keeper.is_ambient(scope(("cookie", "plms_session=x")))
    assert keeper.is_ambient(scope(("x-user", "bob")))
    assert not keeper.is_ambient(scope(("authorization", "Bearer x"), ("cookie", "plms_session=x")))
    assert not keeper.is_ambient(scope())
    assert door(MovableClock(), {}, everybody=unchecked(Actor("local:me"))).is_ambient(scope())


def test_everybody_and_a_proxy_exclude_each_other() -> None:
    """Whoever set both believes that names are checked."""
    with pytest.raises(BadInput, match="PLMS_AUTH=disabled"):
        door(MovableClock(), {}, everybody=unchecked(Actor("local:me")), proxy=PROXY)
