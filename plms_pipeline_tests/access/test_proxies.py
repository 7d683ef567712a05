"""Is a proxy's word believed from the proxy, and from nobody else?"""

from __future__ import annotations

import pytest

from plms_pipeline.access.proxies import TrustedProxy, trusted_proxy
from plms_pipeline.errors import BadInput, Unauthenticated

USER, GROUPS = (b"x-forwarded-user", b"ada@example.org"), (b"X-Forwarded-Groups", b"staff, plms-risk,plms-oncall")
ROLES = "plms-oncall=operator,plms-risk=approver"


def proxy(addresses: str = "10.0.0.7, 192.168.4.0/24, fd00::/8", roles: str = ROLES) -> TrustedProxy:
    found = trusted_proxy("X-Forwarded-User", "X-Forwarded-Groups", addresses, roles)
    assert found is not None
    return found


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.4.200", "::ffff:10.0.0.7", "fd00::1"])
def test_the_proxy_says_who_and_the_highest_of_their_groups_counts(peer: str) -> None:
    """Groups come in any order, and in IPv6 clothes where the server listens on both."""
    principal = proxy().principal([USER, GROUPS], peer)
    assert principal is not None
    assert (principal.name, principal.role, principal.is_verified) == ("ada@example.org", "approver", True)


@pytest.mark.parametrize("peer", ["10.0.0.8", "127.0.0.1", "192.168.5.1", "::1", "", None, "a-host"])
@pytest.mark.parametrize("headers", [[USER], [USER, GROUPS], [GROUPS], [(b"X_Forwarded-USER", b"ada")]])
def test_from_anybody_else_the_header_is_refused(headers: list[tuple[bytes, bytes]], peer: str | None) -> None:
    """Whoever reaches the port could otherwise be anybody."""
    with pytest.raises(Unauthenticated) as raised:
        proxy().principal(headers, peer)
    assert raised.value.code == "proxy_not_trusted"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([USER, USER], "proxy_header_doubled"),
        ([USER, (b"x_forwarded_user", b"eve")], "proxy_header_doubled"),
        ([USER, GROUPS, GROUPS], "proxy_header_doubled"),
        ([GROUPS], "proxy_user"),
        ([(b"x-forwarded-user", b"")], "proxy_user"),
        ([(b"x-forwarded-user", b"local:root")], "proxy_user"),
        ([(b"x-forwarded-user", b"schedule")], "proxy_user"),
        ([(b"x-forwarded-user", b"a\tb")], "proxy_user"),
    ],
)
def test_a_proxy_that_contradicts_itself_vouches_for_nobody(headers: list[tuple[bytes, bytes]], code: str) -> None:
    """A client's own header that the proxy forgot to strip stands beside the proxy's; our own names belong to us."""
    with pytest.raises(Unauthenticated) as raised:
        proxy().principal(headers, "10.0.0.7")
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("roles", "groups", "role"),
    [
        (ROLES, b"", "viewer"),
        (ROLES, b"PLMS-RISK", "viewer"),
        (f"{ROLES},*=operator", b"nothing", "operator"),
        (f"{ROLES},*=operator", b"plms-risk", "approver"),
        ("", b"admin", "admin"),
        ("", b"pas", "viewer"),
        ("", b"staff", "viewer"),
    ],
)
def test_who_has_no_group_of_ours_looks_on(roles: str, groups: bytes, role: str) -> None:
    """Everybody in the company has some group."""
    principal = proxy(roles=roles).principal([USER, (b"x-forwarded-groups", groups)], "10.0.0.7")
    assert principal is not None
    assert principal.role == role


def test_without_its_headers_the_proxy_says_nothing() -> None:
    """A program on the same machine may come with a token."""
    assert proxy().principal([(b"host", b"x")], "127.0.0.1") is None


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ((None, "X-Groups", "", ""), "PLMS_PROXY_USER_HEADER"),
        ((None, None, "10.0.0.7", ""), "PLMS_PROXY_USER_HEADER"),
        (("X-User", None, "", ""), "PLMS_PROXY_ADDRESSES"),
        (("X-User", None, "everywhere", ""), "PLMS_PROXY_ADDRESSES"),
        (("Authorization", None, "10.0.0.7", ""), "PLMS_PROXY_USER_HEADER"),
        (("X User", None, "10.0.0.7", ""), "PLMS_PROXY_USER_HEADER"),
        (("X-User", "cookie", "10.0.0.7", ""), "PLMS_PROXY_ROLE_HEADER"),
        (("X-User", "x-user", "10.0.0.7", ""), "PLMS_PROXY_ROLE_HEADER"),
        (("X-User", None, "10.0.0.7", "staff=boss"), "PLMS_PROXY_ROLES"),
        (("X-User", None, "10.0.0.7", "staff=pas"), "PLMS_PROXY_ROLES"),
        (("X-User", None, "10.0.0.7", "staff"), "PLMS_PROXY_ROLES"),
    ],
)
def test_half_a_proxy_is_refused_and_the_setting_named(
    given: tuple[str | None, str | None, str, str], variable: str
) -> None:
    """A misspelt address turns every user into nobody, or nobody into every user."""
    with pytest.raises(BadInput, match=variable):
        trusted_proxy(*given)


def test_no_settings_are_no_proxy() -> None:
    """The usual case."""
    assert trusted_proxy(None, None, "", "") is None
