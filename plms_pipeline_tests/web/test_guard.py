"""The front door, with a fake webserver behind it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from plms_pipeline.web.demands import Facts, KnownRun, Question
from plms_pipeline.web.guard import MAX_BODY_BYTES
from plms_pipeline_tests.web import asgi
from plms_pipeline_tests.web.asgi import Answer, text
from plms_pipeline_tests.web.doors import HOST, JSON, OURS, open_door

MUTATION = json.dumps({"query": "mutation M { launchRun { __typename } }"}).encode()


class Behind:
    """Stands for the webserver: remembers what reached it."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.texts: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                self.texts.append(message["text"])
            return
        if scope["type"] == "lifespan":
            return
        body = b""
        if scope["method"] == "POST":
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
        self.bodies.append(body)
        headers = [
            (b"content-type", b"text/html"),
            (b"X-Frame-Options", b"ALLOWALL"),
            (b"referrer-policy", b"unsafe-url"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"reached"})

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.scopes[-1]["headers"]}


def ask(behind: Behind, *arguments: Any, headers: Iterable[tuple[str, str]] = (HOST,), **more: Any) -> Answer:
    """One request to the door with `behind` behind it: method, path, headers, body."""
    door = open_door(behind)
    if len(arguments) > 2:
        return asgi.ask(door, *arguments, **more)
    return asgi.ask(door, *arguments, headers=headers, **more)


@pytest.fixture
def behind() -> Behind:
    return Behind()


def test_the_pages_open(behind: Behind) -> None:
    """The door that nobody gets through is of no use."""
    answer = ask(behind)
    assert (answer.status, answer.body) == (200, b"reached")


def test_security_headers_are_ours_and_not_doubled(behind: Behind) -> None:
    """Two contradicting X-Frame-Options are ignored by browsers, and the UI can be framed and clicked blindly."""
    answer = ask(behind)
    names = [name.lower() for name, _ in answer.raw_headers]
    assert names.count(b"x-frame-options") == 1
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/logs/x",
        "/logs/",
        "/logs/out",
        "/logs//out",
        "/logs/a/b",
        "/logs/../../etc/passwd/out",
        "/logs/a/./out",
        "/logs/a/out/",
    ],
)
def test_a_log_that_cannot_be_is_not_found(behind: Behind, path: str) -> None:
    """Dagster answers each of these with a traceback and 500, to anybody who asks."""
    answer = ask(behind, path=path)
    assert (answer.status, answer.code, behind.scopes) == (404, "no_log", [])


@pytest.mark.parametrize("path", ["/logs/run/compute_logs/step/out", "/logs/run/compute_logs/step/err", "/logsx"])
def test_a_log_that_there_may_be_is_asked_for(behind: Behind, path: str) -> None:
    """The links on the page of a run must go on working."""
    assert ask(behind, path=path).status == 200


def test_the_debug_file_is_given_of_runs_that_there_are(behind: Behind) -> None:
    """Of any other run Dagster answers with a traceback and 500, to anybody who asks."""

    async def look_up(question: Question) -> Facts:
        return Facts(runs={run: KnownRun("a_job", {}) for run in question.runs & {"known"}})

    door = open_door(behind, look_up=look_up)
    assert asgi.ask(door, path="/download_debug/known").status == 200
    answer = asgi.ask(door, path="/download_debug/x")
    assert (answer.status, answer.code, len(behind.scopes)) == (404, "no_run", 1)


def test_a_mutation_by_get_is_refused(behind: Behind) -> None:
    """One <img> on any page that a user visits would launch a run."""
    answer = ask(behind, path="/graphql", query=urlencode({"query": "mutation { launchRun { x } }"}))
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "mutation_needs_post", "POST")
    assert behind.scopes == []


def test_a_query_by_get_is_answered(behind: Behind) -> None:
    """Looking harms nobody, and people bookmark it."""
    assert ask(behind, path="/graphql", query=urlencode({"query": "{ version }"})).status == 200
    assert ask(behind, path="/graphql").status == 200


