"""People sign in at the door, and are known behind it."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest

from plms_pipeline.access.proxies import trusted_proxy
from plms_pipeline.errors import NoData
from plms_pipeline.web.guard import FrontDoor
from plms_pipeline.web.signing import safe_path
from plms_pipeline_tests.web.asgi import Answer, ask, talk, text
from plms_pipeline_tests.web.doors import ALLOWED, CLOCK, HOST, JSON, OURS, open_door, session, signed_door, token
from plms_pipeline_tests.web.outcomes import document_of
from plms_pipeline_tests.web.test_guard import Behind

FORM = ("content-type", "application/x-www-form-urlencoded")
HTML = ("accept", "text/html,application/xhtml+xml")
START = document_of("launchRun", {"executionParams": {"selector": {"jobName": "start_project_run"}}})
PROXY = trusted_proxy("X-User", "X-Groups", "10.0.0.7", "ops=operator")


@pytest.fixture
def behind() -> Behind:
    return Behind()


def sign_in(behind: Behind, given: str, onward: str = "/runs?a=1", origin: tuple[str, str] = OURS) -> Answer:
    body = urlencode({"token": given, "next": onward}).encode()
    return ask(signed_door(behind), "POST", "/login", [HOST, FORM, origin], body)


def test_a_token_becomes_a_session_and_the_person_goes_on_where_they_were(behind: Behind) -> None:
    """The token is posted: never in an address, which lies in histories and logs."""
    given = token("operator")
    answer = sign_in(behind, f"  Bearer {given}\n")
    assert (answer.status, answer.headers["location"]) == (303, "/runs?a=1")
    assert answer.headers["set-cookie"] == f"plms_session={given}; Max-Age=3630; Path=/; HttpOnly; SameSite=Strict"
    tls = [("host", "localhost"), FORM, ("origin", "https://localhost")]
    proxied = ask(signed_door(behind), "POST", "/login", tls, urlencode({"token": given}).encode())
    assert proxied.headers["set-cookie"].endswith("; Secure")
    assert behind.scopes == []


@pytest.mark.parametrize(
    "given", ["", "what-is-this", "a.b.c", "x" * 9000, token("admin", ttl=timedelta(seconds=1)) + "x"]
)
def test_what_is_no_token_gets_the_page_again_with_the_reason(behind: Behind, given: str) -> None:
    """And the token that was tried is not on it."""
    answer = sign_in(behind, given)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert b'role="alert"' in answer.body
    assert not given or given.encode() not in answer.body


def test_the_page_runs_no_script_and_is_not_kept(behind: Behind) -> None:
    """Whatever gets onto it must never see the token."""
    answer = ask(signed_door(behind), "GET", "/login", [HOST], query="next=/assets/a")
    assert answer.status == 200
    assert b"<script" not in answer.body
    assert b'value="/assets/a"' in answer.body
    policies = [value for name, value in answer.raw_headers if name == b"content-security-policy"]
    assert policies[0].startswith(b"default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "onward",
    ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "/a b", '/"><b>', "/login", "/logout?x", "",
     "/" + "a" * 3000, "/\r\nset-cookie: a=b", "/é"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_signing_in(behind: Behind, onward: str) -> None:
    """A link to our own sign-in page that ends at an attacker's copy of it."""
    assert safe_path(onward) == "/"
    assert sign_in(behind, token("viewer"), onward).headers["location"] == "/"


def test_another_site_signs_nobody_in_or_out(behind: Behind) -> None:
    """Whoever works in somebody else's name approves in it."""
    assert sign_in(behind, token("admin"), origin=("origin", "http://localhost:3113")).code == "cross_origin"
    out = ask(signed_door(behind), "POST", "/logout", [HOST, FORM, ("origin", "http://evil.test"), session("admin")])
    assert out.code == "cross_origin"
    assert "set-cookie" not in out.headers


def test_signing_out_forgets_the_session(behind: Behind) -> None:
    """Also one that is no longer good, which would otherwise stand in the way."""
    for cookie in (session("admin"), ("cookie", "plms_session=a; plms_session=b")):
        answer = ask(signed_door(behind), "POST", "/logout", [HOST, FORM, OURS, cookie])
        assert (answer.status, answer.headers["location"]) == (303, "/login")
        assert answer.headers["set-cookie"].startswith("plms_session=; Max-Age=0;")


def test_who_is_signed_in_sees_as_whom(behind: Behind) -> None:
    """Dagster's pages have no place for it."""
    answer = ask(signed_door(behind), "GET", "/login", [HOST, session("approver")])
    assert b"a-approver" in answer.body
    assert b"/logout" in answer.body
    assert b"local:ada" in ask(open_door(behind), "GET", "/login", [HOST]).body


def test_a_session_and_a_token_are_known_behind_the_door_and_not_handed_on(behind: Behind) -> None:
    """Dagster needs to know who, and never the token."""
    for header in (session("operator", "ada"), ("authorization", f"Bearer {token('operator', 'ada')}")):
        assert ask(signed_door(behind), "POST", "/graphql", [HOST, JSON, OURS, header], START).status == 200
        said = behind.headers
        assert (said["x-plms-actor"], said["x-plms-actor-role"], said["x-plms-actor-verified"]) == (
            "ada",
            "operator",
            "yes",
        )
        assert not {"cookie", "authorization"} & set(said)
        assert behind.scopes[-1]["plms.grants"].principal.name == "ada"


def test_a_session_that_is_over_leaves_a_person_looking_on(behind: Behind) -> None:
    """Pages open as before; what changes something says that they must sign in."""
    over = ("cookie", f"plms_session={token('admin', ttl=timedelta(seconds=1))[:-3]}abc")
    assert ask(signed_door(behind), "GET", "/runs", [HOST, over]).status == 200
    assert behind.headers["x-plms-actor"] == "anonymous:ui"
    assert ask(signed_door(behind), "POST", "/graphql", [HOST, JSON, OURS, over], START).code == "sign_in_needed"


