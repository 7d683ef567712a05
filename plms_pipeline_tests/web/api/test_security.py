"""Is whoever may not come in refused, at every door, and is it written down?

A live server, and over it every kind of token, event and path that a stranger has tried somewhere before.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import func, select

from plms_pipeline.access.refusals import MAX_PER_WINDOW
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.tokens import Key
from plms_pipeline.access.webhooks import sign
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, InboxEvent, ProjectRun
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import KEY, World, live, world

pytestmark = pytest.mark.live

SECRET = "a-shared-secret-of-32-characters!"
HOOKS = ("/hooks/pas/task_completed", "/hooks/pas/run_completed", "/webhooks/pas/completion")
EVENT = json.dumps(
    {"run_id": "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11", "task_id": "1", "attempt": 1, "status": "succeeded"}
).encode()


@pytest.fixture
def served(settings: Settings, registry: Registry, clock: FrozenClock) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return world(settings.model_copy(update={"pas_webhook_secret": SECRET}), registry, clock)


@pytest.fixture
def client(served: World) -> Iterator[httpx.Client]:
    with live(served.app) as found:
        yield found


def operations(client: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path with good ids, operation) of everything in the document."""
    found = []
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        # A number is a good project id, and good enough a name for everything else.
        concrete = re.sub(r"\{[a-z_]+\}", "1", path)
        found += [(method.upper(), concrete, operation) for method, operation in operations.items()]
    return found


def refusals(served: World) -> list[tuple[str, str, str]]:
    """(actor, subject, code) of what the audit log holds."""
    with served.state.registry.reading() as session:
        rows = session.scalars(select(AuditEntry).where(AuditEntry.action == "http.refused").order_by(AuditEntry.id))
        return [(row.actor, row.subject, row.outcome) for row in rows]


def by_hand(claims: dict[str, Any], header: dict[str, Any], secret: bytes | None) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signed = b".".join(parts)
    mac = b"" if secret is None else hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def bad_tokens(served: World) -> dict[str, str]:
    """Everything that is not a token of ours."""
    now = served.state.clock.now()
    claims = {"iss": "plms", "aud": "plms-api", "sub": "eve", "role": "admin", "exp": int(now.timestamp()) + 3600}
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = served.token("admin")
    head, _, mac = good.split(".")
    richer = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).rstrip(b"=").decode()
    return {
        "token_algorithm": by_hand(claims, {"alg": "none", "kid": KEY.kid}, None),
        "token_malformed": "not.a.token",
        "token_forged": served.token("admin", key=Key(KEY.kid, "HS256", b"somebody else's secret, 32 bytes")),
        "token_forged ": f"{head}.{richer}.{mac}",
        "token_key_unknown": jwt.encode(claims, pair, algorithm="RS256", headers={"kid": "mine"}),
        "token_algorithm ": jwt.encode(claims, pair, algorithm="RS256", headers={"kid": KEY.kid}),
        "token_expired": served.token("admin", now=now - timedelta(hours=3)),
        "token_not_yet_valid": served.token("admin", now=now + timedelta(hours=3)),
        "token_audience": served.token("admin", audience="another-service"),
        "token_issuer": served.token("admin", issuer="another-issuer"),
        "token_malformed ": "x" * 10_000,
    }


def test_every_operation_but_the_open_ones_wants_a_token(client: httpx.Client, served: World) -> None:
    """One forgotten dependency is an open door; this walks through all of them."""
    guarded = 0
    for method, path, operation in operations(client):
        answer = client.request(method, path, json={} if method != "GET" else None)
        if path in {"/healthz", "/readyz", "/metrics"}:
            assert answer.status_code == 200, path
            continue
        if path == "/api/session":
            assert answer.status_code == (422 if method == "POST" else 204)
            continue
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"
        assert operation["security"], f"{method} {path} does not say that it needs a token"
        if not path.startswith(("/hooks/", "/webhooks/")):
            assert answer.headers["www-authenticate"].startswith("Bearer")
        guarded += 1
    assert guarded >= 6
    assert len(refusals(served)) == guarded