@pytest.mark.parametrize(
    "document", ["subscription { x }", "query A {a} mutation B {b}", "query A {a} query B {b}", "{"]
)
def test_by_get_only_plain_queries_are_answered(behind: Behind, document: str) -> None:
    """Anything else is either dangerous or unclear."""
    assert ask(behind, path="/graphql", query=urlencode({"query": document})).status in (400, 405)
    assert behind.scopes == []


def test_our_own_page_may_post_a_mutation_and_the_body_arrives_whole(behind: Behind) -> None:
    """The Launchpad's button; the guard has read the body before Dagster does."""
    answer = ask(behind, "POST", "/graphql", [HOST, JSON, OURS], MUTATION, chunks=5)
    assert answer.status == 200
    assert behind.bodies == [MUTATION]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/plain; x=application/json",
        "application/graphql",
        "application/jsonp",
        "",
    ],
)
def test_a_post_that_any_site_could_send_is_refused(behind: Behind, media_type: str) -> None:
    """A form or a text/plain fetch needs no preflight; Dagster looks for application/json anywhere in the header."""
    answer = ask(behind, "POST", "/graphql", [HOST, ("content-type", media_type), OURS], MUTATION)
    assert (answer.status, answer.code) == (415, "json_required")
    assert behind.scopes == []


def test_json_with_a_charset_is_json(behind: Behind) -> None:
    """Browsers add one."""
    headers = [HOST, ("content-type", "Application/JSON; charset=utf-8"), OURS]
    assert ask(behind, "POST", "/graphql", headers, MUTATION).status == 200


@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:3001", "null"])
def test_a_post_from_another_origin_is_refused(behind: Behind, origin: str) -> None:
    """Another port on localhost is another program."""
    answer = ask(behind, "POST", "/graphql", [HOST, JSON, ("origin", origin)], MUTATION)
    assert (answer.status, answer.code) == (403, "cross_origin")
    assert behind.scopes == []