def test_a_bad_token_is_refused_and_not_overlooked(behind: Behind) -> None:
    """A program must learn that its token is no good before it believes an empty answer."""
    answer = ask(signed_door(behind), "GET", "/runs", [HOST, ("authorization", "Bearer x")])
    assert (answer.status, answer.code) == (401, "token_malformed")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_refusal_is_said_so_that_dagster_s_pages_show_it(behind: Behind) -> None:
    """A page that asked GraphQL looks for `errors`; a program for the problem's code."""
    body = document_of("launchRun", {"executionParams": {"selector": {"jobName": "approve_project"}}})
    answer = ask(signed_door(behind), "POST", "/graphql", [HOST, JSON, OURS, session("operator")], body)
    assert (answer.status, answer.code) == (403, "missing_scope")
    told = answer.json()
    assert told["errors"][0]["message"] == told["detail"]
    assert told["detail"] == "Missing scope: approvals.write (launchRun; you are a-operator, operator)."


def test_where_the_nameless_may_not_look_a_person_gets_the_page_and_a_program_the_reason(behind: Behind) -> None:
    """PLMS_UI_NAMELESS=refuse."""
    door = signed_door(behind, nameless_may_look=False)
    page = ask(door, "GET", "/runs", [HOST, HTML], query="a=1")
    assert page.status == 401
    assert b'value="/runs?a=1"' in page.body
    assert b"http-equiv" not in page.body
    assert b"look on" not in page.body
    assert ask(door, "GET", "/runs", [HOST]).code == "sign_in_needed"
    query = b'{"query": "{ version }"}'
    assert ask(door, "POST", "/graphql", [HOST, JSON, OURS], query).code == "sign_in_needed"
    start = text({"type": "start", "id": "1", "payload": {"query": "subscription { logs }"}})
    assert talk(door, [start], [HOST, OURS])[-1]["type"] == "websocket.close"
    assert behind.scopes == []
    assert ask(door, "GET", "/runs", [HOST, session("viewer")]).status == 200


def test_a_link_from_a_chat_reaches_who_is_signed_in(behind: Behind) -> None:
    """A followed link comes without a `SameSite=Strict` cookie; the page asks once more by itself, and then it comes."""
    followed = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    page = ask(signed_door(behind, nameless_may_look=False), "GET", "/runs", [HOST, HTML, *followed])
    assert b'http-equiv="refresh"' in page.body


def test_the_proxy_s_users_are_known_and_everybody_else_s_header_is_refused(behind: Behind) -> None:
    """And a proxy's user with an old session of their own is told to sign out, and can."""
    door = signed_door(behind, proxy=PROXY)
    named = [HOST, JSON, OURS, ("x-user", "ada"), ("x-groups", "ops")]
    for peer in ("10.0.0.8", None):
        answer = ask(door, "POST", "/graphql", named, START, peer=peer)
        assert (answer.status, answer.code) == (401, "proxy_not_trusted")
    doubled = [*named, session("viewer", "ada")]
    assert ask(door, "POST", "/graphql", doubled, START, peer="10.0.0.7").code == "two_identities"
    assert ask(door, "POST", "/logout", [*doubled, FORM], peer="10.0.0.7").code == "doubled_header"
    assert ask(door, "POST", "/logout", [HOST, OURS, FORM, *named[3:], doubled[-1]], peer="10.0.0.7").status == 303
    assert behind.scopes == []
    assert ask(door, "POST", "/graphql", named, START, peer="10.0.0.7").status == 200
    assert (behind.headers["x-plms-actor"], behind.headers["x-plms-actor-verified"]) == ("ada", "yes")


def test_without_keys_people_look_and_whoever_shows_a_token_hears_why(behind: Behind) -> None:
    """A fresh installation, before `plms token keys`."""

    class NoKeys:
        is_open = False

        def of(self, scope: object) -> None:
            raise NoData("There is no key for tokens; `plms token keys` makes keys.", code="no_token_keys")

        def verified(self, given: str) -> None:
            self.of(given)

    door = FrontDoor(behind, ALLOWED, NoKeys(), CLOCK)  # type: ignore[arg-type]  # what it asks of it
    assert ask(door, "GET", "/runs", [HOST]).status == 200
    assert ask(door, "GET", "/runs", [HOST, ("authorization", "Bearer x")]).code == "no_token_keys"
    answer = ask(door, "POST", "/login", [HOST, FORM, OURS], b"token=x")
    assert b"plms token keys" in answer.body


def test_refusals_and_mutations_are_told_to_the_audit_log(behind: Behind) -> None:
    """Who was refused what, and who changed what."""
    noted = []

    async def note(event: object) -> None:
        noted.append(event)

    door = signed_door(behind, note=note)
    ask(door, "POST", "/graphql", [HOST, JSON, OURS, session("operator", "ada")], START)
    ask(door, "POST", "/graphql", [HOST, JSON, OURS, session("viewer", "bob")], START)
    ask(door, "POST", "/graphql", [HOST, JSON, OURS], START)
    ask(door, "GET", "/runs", [("host", "evil.test")])
    told = [(e.principal.name if e.principal else None, e.subject, e.code, e.status) for e in noted]  # type: ignore[attr-defined]
    assert told == [
        ("ada", "launchRun", "let_through", None),
        ("bob", "ui POST /graphql", "missing_scope", 403),
        (None, "ui POST /graphql", "sign_in_needed", 401),
        (None, "ui GET /runs", "host_not_allowed", 403),
    ]
