"""Does a token admit exactly whom it was issued to, for as long as it was meant?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

import plms_pipeline
from plms_pipeline.access.roles import ROLES, SCOPES
from plms_pipeline.access.tokens import LEEWAY, RESERVED_NAMES, RESERVED_PREFIXES, Key, issue, verify
from plms_pipeline.errors import BadInput, Unauthenticated

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = Key("s", "HS256", b"k" * 32)
PAIR = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNING = Key("r", "RS256", PAIR)
PUBLIC = Key("r", "RS256", PAIR.public_key())
KEYS = {"s": SECRET, "r": PUBLIC}
GOOD: dict[str, Any] = {
    "iss": "plms", "aud": "plms-api", "sub": "ci", "role": "operator", "exp": int(NOW.timestamp()) + 3600
}  # fmt: skip


def issued(key: Key = SIGNING, **changes: Any) -> str:
    given: dict[str, Any] = {
        "subject": "ci", "role": "operator", "issuer": "plms", "audience": "plms-api", "now": NOW,
        "ttl": timedelta(hours=1), "token_id": "t",
    }  # fmt: skip
    return issue(key, **{**given, **changes})


def checked(token: str, now: datetime = NOW, **changes: Any) -> Any:
    return verify(token, **{"keys": KEYS, "now": now, "issuer": "plms", "audience": "plms-api", **changes})


def forged(claims: dict[str, Any], header: dict[str, Any], secret: bytes | None) -> str:
    """A token written by hand, because the library refuses to make most of the bad ones."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'typ': 'JWT', **header})}.{part(claims)}"
    mac = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def refused(token: str, **changes: Any) -> str:
    with pytest.raises(Unauthenticated) as raised:
        checked(token, **changes)
    assert raised.value.http_status == 401
    return raised.value.code


@pytest.mark.parametrize("key", [SIGNING, SECRET], ids=["RS256", "HS256"])
@pytest.mark.parametrize("role", ROLES)
def test_a_token_is_the_role_it_was_issued_for(key: Key, role: str) -> None:
    """Everybody else's day: a good token lets them work."""
    principal = checked(issued(key, role=role, subject="on-call@example.org"))
    assert (principal.name, principal.role, principal.scopes) == ("on-call@example.org", role, ROLES[role])
    assert principal.is_verified
    assert principal.actor.is_verified


def test_roles_of_people_grow_and_the_executor_may_only_report() -> None:
    """A viewer who could start spends money; an executor that could approve approves its own work."""
    order = [ROLES[name] for name in ("viewer", "operator", "approver", "admin")]
    assert all(lower < upper for lower, upper in pairwise(order))
    assert ROLES["pas"] == {"hooks.write"}
    assert not ROLES["pas"] & ROLES["admin"]


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("kid", ["s", "r", None])
def test_a_token_without_a_signature_is_refused(alg: str | None, kid: str | None) -> None:
    """The best known hole of JSON Web Tokens: `alg: none` verifies with every key."""
    assert refused(forged(GOOD, {"alg": alg, "kid": kid}, None)) in {"token_algorithm", "token_malformed"}


def test_a_public_key_is_no_shared_secret() -> None:
    """Everybody has the public key: a verifier that obeys `alg` takes it for the secret of HS256."""
    pem = PAIR.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    for secret in (pem, pem.rstrip(b"\n")):
        assert refused(forged(GOOD, {"alg": "HS256", "kid": "r"}, secret)) == "token_algorithm"


def test_a_key_is_used_with_its_own_algorithm_only() -> None:
    """The other direction, and relatives of our algorithms: only what the key says."""
    assert refused(jwt.encode(GOOD, PAIR, algorithm="RS256", headers={"kid": "s"})) == "token_algorithm"
    for alg in ("RS512", "PS256"):
        assert refused(jwt.encode(GOOD, PAIR, algorithm=alg, headers={"kid": "r"})) == "token_algorithm"
    assert refused(jwt.encode(GOOD, b"k" * 64, algorithm="HS512", headers={"kid": "s"})) == "token_algorithm"


def test_a_key_of_somebody_else_is_refused() -> None:
    """A signature that nobody checks against our keys is a signature of anybody."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(issued(Key("r", "RS256", other))) == "token_forged"
    assert refused(issued(Key("s", "HS256", b"x" * 32))) == "token_forged"
    assert refused(issued(Key("elsewhere", "RS256", other))) == "token_key_unknown"
    assert refused(jwt.encode(GOOD, PAIR, algorithm="RS256")) == "token_key_unknown"


@pytest.mark.parametrize("header", [{"jku": "http://evil.example/keys"}, {"x5u": "http://evil.example"}, {"jwk": {}}])
def test_a_token_cannot_bring_its_own_key(header: dict[str, Any]) -> None:
    """Headers that name or hold a key are not looked at: only `kid`, among keys of ours."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode(GOOD, stranger, algorithm="RS256", headers={"kid": "r", **header})
    assert refused(token) == "token_forged"
    assert refused(forged(GOOD, {"alg": "HS256", "kid": ["s"]}, b"k" * 32)) in {"token_key_unknown", "token_malformed"}


