"""Whom does the proxy in front of us vouch for?

A company's sign-on ends at a reverse proxy (oauth2-proxy, nginx, a cloud's access proxy), which tells the user's name in a
header. Anybody can send a header, so it counts only from the addresses that the settings name; from everybody else it is
refused and not ignored, because a proxy at an address nobody listed would otherwise turn all its users into nobody, silently.
A request says who sends it in one way: proxy or token, never both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.tokens import name_problem
from plms_pipeline.errors import BadInput, Unauthenticated

# In the order in which each holds what the one before it holds; PAS signs its events and never comes through a proxy.
PEOPLE = ("viewer", "operator", "approver", "admin")
ANYBODY = "*"
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
# What carries another meaning on every request; a proxy that put a name there would break the server or sign everybody in.
_TAKEN = frozenset({"host", "origin", "cookie", "authorization", "content-type", "content-length", "connection"})


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """Where the name and role of a user stand, and who may put them there.

    Args:
        user_header: lower-case name of the header that holds the user.
        role_header: that of the header with the user's roles or groups, separated by commas; None: nobody tells.
        networks: the addresses that may set either.
        roles: role of each role or group name; `*` stands for everybody.
    """

    user_header: str
    role_header: str | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    roles: Mapping[str, str]

    def principal(self, headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> Principal | None:
        """Whom the proxy vouches for; None when the request holds neither header.

        Args:
            headers: as they arrived.
            peer: address at the other end of the connection.

        Raises:
            Unauthenticated: `proxy_not_trusted`, `proxy_header_doubled` or `proxy_user` (no name that may be used).
        """
        users, roles = self._values(headers)
        if not users and not roles:
            return None
        if not self._is_trusted(peer):
            raise Unauthenticated(
                f"The header {self.user_header} is believed only from PLMS_PROXY_ADDRESSES, and {peer} is not among them.",
                code="proxy_not_trusted",
            )
        if len(users) > 1 or len(roles) > 1:
            raise Unauthenticated("The proxy's headers may occur only once each.", code="proxy_header_doubled")
        if not users:
            raise Unauthenticated(f"The proxy told a role and no {self.user_header}.", code="proxy_user")
        name = users[0]
        if (problem := name_problem(name)) is not None:
            raise Unauthenticated(f"The proxy's user cannot act here: {problem}.", code="proxy_user")
        role = self._role(roles[0] if roles else "")
        return Principal(name, ROLES[role], is_verified=True, role=role)

    def is_claimed(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request holds one of the proxy's headers, whoever put it there."""
        return any(self._values(headers))

    def _values(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], list[str]]:
        users, roles = [], []
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1").lower().replace("_", "-")
            if name == self.user_header.replace("_", "-"):
                users.append(raw_value.decode("utf-8", "replace").strip())
            elif self.role_header is not None and name == self.role_header.replace("_", "-"):
                roles.append(raw_value.decode("utf-8", "replace"))
        return users, roles

    def _is_trusted(self, peer: str | None) -> bool:
        try:
            address: IPv4Address | IPv6Address = ip_address(peer or "")
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)

    def _role(self, told: str) -> str:
        groups = {ANYBODY, *(part.strip() for part in told.split(","))}
        held = {self.roles[group] for group in groups if group in self.roles}
        return max(held, key=PEOPLE.index, default="viewer")


def trusted_proxy(user_header: str | None, role_header: str | None, addresses: str, roles: str) -> TrustedProxy | None:
    """The proxy that the settings describe; None when they describe none.

    Args:
        user_header: PLMS_PROXY_USER_HEADER.
        role_header: PLMS_PROXY_ROLE_HEADER.
        addresses: PLMS_PROXY_ADDRESSES, addresses or networks separated by commas.
        roles: PLMS_PROXY_ROLES, `group=role` separated by commas; without any, the groups are the roles themselves.

    Raises:
        BadInput: one of them cannot be meant (`bad_setting`), or only a part of them is given.
    """
    networks = tuple(_network(part) for part in _parts(addresses))
    if user_header is None:
        if role_header is not None or networks:
            raise _bad("PLMS_PROXY_USER_HEADER", "is not set, so nobody is known; name the header or unset the others")
        return None
    for variable, header in (("PLMS_PROXY_USER_HEADER", user_header), ("PLMS_PROXY_ROLE_HEADER", role_header)):
        if header is not None and (not header or not set(header.lower()) <= _NAME_CHARS or header.lower() in _TAKEN):
            raise _bad(variable, f"{header!r} is no header for it; use one such as X-Forwarded-User")
    if role_header is not None and role_header.lower() == user_header.lower():
        raise _bad("PLMS_PROXY_ROLE_HEADER", "is the header of the user's name")
    if not networks:
        raise _bad("PLMS_PROXY_ADDRESSES", "names no address, so the header would count from nobody")
    mapping = dict(_role(part) for part in _parts(roles)) or {role: role for role in PEOPLE}
    return TrustedProxy(user_header.lower(), role_header.lower() if role_header else None, networks, mapping)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise _bad("PLMS_PROXY_ADDRESSES", f"{text!r} is no address such as 10.0.0.7 or 10.0.0.0/24") from None


def _role(text: str) -> tuple[str, str]:
    group, separator, role = (part.strip() for part in text.partition("="))
    if not separator or not group or role not in PEOPLE:
        raise _bad("PLMS_PROXY_ROLES", f"{text!r} is not group=role with one of {', '.join(PEOPLE)}")
    return group, role


def _bad(variable: str, why: str) -> BadInput:
    return BadInput(f"{variable}: {why}.", code="bad_setting")
