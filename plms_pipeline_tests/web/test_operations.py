"""What a GraphQL request would do."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from graphql import GraphQLError, OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.web.operations import (
    BadRequest,
    check_websocket_message,
    operations_of,
    operations_of_body,
    operations_of_request,
    operations_of_url,
    shown,
)

FRAGMENTS = st.sampled_from(
    [
        "mutation",
        "query",
        "subscription",
        "{",
        "}",
        "a",
        "b",
        '"',
        '"""',
        "#",
        "\n",
        "\ufeff",
        "(",
        ")",
        "...",
        "on",
        ",",
    ]
)

# Documents that are whole; joined they are one document again, where tokens drawn one by one hardly ever are.
WHOLE = st.sampled_from(
    [
        "mutation { a }",
        "mutation M { b }",
        "query Q { mutation }",
        "{ a }",
        "subscription S { a }",
        "fragment F on T { a }",
        "fragment mutation on T { b }",
        '{ a(text: "mutation { x }") }',
        "# mutation { b }\n{ b }",
        '"""mutation { b }"""\ntype T { a: Int }',
    ]
)


@pytest.mark.parametrize(
    "document",
    [
        "mutation { a }",
        "mutation{a}",
        "\ufeffmutation{a}",
        ",,,mutation,{,a,}",
        "# query\nmutation { a }",
        "query Q { a } mutation M { b }",
        "mutation M { b } query Q { a }",
        'query Q { a(text: "mutation") } mutation M { b }',
        "fragment F on Mutation { b } mutation M { ...F }",
    ],
)
def test_a_mutation_is_seen_however_it_is_written(document: str) -> None:
    """A search for the first word would take most of these for queries."""
    assert operations_of(document).mutates


@pytest.mark.parametrize(
    "document", ["{ a }", "query { mutation }", '{ a(text: "mutation { x }") }', "{ a } # mutation { b }"]
)
def test_the_word_alone_does_not_make_a_mutation(document: str) -> None:
    """Otherwise the UI's own queries about mutations would be refused."""
    assert operations_of(document).only("query")


@given(st.lists(WHOLE, min_size=1, max_size=6).map("\n".join))
def test_of_many_operations_each_is_seen(document: str) -> None:
    """One that is named first may hide one that mutates, and Dagster executes the one whose name is asked for."""
    kinds = {d.operation.value for d in parse(document).definitions if isinstance(d, OperationDefinitionNode)}
    if not kinds:
        with pytest.raises(BadRequest):
            operations_of(document)
    else:
        assert operations_of(document).kinds == kinds


@given(st.lists(FRAGMENTS | WHOLE, max_size=25).map(" ".join))
def test_no_document_mutates_that_was_not_seen_to(document: str) -> None:
    """The library that executes the document is the judge; whatever it finds, the guard has found too."""
    try:
        kinds = {d.operation.value for d in parse(document).definitions if isinstance(d, OperationDefinitionNode)}
    except GraphQLError:
        kinds = set()
    if not kinds:
        with pytest.raises(BadRequest):
            operations_of(document)
    else:
        assert operations_of(document).kinds == kinds


@pytest.mark.parametrize("document", ["", "{", "}", "type X { a: Int }", "{ a " * 5000, "{a" + " a" * 30_000 + "}"])
def test_what_cannot_be_parsed_in_reason_is_refused(document: str) -> None:
    """Letting it through would leave the decision to whoever parses it next."""
    with pytest.raises(BadRequest):
        operations_of(document)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([{"query": "{a}"}], "Batches"),
        ([], "Batches"),
        ("{a}", "JSON object"),
        (None, "JSON object"),
        ({}, "must be a string"),
        ({"query": 7}, "must be a string"),
        ({"query": ["{a}"]}, "must be a string"),
        ({"query": "query A {a} query B {b}"}, "must select one"),
        ({"query": "query A {a} mutation B {b}", "operationName": "C"}, "names no operation"),
        ({"query": "query A {a}", "operationName": ["A"]}, "names no operation"),
        ({"query": "{a}", "operationName": ""}, "names no operation"),
    ],
)
def test_a_request_must_say_plainly_which_operation_it_means(payload: object, words: str) -> None:
    """What the guard and the server could read differently must not reach the server."""
    with pytest.raises(BadRequest, match=words):
        operations_of_request(payload)


def test_selecting_the_query_does_not_hide_the_mutation_beside_it() -> None:
    """`operationName` arrives in the body and in the URL; trusting one of them is a guess about the server."""
    request = {"query": "query A {a} mutation B {launchRun}", "operationName": "A"}
    assert operations_of_request(request).mutates
    assert operations_of_request(request).mutation_fields == ("launchRun",)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"query={a}", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    """Including one that is nested until Python's own parser gives up."""
    with pytest.raises(BadRequest, match="not valid JSON"):
        operations_of_body(body)


def test_a_body_in_another_encoding_is_read_as_the_server_reads_it() -> None:
    """Starlette decodes UTF-16 bodies too; a guard that saw only UTF-8 would see nothing in them."""
    assert operations_of_body(json.dumps({"query": "mutation{a}"}).encode("utf-16")).mutates


def test_a_url_with_two_documents_is_refused() -> None:
    """Which of them counts differs between programs: the last one, here."""
    with pytest.raises(BadRequest, match="twice"):
        operations_of_url(urlencode([("query", "{a}"), ("query", "mutation{b}")]).encode())


def test_a_url_without_a_document_is_a_page() -> None:
    """GraphiQL and a bare /graphql must still answer."""
    assert operations_of_url(b"") is None
    assert operations_of_url(b"x=1") is None


def test_a_url_is_decoded_before_it_is_judged() -> None:
    """Percent signs and plus signs hide a mutation from a plain search."""
    found = operations_of_url(b"query=%6dutation+%7B+a+%7D")
    assert found is not None
    assert found.mutates


@pytest.mark.parametrize(
    "message",
    [
        {"type": "connection_init", "payload": {}},
        {"type": "start", "id": "1", "payload": {"query": "subscription { runs }"}},
        {"type": "subscribe", "id": "1", "payload": {"query": "subscription { runs }"}},
        {"type": "stop", "id": "1"},
        {"type": "connection_terminate"},
    ],
)
def test_the_ui_s_own_messages_pass(message: dict[str, object]) -> None:
    """Run logs and live status come over the WebSocket; the same in bytes is nobody's."""
    check_websocket_message(json.dumps(message))
    with pytest.raises(BadRequest):
        check_websocket_message(json.dumps({**message, "type": f"{message['type']}?"}))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"type": "start", "payload": {"query": "mutation { launchRun }"}}),
        json.dumps({"type": "start", "payload": {"query": "subscription A { a } mutation B { b }"}}),
        json.dumps({"type": "start", "payload": {"query": "{ a }"}}),
        json.dumps({"type": "start", "payload": {}}),
        json.dumps({"type": "start"}),
        json.dumps({"type": ["start"], "payload": {"query": "mutation { a }"}}),
        json.dumps({"type": "START", "payload": {"query": "mutation { a }"}}),
        json.dumps([{"type": "start"}]),
        "not json",
        None,
    ],
)
def test_nothing_but_subscriptions_goes_over_the_websocket(text: str | None) -> None:
    """Nothing needs to be changed over it, and Dagster itself does not look at the kind of operation."""
    with pytest.raises(BadRequest):
        check_websocket_message(text)


def test_a_log_line_stays_short_whatever_is_sent() -> None:
    """Field names are chosen by the client."""
    assert len(shown(["x" * 1000] * 100)) <= 5 * 40 + 4
