"""Is this token one of ours, still valid, and whose is it?

The obvious version asks the token how it wants to be verified: it reads `alg` from the header and obeys. Then `none` needs
no key at all, and an RS256 public key, which everybody may have, is a fine HS256 secret. Here each key carries its one
algorithm, the token's `kid` chooses the key, and a header that names another algorithm is refused before any
signature is looked at. Times are compared with the caller's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES, SCOPES
from plms_pipeline.errors import BadInput, Unauthenticated

Algorithm = Literal["RS256", "HS256"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "HS256")
LEEWAY = timedelta(seconds=30)
MAX_TOKEN_CHARS = 8192
MAX_TTL = timedelta(days=366)
MAX_NAME_LENGTH = 200
# Names that the pipeline gives to actors itself; a token that carried one could speak in its name.
RESERVED_PREFIXES = ("local:", "schedule:", "sensor:", "anonymous:", "source:", "service:", "plms:", "pas:")
RESERVED_NAMES = frozenset({"schedule", "source", "pas", "anonymous", "dispatcher", "settlement", "replay"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm that it may be used with. `material` is a key object of `cryptography`, or bytes."""

    kid: str
    alg: Algorithm
    material: Any = field(repr=False)


def issue(
    key: Key, *, subject: str, role: str, issuer: str, audience: str, now: datetime, ttl: timedelta, token_id: str
) -> str:
    """A signed token.

    Args:
        key: a private RSA key for RS256, the shared secret for HS256.
        subject: the name of whoever will use it.
        role: one of `ROLES`.
        issuer: claim `iss`.
        audience: claim `aud`.
        now: the moment of issue, aware.
        ttl: how long it is valid.
        token_id: claim `jti`, unique per token, for the audit log.

    Raises:
        BadInput: unknown role, a name that cannot be told from the pipeline's own, or a life that is no life.
    """
    if role not in ROLES:
        raise BadInput(f"There is no role {role!r}; choose one of {', '.join(ROLES)}.", code="unknown_role")
    if (problem := name_problem(subject)) is not None:
        raise BadInput(f"{subject[:80]!r} cannot be the subject of a token: {problem}.", code="bad_subject")
    if not timedelta(0) < ttl <= MAX_TTL:
        raise BadInput(f"A token lives longer than nothing and at most {MAX_TTL.days} days.", code="bad_ttl")
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "role": role,
        "iat": int(now.timestamp()),
        "exp": int((now + ttl).timestamp()),
        "jti": token_id,
    }
    return jwt.encode(claims, key.material, algorithm=key.alg, headers={"kid": key.kid})


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified token: whose it is, and until when that holds."""

    principal: Principal
    expires_at: datetime


def verify(token: str, *, keys: Mapping[str, Key], now: datetime, issuer: str, audience: str) -> Principal:
    """The principal of a token.

    Args:
        token: the compact serialization, without the word Bearer.
        keys: by key id, for RS256 the public key.
        now: the present moment, aware.
        issuer: what `iss` must be.
        audience: what `aud` must hold.

    Raises:
        Unauthenticated: `token_malformed`, `token_key_unknown`, `token_algorithm`, `token_forged`, `token_expired`,
            `token_not_yet_valid`, `token_audience`, `token_issuer`, `token_claims`.
    """
    return verified(token, keys=keys, now=now, issuer=issuer, audience=audience).principal


def verified(token: str, *, keys: Mapping[str, Key], now: datetime, issuer: str, audience: str) -> Verified:
    """Like `verify`, with the moment until which the answer may be remembered."""
    key = _key_of(token, keys)
    claims = _claims(token, key, issuer, audience)
    expires_at = _moment(claims["exp"])
    if now >= expires_at + LEEWAY:
        raise _refused("token_expired", "the token has expired; have a new one issued")
    for claim in ("nbf", "iat"):
        if claim in claims and _moment(claims[claim]) > now + LEEWAY:
            raise _refused("token_not_yet_valid", "the token is not valid yet; compare the clocks of both machines")
    return Verified(_principal(claims), expires_at + LEEWAY)


def _key_of(token: str, keys: Mapping[str, Key]) -> Key:
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("token_malformed", "the token is longer than any token of ours")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise _refused("token_malformed", "it is no JSON Web Token") from None
    kid, alg = header.get("kid"), header.get("alg")
    if alg not in ALGORITHMS:
        raise _refused("token_algorithm", "its algorithm is not used here")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise _refused("token_key_unknown", "it names no key of ours")
    if alg != key.alg:
        raise _refused("token_algorithm", "its algorithm is not the one of the key that it names")
    if header.get("crit"):
        raise _refused("token_malformed", "it demands an extension that is not known here")
    return key


def _claims(token: str, key: Key, issuer: str, audience: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.material,
            algorithms=[key.alg],
            issuer=issuer,
            audience=audience,
            # Times are compared with our clock, not with the library's.
            options={
                "require": ["iss", "aud", "exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidAudienceError:
        raise _refused("token_audience", "it was made for another service") from None
    except jwt.InvalidIssuerError:
        raise _refused("token_issuer", "somebody else issued it") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused("token_claims", f"it lacks the claim {error.claim}") from None
    except jwt.InvalidSignatureError:
        raise _refused("token_forged", "its signature is not right") from None
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        raise _refused("token_malformed", "it is no JSON Web Token that can be read") from None
    return claims


def _principal(claims: Mapping[str, Any]) -> Principal:
    name, role, given = claims["sub"], claims.get("role"), claims.get("scopes", claims.get("scope"))
    if not isinstance(name, str) or name_problem(name) is not None:
        raise _refused("token_claims", "its subject is not a name that may be used")
    if role is not None and (not isinstance(role, str) or role not in ROLES):
        raise _refused("token_claims", "its role does not exist")
    held = ROLES[role] if isinstance(role, str) else SCOPES
    if given is None:
        # Without a role nothing says what the bearer may do, and saying nothing is no permission.
        return Principal(name, held if role is not None else frozenset(), is_verified=True, role=role)
    listed = given.split() if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(scope, str) for scope in listed):
        raise _refused("token_claims", "its scopes are not a list of names")
    return Principal(name, held & frozenset(listed), is_verified=True, role=role)


def name_problem(name: str) -> str | None:
    """Why a name cannot be somebody's who comes from outside, or None."""
    if not name or name != name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        return f"a name is 1 to {MAX_NAME_LENGTH} printable characters without spaces around them"
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        return "the pipeline uses that name itself"
    return None


def _moment(value: object) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError, ValueError):
            pass
    raise _refused("token_claims", "one of its times is no time")


def _refused(code: str, why: str) -> Unauthenticated:
    return Unauthenticated(f"The token is refused: {why}.", code=code)