def test_expiry_is_judged_by_our_clock() -> None:
    """A token that outlives its time is a key under the mat; a little leeway forgives clocks that differ."""
    token = issued(ttl=timedelta(minutes=5))
    end = NOW + timedelta(minutes=5)
    assert checked(token, now=end + LEEWAY - timedelta(seconds=1)).name == "ci"
    assert refused(token, now=end + LEEWAY) == "token_expired"
    assert refused(token, now=NOW - LEEWAY - timedelta(seconds=1)) == "token_not_yet_valid"
    later = {**GOOD, "nbf": int((NOW + timedelta(hours=1)).timestamp())}
    assert refused(jwt.encode(later, PAIR, algorithm="RS256", headers={"kid": "r"})) == "token_not_yet_valid"


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub"])
def test_a_missing_claim_is_no_permission(claim: str) -> None:
    """A token without `exp` would be valid for ever, one without `aud` everywhere."""
    claims = {name: value for name, value in GOOD.items() if name != claim}
    assert refused(forged(claims, {"alg": "HS256", "kid": "s"}, b"k" * 32)) in {
        "token_claims",
        "token_issuer",
        "token_audience",
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "other"}, "token_audience"), ({"aud": []}, "token_claims"), ({"iss": "other"}, "token_issuer"),
        ({"exp": "soon"}, "token_claims"), ({"exp": True}, "token_claims"), ({"exp": 1e400}, "token_claims"),
        ({"exp": 10**30}, "token_claims"), ({"sub": ""}, "token_claims"), ({"sub": " ci"}, "token_claims"),
        ({"sub": "a\nb"}, "token_claims"), ({"sub": "x" * 201}, "token_claims"), ({"sub": "local:root"}, "token_claims"),
        ({"sub": "schedule"}, "token_claims"), ({"role": "root"}, "token_claims"), ({"role": ["admin"]}, "token_claims"),
        ({"scopes": {"a": 1}}, "token_claims"), ({"scopes": [1]}, "token_claims"), ({"iat": "x"}, "token_claims"),
    ],
)  # fmt: skip
def test_a_wrong_claim_is_refused_with_its_reason(changes: dict[str, Any], code: str) -> None:
    """Whoever configures an issuer must learn what is wrong from the code, and nobody may act as the pipeline itself."""
    assert refused(forged({**GOOD, **changes}, {"alg": "HS256", "kid": "s"}, b"k" * 32)) == code


def test_a_token_says_what_its_bearer_may_do_and_silence_is_no_permission() -> None:
    """Scopes narrow a role; an issuer that writes scopes only is obeyed; one that writes neither gives nothing."""

    def scopes(**claims: Any) -> frozenset[str]:
        given = {name: value for name, value in GOOD.items() if name != "role"} | claims
        return frozenset(checked(forged(given, {"alg": "HS256", "kid": "s"}, b"k" * 32)).scopes)

    assert scopes() == frozenset()
    assert scopes(scopes=["projects.view", "pex.start"]) == {"projects.view"}
    assert scopes(scope="projects.view ops.view") == {"projects.view", "ops.view"}
    assert scopes(role="viewer", scopes=["projects.view", "tokens.write"]) == {"projects.view"}
    assert scopes(role="viewer") == ROLES["viewer"]
    assert scopes(scopes=sorted(SCOPES)) == SCOPES


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    """The header comes from strangers: an exception of another kind is a 500."""
    assert refused(text).startswith("token_")


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    """One character, anywhere."""
    token = issued(SECRET)
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii", categories=["L", "N"]).filter(lambda c: c != token[position]))
    changed = token[:position] + other + token[position + 1 :]
    try:
        principal = checked(changed)
    except Unauthenticated:
        return
    # The last character of a part of base64 holds bits that nobody reads: then it is the same token, spelt otherwise.
    assert [base64.urlsafe_b64decode(part + "==") for part in changed.split(".")] == [
        base64.urlsafe_b64decode(part + "==") for part in token.split(".")
    ]
    assert principal.name == "ci"


@pytest.mark.parametrize(
    "subject",
    ["", " x", "x ", "a\tb", "n" * 201, *sorted(RESERVED_NAMES), *(p + "x" for p in sorted(RESERVED_PREFIXES))],
)
def test_a_token_is_not_issued_for_a_name_that_would_be_refused(subject: str) -> None:
    """Told when it is made, not when it is used at night."""
    with pytest.raises(BadInput) as raised:
        issued(subject=subject)
    assert raised.value.code == "bad_subject"


@pytest.mark.parametrize(("changes", "code"), [({"role": "root"}, "unknown_role"), ({"ttl": timedelta(0)}, "bad_ttl"),
                                               ({"ttl": timedelta(days=400)}, "bad_ttl")])  # fmt: skip
def test_a_token_that_makes_no_sense_is_not_issued(changes: dict[str, Any], code: str) -> None:
    """A token for a hundred years is a password."""
    with pytest.raises(BadInput) as raised:
        issued(**changes)
    assert raised.value.code == code


def test_a_key_never_shows_its_material() -> None:
    """Objects end up in logs and tracebacks."""
    assert "kkkk" not in repr(SECRET)
    assert "rsa" not in repr(SIGNING).lower()


def test_no_token_bears_a_name_under_which_the_pipeline_itself_acts() -> None:
    """The audit log would say that the settlement did what a person did with a token."""
    root = Path(plms_pipeline.__file__).parent
    written = re.compile(r'Actor\(\s*"([^"]+)"|^(?:SETTLER|DISPATCHER)\b[^=\n]*= "([^"]+)"', re.MULTILINE)
    names = {a or b for path in root.rglob("*.py") for a, b in written.findall(path.read_text())}
    assert {"plms:reconcile", "pas:webhook", "dispatcher", "settlement"} <= names
    assert {name for name in names if not (name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES))} == set()
