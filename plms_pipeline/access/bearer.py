"""Whose request is this, answered thousands of times a second?

Verifying an RS256 signature costs as much as the whole of a small read, and a client sends the same token with every request.
What a token was found to be is therefore remembered until it expires, under its digest, for as long as the keys are the
very same. Refusals are not remembered: they are rare, and a new key may turn one into an admission.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

from plms_pipeline.access import tokens
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.tokens import Key, Verified
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unauthenticated

MAX_REMEMBERED = 4096


class Doorkeeper:
    """Turns the header `Authorization` into a principal.

    Args:
        keys: the keys that verify at a moment; the same object for as long as nothing changed.
        clock: the present moment.
        issuer: what claim `iss` must be.
        audience: what claim `aud` must hold.
        everybody: when given, every request is this principal and no token is looked at (PLMS_AUTH=disabled).
    """

    def __init__(
        self,
        keys: Callable[[datetime], Mapping[str, Key]],
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        everybody: Principal | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._everybody = everybody
        self._known_with: Mapping[str, Key] | None = None
        self._known: dict[bytes, Verified] = {}

    @property
    def is_open(self) -> bool:
        """Whether everybody comes in without a token."""
        return self._everybody is not None

    def principal(self, authorization: str | None) -> Principal:
        """The principal of a request.

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
        now = self._clock.now()
        keys = self._keys(now)
        if keys is not self._known_with:
            self._known, self._known_with = {}, keys
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and now < known.expires_at:
            return known.principal
        found = tokens.verified(token, keys=keys, now=now, issuer=self._issuer, audience=self._audience)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[digest] = found
        return found.principal
