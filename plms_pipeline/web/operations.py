"""What would this GraphQL request do?

Dagster executes whatever operation a request selects, over GET and over form posts alike. Its WebSocket hands every
document to graphql-core's `subscribe`, which does not ask whether it is a subscription; only that no field of the
schema is both a mutation and a subscription keeps mutations out, and that is luck. A search for the word "mutation" is
not enough (comments, strings, `operationName`), so the document is parsed with the very library that executes it. The
strictest operation in a document decides, whichever is selected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from graphql import FieldNode, GraphQLError, OperationDefinitionNode, OperationType, parse

MAX_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of one document."""

    kinds: frozenset[str]
    names: tuple[str | None, ...]
    mutation_fields: tuple[str, ...]

    @property
    def mutates(self) -> bool:
        """Whether any operation of the document is a mutation."""
        return OperationType.MUTATION.value in self.kinds

    def only(self, kind: str) -> bool:
        """Whether every operation is of this kind: `query`, `mutation` or `subscription`."""
        return self.kinds == {kind}


class BadRequest(ValueError):
    """A GraphQL request that is refused unread; the message is for people."""


@lru_cache(maxsize=512)
def operations_of(document: str) -> Operations:
    """Parse a GraphQL document.

    Raises:
        BadRequest: it does not parse, is nested or long beyond reason, or holds no operation.
    """
    try:
        parsed = parse(document, no_location=True, max_tokens=MAX_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise BadRequest(f"The GraphQL document cannot be parsed: {error}") from error
    operations = [node for node in parsed.definitions if isinstance(node, OperationDefinitionNode)]
    if not operations:
        raise BadRequest("The GraphQL document holds no operation.")
    return Operations(
        kinds=frozenset(node.operation.value for node in operations),
        names=tuple(node.name.value if node.name else None for node in operations),
        mutation_fields=tuple(
            field.name.value
            for node in operations
            if node.operation is OperationType.MUTATION
            for field in node.selection_set.selections
            if isinstance(field, FieldNode)
        ),
    )


def operations_of_request(payload: object) -> Operations:
    """The operations of one GraphQL request, as JSON decoded it.

    Raises:
        BadRequest: a batch, no document, a document that does not parse, or an `operationName` that selects none.
    """
    if isinstance(payload, list):
        raise BadRequest("Batches of GraphQL requests are not answered here; send one object per request.")
    if not isinstance(payload, dict):
        raise BadRequest("A GraphQL request is a JSON object with the member `query`.")
    document = payload.get("query")
    if not isinstance(document, str):
        raise BadRequest("The member `query` must be a string that holds the GraphQL document.")
    operations = operations_of(document)
    name = payload.get("operationName")
    if name is None:
        if len(operations.names) > 1:
            raise BadRequest("The document holds several operations; `operationName` must select one.")
    elif not isinstance(name, str) or name not in operations.names:
        raise BadRequest(f"`operationName` {name!r} names no operation of the document.")
    return operations


def operations_of_body(body: bytes) -> Operations:
    """The operations of a JSON request body.

    Raises:
        BadRequest: the body is not JSON, or as for `operations_of_request`.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from error
    return operations_of_request(payload)


def operations_of_url(query_string: bytes) -> Operations | None:
    """The operations of a GET request's URL; None when it asks for no document at all.

    Raises:
        BadRequest: a parameter is given twice (which of them counts differs between programs), or as for
            `operations_of_request`.
    """
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    found: dict[str, str] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequest(f"The URL holds the parameter {key!r} twice.")
        found[key] = value
    if "query" not in found:
        return None
    return operations_of_request({"query": found["query"], "operationName": found.get("operationName")})


WEBSOCKET_STARTS = frozenset({"start", "subscribe"})
WEBSOCKET_TYPES = WEBSOCKET_STARTS | {
    "connection_init",
    "connection_terminate",
    "stop",
    "complete",
    "ping",
    "pong",
}


def check_websocket_message(text: str | None) -> None:
    """Let through what a browser's subscription needs; over a WebSocket nothing may change anything.

    Args:
        text: the message; None for a binary one.

    Raises:
        BadRequest: not such a message; it says why.
    """
    if text is None:
        raise BadRequest("Binary messages are not part of the GraphQL protocol.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The message is not valid JSON.") from error
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in WEBSOCKET_TYPES:
        raise BadRequest("The message type is not part of the GraphQL protocol.")
    if kind not in WEBSOCKET_STARTS:
        return
    payload = message.get("payload")
    document = payload.get("query") if isinstance(payload, dict) else None
    if not isinstance(document, str):
        raise BadRequest("The payload holds no GraphQL document.")
    if not operations_of(document).only(OperationType.SUBSCRIPTION.value):
        raise BadRequest("Only subscriptions may be sent over the WebSocket.")


def shown(fields: Sequence[str]) -> str:
    """Mutation fields for a log line: bounded, whatever a client sends."""
    return ",".join(field[:40] for field in fields[:5])
