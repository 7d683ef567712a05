"""Does every request get an id, a bounded body, a path that means what it says, and an answer without our inside?"""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.principals import Principal, unchecked
from plms_pipeline.access.routes import ProjectId, RunId, requires
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.api.envelope import ambiguous, path_refusal, unstorable
from plms_pipeline_tests.api_world import World, live, world

router = APIRouter()
SECRET = "hunter2-in-a-variable"


@router.post("/echo/{project_id}/{run_id}")
async def echo(project_id: ProjectId, run_id: RunId, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Repeats what it was given."""
    return {"project_id": project_id, "run_id": run_id, "body": body}


@router.get("/broken")
async def broken() -> None:
    """A bug."""
    raise RuntimeError(SECRET)


@router.get("/secret")
async def secret(_: Annotated[Principal, requires("guards.write")]) -> str:
    """For admins."""
    return SECRET


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[World]:
    """One application for all tests of this file: what they ask of it leaves nothing behind but lines of the audit."""
    folder = tmp_path_factory.mktemp("envelope")
    settings = load_settings({"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")})
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.data_dir / "registry.db")
    registry = Registry.open(settings.database_url)
    small = settings.model_copy(update={"api_max_body_bytes": 2048})
    yield world(small, registry, FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC)), routers=(router,))
    registry.close()


@pytest.fixture(scope="module")
def client(served: World) -> Iterator[httpx.Client]:
    with live(served.app) as found:
        yield found


URL = "/echo/1/r-1"


def test_every_answer_carries_a_request_id(client: httpx.Client) -> None:
    """It is what a person reads to us over the phone."""
    for path in ("/healthz", "/nothing", "/broken", "/secret", "/echo/x/y"):
        answer = client.get(path)
        assert len(answer.headers["x-request-id"]) == 36
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("given_id", "is_kept"),
    [("trace-0123.abc_XYZ", True), ("short", False), ("x" * 129, False), ("a b c d e f g", False), ("<script>alert", False),
     ("line%0abreak", False), ("ümlaut-long-enough", False)],
)  # fmt: skip
def test_a_clients_request_id_is_kept_when_it_is_harmless(client: httpx.Client, given_id: str, is_kept: bool) -> None:
    """It goes into headers, logs and the audit: what could forge a line there is replaced."""
    answer = client.get("/healthz", headers={"X-Request-Id": given_id.encode()})  # type: ignore[dict-item]
    assert (answer.headers["x-request-id"] == given_id) is is_kept


def test_a_bug_is_a_500_without_our_inside(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """A traceback in an answer tells strangers where to look; the log must have all of it, under the id."""
    with caplog.at_level(logging.ERROR):
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert SECRET in caplog.text
    assert client.get("/healthz").status_code == 200


def test_a_body_over_the_limit_is_413_however_it_is_sent(client: httpx.Client) -> None:
    """A chunked body has no Content-Length to look at, and fills the memory of who does not count."""
    fits, too_large = b'{"a": "' + b"x" * 2000 + b'"}', b'{"a": "' + b"x" * 3000 + b'"}'
    kind = {"content-type": "application/json"}

    def chunks(body: bytes) -> Iterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    assert client.post(URL, content=fits, headers=kind).status_code == 200
    assert client.post(URL, content=chunks(fits), headers=kind).status_code == 200
    for body in (too_large, chunks(too_large)):
        answer = client.post(URL, content=body, headers=kind)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert client.request("GET", "/healthz", content=too_large).status_code == 413
    assert client.get("/healthz").status_code == 200


def test_an_endless_body_is_refused_before_it_ends(client: httpx.Client) -> None:
    """The answer comes while the client is still sending; nobody waits for the end of what has none."""
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=10) as raw:
        raw.sendall(b"POST " + URL.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b""
        for _ in range(1000):
            raw.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            raw.settimeout(0.2)
            try:
                answer = raw.recv(4096)
            except TimeoutError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "raw", [b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
)  # fmt: skip
def test_a_length_that_is_none_is_refused(client: httpx.Client, raw: bytes) -> None:
    """Two servers that read a length differently see different requests in the same bytes."""
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=10) as sock:
        sock.sendall(raw % URL.encode())
        answer = sock.recv(4096)
    assert answer.split(b" ")[1] in {b"400", b"413"}
    assert client.get("/healthz").status_code == 200


TRICKS = [
    "/echo/1/..", "/echo/1/../../healthz", "/echo/1/%2e%2e", "/echo/1/..%2f..%2fetc%2fpasswd", "/echo/1/a%2fb", "/echo/1/a%5cb",
    "/echo/1/a\\b", "/echo/1/r%00", "/echo/1/r%0a", "/echo/1/r%0d%0aX-Evil:1", "/echo/1/%252e%252e", "/echo/1/r%7f",
    "/echo/1//r", "//echo/1/r", "/echo/1/%ff%fe", "/./healthz", "/echo/1/%E2%80%AE",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_path_tricks_are_refused_before_any_route(client: httpx.Client, path: str) -> None:
    """Ids end up in file names: whoever gets a separator into one chooses the file."""
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=10) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b'"bad_path"' in answer


@pytest.mark.parametrize(
    ("path", "status"),
    [("/echo/1/r-1", 200), ("/echo/1/3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11", 200), ("/echo/1/run_20250917_162825_70936", 200),
     ("/echo/0/r", 422), ("/echo/-1/r", 422), ("/echo/2147483648/r", 422), ("/echo/1.0/r", 422),
     ("/echo/+1/r", 422), ("/echo/01/r", 422), ("/echo/1_0/r", 422), ("/echo/١/r", 422), ("/echo/one/r", 422),
     ("/echo/9999999999999999999999999999999/r", 422), ("/echo/1/.hidden", 422), ("/echo/1/-rf", 422),
     ("/echo/1/" + "r" * 65, 422), ("/echo/1/a b", 422), ("/echo/1/a;b", 422), ("/echo/1/$(id)", 422), ("/echo/1/ü", 422)],
)  # fmt: skip
def test_ids_are_ids(client: httpx.Client, path: str, status: int) -> None:
    """PostgreSQL refuses larger numbers with an error of its driver; names that a shell or file system reads are no ids."""
    assert client.post(path, json={}).status_code == status


def test_text_that_cannot_be_stored_is_refused(client: httpx.Client) -> None:
    """PostgreSQL has no NUL and UTF-8 no half characters: without this each free text is a way to a 500."""
    kind = {"content-type": "application/json"}
    for body in (rb'{"a": "\u0000"}', rb'{"\u0000": 1}', rb'{"a": [{"b": "\ud800"}]}', rb'{"a": "x\uDFFFy"}'):
        answer = client.post(URL, content=body, headers=kind)
        assert answer.status_code == 422, body
        assert answer.json()["code"] == "unstorable_text"
    for body in (rb'{"a": "\\u0000"}', rb'{"a": "\ud83d\ude00"}', rb'{"a": "u0000"}'):
        assert client.post(URL, content=body, headers=kind).status_code == 200, body
    for encoding in ("utf-16", "utf-32-be"):
        for text, status in (('{"a": "\\u0000"}', 422), ('{"a": "\\ud800"}', 422), ('{"a": "b"}', 200)):
            assert client.post(URL, content=text.encode(encoding), headers=kind).status_code == status, encoding
    assert client.get("/healthz?x=%00").status_code == 400


@pytest.mark.parametrize(
    ("body", "name"),
    [(b'{"run_kind": "baseline", "run_kind": "hotfix"}', "run_kind"), (b'{"a": [{"b": {"c": 1, "d": 2, "\\u0063": 1}}]}', "c"),
     (b' [{"": 1, "": 2}]', ""), (b'{"x": {"x": 1}, "y": [{"x": 1}, {"x": 2}], "x": 0}', "x"),
     (b'{"a\\u0000\\nb": 1, "a\\u0000\\nb": 1}', "a??b")],
)  # fmt: skip
def test_a_name_that_stands_twice_in_one_object_is_refused(client: httpx.Client, body: bytes, name: str) -> None:
    """The last one was silently taken: a log, a signature or a digest of the body then spoke of another request."""
    answer = client.post(URL, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "duplicate_json_key")
    assert repr(name) in answer.json()["detail"]


def test_a_name_may_stand_in_several_objects(client: httpx.Client) -> None:
    """A list of tasks names the same fields again and again."""
    for body in ({"x": {"x": [{"x": 1}, {"x": 1}]}, "X": 2}, {"tasks": [{"id": "a"}, {"id": "b"}]}):
        assert client.post(URL, json=body).json()["body"] == body


def test_two_idempotency_keys_are_refused(client: httpx.Client) -> None:
    """The first was silently taken: a proxy that adds its own key would have made every start a new one."""
    keys = [("Idempotency-Key", "7d9f3f0e-1111-4222-8333-444455556666")]
    assert client.post(URL, json={}, headers=keys).status_code == 200
    for again in ("7d9f3f0e-1111-4222-8333-444455556666", "7d9f3f0e-1111-4222-8333-444455556667", ""):
        answer = client.post(URL, json={}, headers=[*keys, ("idempotency-key", again)])
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
        assert "several" in answer.json()["detail"]


def test_invalid_fields_are_named_and_not_repeated(client: httpx.Client) -> None:
    """What a client sent may be a secret; where it stands is what helps."""
    answer = client.post("/echo/1/r", content=f'["{SECRET}"]', headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "body"
    assert SECRET not in answer.text
    assert client.post("/echo/1/r", content=b"{", headers={"content-type": "application/json"}).status_code == 422
    assert client.post("/echo/1/r", content=b"{}").status_code == 422


def test_an_unknown_path_and_a_wrong_method_are_problems_too(client: httpx.Client) -> None:
    """One form for every no; 405 names what is allowed."""
    assert client.get("/nothing").json()["code"] == "not_found"
    answer = client.put("/healthz", json={})
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, "method_not_allowed", "GET")


def test_a_slash_too_many_is_no_redirect(client: httpx.Client) -> None:
    """A redirect answers before anybody asked who is there, and drops the body."""
    assert client.get("/healthz/").status_code == 404


@given(st.binary(max_size=60))
def test_any_path_is_judged_without_an_error(raw: bytes) -> None:
    """It comes from strangers, decoded by somebody else."""
    path = raw.decode("utf-8", "replace")
    refused = path_refusal({"path": path, "raw_path": raw, "query_string": b""}), path_refusal({"path": path})
    assert all(found is None or found.status == 400 for found in refused)
    if not path.isprintable() or "\ufffd" in path:
        assert None not in refused
    assert all(found is None or found.status == 422 for found in (unstorable(raw), ambiguous(raw)))


@pytest.fixture
def open_client(settings: Settings, sqlite_registry: Registry, clock: FrozenClock) -> Iterator[httpx.Client]:
    """An application that asks for no token."""
    with live(
        world(settings, sqlite_registry, clock, routers=(router,), everybody=unchecked(Actor("local:me"))).app
    ) as found:
        yield found


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Origin": "https://evil.example"}, "cross_origin"), ({"Origin": "null"}, "cross_origin"),
     ({"Sec-Fetch-Site": "cross-site"}, "cross_origin"), ({"Sec-Fetch-Site": "same-site"}, "cross_origin"),
     ({"Host": "evil.example"}, "host_not_allowed"), ({"Host": "127.0.0.1.evil.example"}, "host_not_allowed"),
     ({"Origin": "http://localhost:9999"}, "cross_origin")],
)  # fmt: skip
def test_without_tokens_no_other_sites_page_changes_anything(
    open_client: httpx.Client, headers: dict[str, str], code: str
) -> None:
    """A page that the user visits can post to loopback, and the API would believe that it is the user."""
    answer = open_client.post(URL, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_without_tokens_programs_and_our_own_pages_notice_nothing(open_client: httpx.Client) -> None:
    """curl, the command line, and a page of this very server."""
    port = open_client.base_url.port
    assert open_client.post(URL, json={}).status_code == 200
    assert open_client.get("/secret").json() == SECRET
    own = {
        "Origin": f"http://localhost:{port}",
        "Host": f"localhost:{port}",
        "Sec-Fetch-Site": "same-origin",
        "X-PLMS-Page": "1",
    }
    assert open_client.post(URL, json={}, headers=own).status_code == 200


def test_with_tokens_any_name_may_be_used(client: httpx.Client) -> None:
    """A browser carries no token by itself; a proxy may pass on whatever name it has."""
    headers = {"Host": "plms.example.org", "Origin": "https://elsewhere.example"}
    assert client.post(URL, json={}, headers=headers).status_code == 200
