"""Signing in and out, and what a session may do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from plms_pipeline.access.roles import ROLES
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, ask, world

pytestmark = pytest.mark.one_database
OURS = {"Origin": "http://plms", "X-PLMS-Page": "1"}
START: dict[str, Any] = {"json": {"name": "p", "tasks": []}}


@pytest.fixture
def served(settings: Settings, sqlite_registry: Registry, clock: FrozenClock) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return world(settings, sqlite_registry, clock)


def cookie(served: World, role: str = "operator") -> dict[str, str]:
    return {"Cookie": f"plms_session={served.token(role)}"}


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "admin"])
def test_who_i_am_is_told_by_header_and_by_cookie(served: World, role: str) -> None:
    """A page shows and offers what the role may do; it must not have to guess."""
    expected = {"actor": f"a-{role}", "role": role, "scopes": sorted(ROLES[role]), "is_verified": True}
    for headers in (served.headers(role), cookie(served, role)):
        answer = ask(served.app, "GET", "/api/me", headers=headers)
        assert (answer.status_code, answer.json()) == (200, expected)


def test_nobody_is_nobody(served: World) -> None:
    """The page asks for a token then."""
    assert ask(served.app, "GET", "/api/me").json()["code"] == "token_missing"
    expired = {"Cookie": f"plms_session={served.token(now=served.state.clock.now() - timedelta(days=2))}"}
    assert ask(served.app, "GET", "/api/me", headers=expired).json()["code"] == "token_expired"


def test_a_token_becomes_a_cookie_that_ends_with_it(served: World) -> None:
    """And is told to nobody: not in the address, not in the answer."""
    token = served.token("approver")
    answer = ask(served.app, "POST", "/api/session", json={"token": token}, headers=OURS)
    assert answer.status_code == 200
    assert answer.json()["actor"] == "a-approver"
    assert token not in answer.text
    set_cookie = answer.headers["set-cookie"]
    assert set_cookie.startswith(f"plms_session={token}; Max-Age=3630; Path=/; HttpOnly; SameSite=Strict")
    assert "Secure" not in set_cookie
    proxied = ask(served.app, "POST", "/api/session", json={"token": token}, headers={"Origin": "https://plms"})
    assert proxied.headers["set-cookie"].endswith("; Secure")


def test_signing_out_removes_the_cookie(served: World) -> None:
    """Whoever leaves a shared machine."""
    answer = ask(served.app, "DELETE", "/api/session", headers={**cookie(served), **OURS})
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith("plms_session=; Max-Age=0;")


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_token_signs_nobody_in(served: World, token: str) -> None:
    """No cookie is set, whatever the page then does."""
    answer = ask(served.app, "POST", "/api/session", json={"token": token}, headers=OURS)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://plms:3113"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_page_can_neither_sign_in_nor_out_nor_use_a_session(served: World, headers: dict[str, str]) -> None:
    """Cookies know no ports: a page on another port of this host has the browser send ours along."""
    token = {"token": served.token("admin")}
    assert ask(served.app, "POST", "/api/session", json=token, headers=headers).json()["code"] == "cross_origin"
    assert ask(served.app, "DELETE", "/api/session", headers=headers).json()["code"] == "cross_origin"
    written = ask(served.app, "POST", "/api/projects/create", headers={**cookie(served), **headers}, **START)
    assert (written.status_code, written.json()["code"]) == (403, "cross_origin")


def test_our_own_page_writes_with_a_session_and_a_program_with_a_token_needs_no_page(served: World) -> None:
    """The protection must not keep out whom it protects."""
    own = ask(served.app, "POST", "/api/projects/create", headers={**cookie(served), **OURS}, **START)
    assert own.status_code == 422
    program = {**served.headers("operator"), "Origin": "http://elsewhere"}
    assert ask(served.app, "POST", "/api/projects/create", headers=program, **START).status_code == 422


def test_a_session_may_no_more_than_its_token(served: World) -> None:
    """The cookie is the token."""
    answer = ask(served.app, "POST", "/api/killswitch/on", headers={**cookie(served), **OURS}, json={"reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