@pytest.mark.parametrize("kind", [
    "token_algorithm", "token_malformed", "token_forged", "token_forged ", "token_key_unknown", "token_algorithm ",
    "token_expired", "token_not_yet_valid", "token_audience", "token_issuer", "token_malformed ",
])  # fmt: skip
def test_a_bad_token_is_refused_and_audited(client: httpx.Client, served: World, kind: str) -> None:
    """Forged, stolen, stale or made for somebody else: 401 with its reason, in the answer and in the log."""
    token = bad_tokens(served)[kind]
    for method, path in (("GET", "/api/ops/healthz"), ("POST", "/api/projects/1/start"), ("POST", HOOKS[0])):
        body = EVENT if method == "POST" else None
        answer = client.request(method, path, headers={"Authorization": f"Bearer {token}"}, content=body)
        assert answer.status_code == 401, answer.text
        assert answer.json()["code"] == kind.strip()
        assert token not in answer.text
    found = refusals(served)
    assert [code for _, _, code in found] == [kind.strip()] * 3
    assert {actor for actor, _, _ in found} == {"anonymous"}
    with served.state.registry.reading() as session:
        told = str([row.details_json for row in session.scalars(select(AuditEntry))])
    assert token not in told


def test_a_missing_scope_is_403_with_the_sources_words(client: httpx.Client, served: World) -> None:
    """Each role at each operation: whoever lacks the scope is told which one, and the log knows who it was."""
    asked = 0
    for method, path, operation in operations(client):
        scope = operation.get("x-required-scope")
        if scope is None:
            continue
        for role, held in ROLES.items():
            if scope in held:
                continue
            answer = client.request(method, path, headers=served.headers(role), json={} if method != "GET" else None)
            assert (answer.status_code, answer.json()["detail"]) == (403, f"Missing scope: {scope}"), (
                f"{method} {path} {role}"
            )
            asked += 1
    found = refusals(served)
    assert len(found) == asked > 0
    assert {code for _, _, code in found} == {"missing_scope"}
    assert {actor for actor, _, _ in found} <= {f"a-{role}" for role in ROLES}


def test_only_the_executor_may_report(client: httpx.Client, served: World) -> None:
    """A person's token, the administrator's included, completes no task."""
    for hook in HOOKS:
        for role in ("viewer", "operator", "approver", "admin"):
            answer = client.post(hook, content=EVENT, headers=served.headers(role))
            assert answer.status_code == 403
        assert client.post(hook, content=EVENT).status_code == 401
    assert nothing_arrived(served)


def nothing_arrived(served: World) -> bool:
    with served.state.registry.reading() as session:
        return not session.scalar(select(func.count()).select_from(InboxEvent))


def signed(body: bytes, at: int, secret: str = SECRET, event_id: str | None = None) -> dict[str, str]:
    event_id = event_id or uuid4().hex
    return {"X-PLMS-Event-Id": event_id, "X-PLMS-Timestamp": str(at),
            "X-PLMS-Signature": sign(secret.encode(), event_id, at, body)}  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS)
