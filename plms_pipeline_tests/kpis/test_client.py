"""Neo4j's HTTP protocol, against a real server on loopback."""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.kpis.client import GraphClient
from plms_pipeline_tests.kpis.conftest import FakeGraph

QUERY = "MATCH ()-[r]->() RETURN count(r)"


def client(graph: FakeGraph, **changes: Any) -> GraphClient:
    given: dict[str, Any] = {"database": "neo4j", "user": "neo4j", "password": graph.password, "sleep": lambda _: None}
    return GraphClient(graph.url, **{**given, "timeout_s": 5.0, **changes})


def test_asks_the_query_api_for_read_access(graph_server: FakeGraph) -> None:
    """The server is the second lock behind our own check of the query."""
    graph_server.password = "s3cret"
    assert client(graph_server).number(QUERY) == 7
    [request] = graph_server.requests
    assert request["path"] == "/db/neo4j/query/v2"
    assert request["body"] == {"statement": QUERY, "accessMode": "READ"}


def test_falls_back_to_the_older_endpoint(graph_server: FakeGraph) -> None:
    """Servers before 5.19 have no Query API."""
    graph_server.speaks_query_api = False
    graph_server.value = 0
    assert client(graph_server).number(QUERY) == 0
    assert [each["path"] for each in graph_server.requests] == ["/db/neo4j/query/v2", "/db/neo4j/tx/commit"]
    assert graph_server.requests[1]["headers"]["Access-Mode"] == "READ"


def test_a_database_name_cannot_leave_its_place_in_the_address(graph_server: FakeGraph) -> None:
    """It comes from a setting, and settings are typed by people."""
    assert client(graph_server, database="a/../b").number(QUERY) == 7
    assert graph_server.requests[0]["path"] == "/db/a%2F..%2Fb/query/v2"


def test_wrong_credentials_mean_away_and_name_the_settings(graph_server: FakeGraph) -> None:
    """The artifact is not at fault, so it is measured again when the password is right."""
    graph_server.password = "right"
    with pytest.raises(Unavailable, match="PLMS_NEO4J_PASSWORD"):
        client(graph_server, password="wrong").number(QUERY)


@pytest.mark.parametrize("value", [True, -1, 1.5, "7", None, [7], {"n": 7}])
def test_the_answer_must_be_a_count(graph_server: FakeGraph, value: Any) -> None:
    """Anything else is a query that was not meant."""
    graph_server.value = value
    with pytest.raises(BadInput):
        client(graph_server).number(QUERY)


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"fields":["n"],"values":[]}}',
        b'{"data":{"fields":["n"],"values":[[1],[2]]}}',
        b'{"data":{"fields":["n","m"],"values":[[1,2]]}}',
        b'{"data":[]}',
        b'{"results":[]}',
        b'{"errors":[{"code":"Neo.ClientError.Statement.SyntaxError","message":"x"}]}',
    ],
)
def test_an_answer_of_another_shape_is_the_querys_fault(graph_server: FakeGraph, body: bytes) -> None:
    """One row, one column."""
    graph_server.answers = [(200, body)]
    with pytest.raises(BadInput) as caught:
        client(graph_server).number(QUERY)
    assert caught.value.code == "bad_graph_answer"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"\xff\xfe", b"[" * 100_000])
def test_what_does_not_speak_the_protocol_is_away(graph_server: FakeGraph, body: bytes) -> None:
    """A proxy's error page, for example."""
    graph_server.answers = [(200, body)]
    with pytest.raises(Unavailable):
        client(graph_server).number(QUERY)


def test_tries_again_when_the_server_stumbles(graph_server: FakeGraph) -> None:
    """A restart of the graph at 02:00 must not fail every artifact."""
    waits: list[float] = []
    graph_server.answers = [(503, b""), (500, b"{}")]
    assert client(graph_server, sleep=waits.append).number(QUERY) == 7
    assert len(waits) == 2
    assert waits == sorted(waits)


def test_gives_up_after_three_attempts(graph_server: FakeGraph) -> None:
    """In bounded time."""
    graph_server.answers = [(503, b"")] * 9
    with pytest.raises(Unavailable, match="status 503"):
        client(graph_server).number(QUERY)
    assert len(graph_server.requests) == 3


def test_a_server_that_is_not_there_is_away() -> None:
    """Nothing listens on port 9 of loopback."""
    gone = GraphClient("http://127.0.0.1:9", database="n", user="u", password=None, sleep=lambda _: None, timeout_s=1.0)
    with pytest.raises(Unavailable, match="PLMS_NEO4J_URL"):
        gone.number(QUERY)


@pytest.mark.parametrize("url", ["not a url", "ftp://x", "http://", "http://[::1"])
def test_a_url_that_is_none_is_away_and_not_a_crash(url: str) -> None:
    """The setting is free text."""
    with pytest.raises(Unavailable):
        GraphClient(url, database="n", user="u", password=None, sleep=lambda _: None, timeout_s=1.0).number(QUERY)


def test_a_redirect_does_not_take_the_password_elsewhere(graph_server: FakeGraph) -> None:
    """httpx would follow it to any host if asked."""
    graph_server.password = "s3cret"
    graph_server.answers = [(307, b"")]
    with pytest.raises(Unavailable):
        client(graph_server).number(QUERY)
    assert len(graph_server.requests) == 1


def test_an_endless_answer_is_cut(graph_server: FakeGraph) -> None:
    """Memory stays bounded."""
    graph_server.answers = [(200, b" " * (2 * 1024 * 1024))]
    with pytest.raises(BadInput, match="more than"):
        client(graph_server).number(QUERY)
