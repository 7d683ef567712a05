"""Whose request is this, answered thousands of times a second?

Verifying an RS256 signature costs as much as the whole of a small read, and a client sends the same token with every request.
What a token was found to be is therefore remembered until it expires, under its digest, for as long as the keys are the
very same. Refusals are not remembered: they are rare, and a new key may turn one into an admission.

A request says who sends it in one of three ways: a bearer token, a browser's session cookie, which holds one, or a proxy that
vouches for its users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from plms_pipeline.access import tokens
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.proxies import TrustedProxy
from plms_pipeline.access.sessions import token_of
from plms_pipeline.access.tokens import Key, Verified
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Unauthenticated

MAX_REMEMBERED = 4096


class Doorkeeper:
    """Turns what a request says about its sender into a principal.

    Args:
        keys: the keys that verify at a moment; the same object for as long as nothing changed.
        clock: the present moment.
        issuer: what claim `iss` must be.
        audience: what claim `aud` must hold.
        everybody: when given, every request is this principal and no token is looked at (PLMS_AUTH=disabled).
        proxy: who else may name the sender of a request.

    Raises:
        BadInput: everybody comes in, and a proxy is to say who comes in (`bad_setting`).
    """

    def __init__(
        self,
        keys: Callable[[datetime], Mapping[str, Key]],
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        everybody: Principal | None = None,
        proxy: TrustedProxy | None = None,
    ) -> None:
        if everybody is not None and proxy is not None:
            raise BadInput(
                "PLMS_AUTH=disabled lets everybody in, and PLMS_PROXY_USER_HEADER says who comes in; set one of them.",
                code="bad_setting",
            )
        self._keys = keys
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._everybody = everybody
        self._proxy = proxy
        self._known_with: Mapping[str, Key] | None = None
        self._known: dict[bytes, Verified] = {}

    @property
    def is_open(self) -> bool:
        """Whether everybody comes in without a token."""
        return self._everybody is not None

    def of(self, scope: Mapping[str, Any]) -> Principal:
        """The principal of a request, from its ASGI scope: by token, session cookie or proxy.

        Raises:
            Unauthenticated: nobody says who sends it (`token_missing`), two do (`two_identities`), or it is refused.
        """
        if self._everybody is not None:
            return self._everybody
        authorization = None
        cookies: list[str] = []
        for name, value in scope["headers"]:
            if name == b"authorization" and authorization is None:
                authorization = value.decode("latin-1")
            elif name == b"cookie":
                cookies.append(value.decode("latin-1"))
        if self._proxy is not None:
            vouched_for = self._proxy.principal(scope["headers"], _peer(scope))
            if vouched_for is not None:
                if authorization is not None or token_of(cookies) is not None:
                    raise Unauthenticated(
                        "The proxy names the sender of this request, and so does a token; send one of them, or sign out.",
                        code="two_identities",
                    )
                return vouched_for
        if authorization is None and cookies:
            token = token_of(cookies)
            return self.verified(token).principal if token is not None else self.principal(None)
        return self.principal(authorization)

    def is_ambient(self, scope: Mapping[str, Any]) -> bool:
        """Whether a browser or proxy would say who sends a request without its sender's doing.

        A page of another site can have such a request sent, so it changes nothing unless it comes from our own pages.
        """
        if self._everybody is not None:
            return True
        names = {name for name, _ in scope["headers"]}
        if b"authorization" in names:
            return False
        return b"cookie" in names or (self._proxy is not None and self._proxy.is_claimed(scope["headers"]))

    def principal(self, authorization: str | None) -> Principal:
        """The principal that the header `Authorization` names.

        Raises:
            Unauthenticated: there is no bearer token (`token_missing`), or it is refused.
        """
        if self._everybody is not None:
            return self._everybody
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "This needs the header `Authorization: Bearer <token>`; `plms token issue` makes a token.",
                code="token_missing",
            )
        return self.verified(token).principal

    def verified(self, token: str) -> Verified:
        """Whose a token is, and until when.

        Raises:
            Unauthenticated: it is refused.
        """
        now = self._clock.now()
        keys = self._keys(now)
        if keys is not self._known_with:
            self._known, self._known_with = {}, keys
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and now < known.expires_at:
            return known
        found = tokens.verified(token, keys=keys, now=now, issuer=self._issuer, audience=self._audience)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[digest] = found
        return found


def _peer(scope: Mapping[str, Any]) -> str | None:
    client = scope.get("client")
    return client[0] if client else None