def test_forged_and_stale_events_are_refused_and_audited(client: httpx.Client, served: World, hook: str) -> None:
    """Who can make up a completion can make up a receipt: nothing of these may reach the inbox."""
    now = int(served.state.clock.now().timestamp())
    good = signed(EVENT, now)
    forged: list[tuple[dict[str, str], bytes]] = [
        (signed(EVENT, now, secret="another-secret-of-32-characters!!"), EVENT),
        (good, EVENT.replace(b"succeeded", b"failed")),
        ({**good, "X-PLMS-Event-Id": uuid4().hex}, EVENT),
        ({**good, "X-PLMS-Timestamp": str(now + 1)}, EVENT),
        ({**good, "X-PLMS-Timestamp": "soon"}, EVENT),
        ({**good, "X-PLMS-Signature": good["X-PLMS-Signature"].replace("v1=", "v0=")}, EVENT),
        ({**good, "X-PLMS-Signature": "v1="}, EVENT),
        ({**good, "X-PLMS-Signature": good["X-PLMS-Signature"].upper()}, EVENT),
        ({key: value for key, value in good.items() if key != "X-PLMS-Timestamp"}, EVENT),
    ]
    for headers, body in forged:
        answer = client.post(hook, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook_forged"), (headers, answer.text)
    for at in (now - 301, now + 301):
        answer = client.post(hook, content=EVENT, headers=signed(EVENT, at))
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook_stale")
    assert nothing_arrived(served)
    codes = [code for _, _, code in refusals(served)]
    assert codes == ["webhook_forged"] * len(forged) + ["webhook_stale"] * 2


def test_a_known_event_with_another_body_is_a_conflict_and_a_repetition_changes_nothing(
    client: httpx.Client, served: World
) -> None:
    """Deliveries repeat; an id under which two things were said is somebody's bug or attack."""
    now = int(served.state.clock.now().timestamp())
    other = EVENT.replace(b"succeeded", b"failed")
    first = client.post(HOOKS[0], content=EVENT, headers=signed(EVENT, now, event_id="evt-1"))
    assert (first.status_code, first.json()["duplicate"]) == (202, False)
    again = client.post(HOOKS[0], content=EVENT, headers=signed(EVENT, now + 7, event_id="evt-1"))
    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    conflict = client.post(HOOKS[0], content=other, headers=signed(other, now, event_id="evt-1"))
    assert (conflict.status_code, conflict.json()["code"]) == (409, "event_id_conflict")
    with served.state.registry.reading() as session:
        assert session.scalar(select(func.count()).select_from(InboxEvent)) == 1


TRICKS = ("..%2f..%2fetc%2fpasswd", "%2e%2e", "1%00", "1%0a", "1%5c..", "%252e%252e%252f")


def test_path_tricks_in_ids_are_refused_and_audited(client: httpx.Client, served: World) -> None:
    """Ids end in file names and log lines."""
    host, port = client.base_url.host, client.base_url.port
    templates = [path for path in client.get("/openapi.json").json()["paths"] if "{" in path]
    token = served.token("admin")
    sent = 0
    for template in templates:
        for trick in TRICKS:
            path = re.sub(r"\{[a-z_]+\}", trick, template)
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\nConnection: close"
            with socket.create_connection((host, port), timeout=10) as raw:
                raw.sendall(f"{head}\r\n\r\n{{}}".encode())
                answer = b"".join(iter(lambda: raw.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 400"), (path, answer[:120])
            sent += 1
    found = refusals(served)
    # Beyond so many in a minute they are only counted.
    assert [code for _, _, code in found] == ["bad_path"] * min(sent, MAX_PER_WINDOW)
    assert all(subject.isprintable() for _, subject, _ in found)


def test_ids_that_are_none_reach_no_table(client: httpx.Client, served: World) -> None:
    """SQL, shell and template snippets as ids, larger numbers than the database has: 4xx, and nothing is written."""
    before = rows(served)
    hostile = (
        "1;DROP TABLE projects",
        "1' OR '1'='1",
        "$(id)",
        "{{7*7}}",
        "-1",
        "0",
        "2147483648",
        "9" * 40,
        "1e3",
        "0x10",
        "null",
    )
    for template, methods in client.get("/openapi.json").json()["paths"].items():
        if "{" not in template:
            continue
        for value, method in product(hostile, methods):
            path = re.sub(r"\{[a-z_]+\}", quote(value, safe=""), template)
            body = None if method == "get" else {}
            answer = client.request(method, path, headers=served.headers("admin"), json=body)
            assert 400 <= answer.status_code < 500, f"{method} {path}: {answer.status_code}"
    assert rows(served) == before


def rows(served: World) -> dict[str, int]:
    with served.state.registry.reading() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name != "audit_log"
        }


def test_no_refusal_starts_anything(client: httpx.Client, served: World) -> None:
    """After all of this: no run."""
    for token in bad_tokens(served).values():
        client.post(
            "/api/projects/1/start",
            json={},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())},
        )
    with served.state.registry.reading() as session:
        assert session.scalar(select(func.count()).select_from(ProjectRun)) == 0