def test_a_program_may_post(behind: Behind) -> None:
    """curl and Dagster's own GraphQL client send neither Origin nor Sec-Fetch-Site."""
    assert ask(behind, "POST", "/graphql", [HOST, JSON], MUTATION).status == 200


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", json.dumps([{"query": "{a}"}]).encode(), b'{"query": "{"}'])
def test_a_body_that_is_not_one_graphql_request_is_refused(behind: Behind, body: bytes) -> None:
    """Batches and broken bodies are not for the server to interpret."""
    answer = ask(behind, "POST", "/graphql", [HOST, JSON, OURS], body)
    assert (answer.status, answer.code) == (400, "bad_graphql_request")
    assert behind.scopes == []


def test_a_huge_body_is_refused_before_it_is_parsed(behind: Behind) -> None:
    """Otherwise one request could take all memory."""
    answer = ask(behind, "POST", "/graphql", [HOST, JSON, OURS], b" " * (MAX_BODY_BYTES + 1), chunks=9)
    assert (answer.status, answer.code) == (413, "too_large")


@pytest.mark.parametrize(
    "path", ["/report_asset_materialization/x", "/report_asset_check/x", "/report_asset_observation/x"]
)
@pytest.mark.parametrize("headers", [[HOST, JSON], [HOST, JSON, OURS], [HOST]])
def test_nobody_reports_a_check_as_passed_through_this_door(
    behind: Behind, path: str, headers: list[tuple[str, str]]
) -> None:
    """These endpoints take any caller's word that a gate was passed."""
    answer = ask(behind, "POST", path, headers, b"{}")
    assert (answer.status, answer.code) == (403, "report_endpoint_closed")
    assert behind.scopes == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(behind: Behind, method: str) -> None:
    """Nothing uses them; a lower-case method is no method that the rules know."""
    assert ask(behind, method).code == "method_not_allowed"


def test_every_path_is_for_our_host_names_only(behind: Behind) -> None:
    """DNS rebinding."""
    for headers in ([("host", "evil.test")], []):
        assert ask(behind, headers=headers).code == "host_not_allowed"


@pytest.mark.parametrize("name", ["host", "origin", "content-type", "sec-fetch-site", "Content-Length"])
def test_a_header_given_twice_is_refused(behind: Behind, name: str) -> None:
    """The guard would judge one of them and the server use the other."""
    doubled = [(name, "localhost:3000"), (name.upper(), "localhost:3000")]
    assert ask(behind, "POST", "/graphql", [HOST, *doubled], MUTATION).code == "doubled_header"


@pytest.mark.parametrize(
    "claim",
    ["x-plms-actor", "X-PLMS-Actor", "x_plms_actor", "X-Plms_Actor", "x-plms-actor-role", "x-plms-actor-verified"],
)
def test_the_actor_is_ours_to_say(behind: Behind, claim: str) -> None:
    """A client that names itself would sign approvals in anybody's name."""
    ask(behind, headers=[HOST, (claim, "user:boss")])
    said = [(name, value) for name, value in behind.scopes[-1]["headers"] if b"actor" in name.lower()]
    assert said == [(b"x-plms-actor", b"local:ada"), (b"x-plms-actor-verified", b"no"), (b"x-plms-actor-role", b"none")]


def test_a_mutation_leaves_a_line_in_the_log(behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks later what was done through the door finds it."""
    with caplog.at_level(logging.INFO, logger="plms_pipeline.web.guard"):
        ask(behind, "POST", "/graphql", [HOST, JSON, OURS], MUTATION)
    assert "event=graphql_mutation fields=launchRun actor=local:ada" in caplog.text


def test_what_another_site_embeds_is_refused(behind: Behind) -> None:
    """Timing and size of an answer tell secrets, even when its text cannot be read."""
    embedded = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]
    assert ask(behind, headers=embedded).code == "cross_site"


@given(
    st.lists(
        st.sampled_from(["/", "graphql", "GraphQL", "\n", "\r", " ", "\x00", "%0a", ".", "..", "\u2028"]), max_size=5
    )
)
def test_no_spelling_of_the_path_reaches_graphql_unjudged(pieces: list[str]) -> None:
    """Starlette's own router is the judge: `/graphql` and a newline is the GraphQL endpoint to it."""

    async def endpoint(_request: Any) -> None: ...

    path = "/" + "".join(pieces)
    behind = Behind()
    ask(behind, path=path, query=urlencode({"query": "mutation { a }"}))
    match, _ = Route("/graphql", endpoint).matches({"type": "http", "method": "GET", "path": path})
    if match.value:
        assert behind.scopes == []


def talk(behind: Behind, messages: list[Any], headers: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """One WebSocket conversation with the door."""
    return asgi.talk(open_door(behind), messages, headers)


SUBSCRIPTION = text({"type": "start", "id": "1", "payload": {"query": "subscription { logs }"}})


def test_the_websocket_serves_our_pages(behind: Behind) -> None:
    """Run logs stream over it."""
    sent = talk(behind, [text({"type": "connection_init"}), SUBSCRIPTION], [HOST, OURS])
    assert [message["type"] for message in sent] == ["websocket.accept"]
    assert len(behind.texts) == 2
    assert behind.headers["x-plms-actor"] == "local:ada"


@pytest.mark.parametrize(
    "headers",
    [[HOST, ("origin", "http://evil.test")], [HOST, ("origin", "null")], [("host", "evil.test"), OURS], [OURS]],
)
def test_the_websocket_is_closed_to_other_sites(behind: Behind, headers: list[tuple[str, str]]) -> None:
    """Browsers do not apply the same-origin policy to WebSockets: the server must."""
    sent = talk(behind, [SUBSCRIPTION], headers)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
    assert behind.scopes == []


def test_a_mutation_over_the_websocket_ends_the_connection_unseen(behind: Behind) -> None:
    """Dagster itself does not look at the kind of operation that is started there."""
    hidden = "mutation { pipelineRunLogs(runId: 1) { x } launchRun { y } }"
    sent = talk(behind, [text({"type": "start", "id": "1", "payload": {"query": hidden}}), SUBSCRIPTION], [HOST, OURS])
    assert sent[-1]["type"] == "websocket.close"
    assert behind.texts == []


def test_server_start_up_is_not_disturbed(behind: Behind) -> None:
    """The lifespan protocol is neither a request nor a connection."""

    async def never() -> dict[str, Any]:
        return {}

    async def ignore(_message: Any) -> None: ...

    asyncio.run(open_door(behind)({"type": "lifespan"}, never, ignore))
    assert behind.scopes == [{"type": "lifespan"}]
