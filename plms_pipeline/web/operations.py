"""What would this GraphQL request do?

Dagster executes whatever operation a request selects, over GET and over form posts alike. Its WebSocket hands every
document to graphql-core's `subscribe`, which does not ask whether it is a subscription; only that no field of the
schema is both a mutation and a subscription keeps mutations out, and that is luck. A search for the word "mutation" is
not enough (comments, strings, `operationName`), so the document is parsed with the very library that executes it. The
strictest operation in a document decides, whichever is selected, and every mutation in it counts: behind an alias, in a
fragment, skipped by a directive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    ValueNode,
    parse,
    value_from_ast_untyped,
)

MAX_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class Call:
    """One mutation, and its arguments as plain values; without those for which no value was given."""

    field: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Written:
    """One mutation as it stands in the document, with the defaults of the variables around it."""

    field: str
    arguments: tuple[tuple[str, ValueNode], ...]
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of one document, and the variables that came with it."""

    kinds: frozenset[str]
    names: tuple[str | None, ...]
    written: tuple[_Written, ...] = field(default=(), repr=False)
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def mutation_fields(self) -> tuple[str, ...]:
        """The name of every mutation, as often as it stands there."""
        return tuple(each.field for each in self.written)

    def calls(self) -> tuple[Call, ...]:
        """Every mutation with its arguments.

        Raises:
            BadRequest: an argument is nested beyond reason.
        """
        try:
            return tuple(Call(each.field, self._arguments(each)) for each in self.written)
        except RecursionError as error:
            raise BadRequest("An argument of the mutation is nested too deeply.") from error

    def _arguments(self, written: _Written) -> dict[str, Any]:
        variables = {**written.defaults, **self.variables}
        found = {name: value_from_ast_untyped(node, variables) for name, node in written.arguments}
        return {name: _given(value) for name, value in found.items() if value is not Undefined}

    @property
    def mutates(self) -> bool:
        """Whether any operation of the document is a mutation."""
        return OperationType.MUTATION.value in self.kinds

    def only(self, kind: str) -> bool:
        """Whether every operation is of this kind: `query`, `mutation` or `subscription`."""
        return self.kinds == {kind}


def _given(value: Any) -> Any:
    """A value without what no variable was given for: a field of an object is then left out, an item of a list is null."""
    if isinstance(value, dict):
        return {name: _given(inner) for name, inner in value.items() if inner is not Undefined}
    if isinstance(value, list):
        return [None if inner is Undefined else _given(inner) for inner in value]
    return value


class BadRequest(ValueError):
    """A GraphQL request that is refused unread; the message is for people."""


@lru_cache(maxsize=512)
def operations_of(document: str) -> Operations:
    """Parse a GraphQL document.

    Raises:
        BadRequest: it does not parse, is nested or long beyond reason, or holds no operation.
    """
    try:
        return _read(document)
    except (GraphQLError, RecursionError) as error:
        raise BadRequest(f"The GraphQL document cannot be parsed: {error}") from error


def _read(document: str) -> Operations:
    parsed = parse(document, no_location=True, max_tokens=MAX_TOKENS)
    operations = [node for node in parsed.definitions if isinstance(node, OperationDefinitionNode)]
    if not operations:
        raise BadRequest("The GraphQL document holds no operation.")
    fragments = {node.name.value: node for node in parsed.definitions if isinstance(node, FragmentDefinitionNode)}
    return Operations(
        kinds=frozenset(node.operation.value for node in operations),
        names=tuple(node.name.value if node.name else None for node in operations),
        written=tuple(
            written
            for node in operations
            if node.operation is OperationType.MUTATION
            for written in _written(node, fragments)
        ),
    )


def _written(operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[_Written]:
    defaults = {
        variable.variable.name.value: value_from_ast_untyped(variable.default_value)
        for variable in operation.variable_definitions
        if variable.default_value is not None
    }
    for node in _fields(operation.selection_set, fragments, set()):
        arguments = tuple((argument.name.value, argument.value) for argument in node.arguments)
        yield _Written(node.name.value, arguments, defaults)


def _fields(
    selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], seen: set[str]
) -> Iterator[FieldNode]:
    """The fields that stand directly in an operation, whether spelled out or by fragments."""
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            if node.name.value in fragments:
                yield from _fields(fragments[node.name.value].selection_set, fragments, seen)


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
    return replace(operations, variables=_variables(payload.get("variables")))


def _variables(given: object) -> Mapping[str, Any]:
    """The variables of a request; Dagster reads a string as JSON.

    Raises:
        BadRequest: they are no object.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"The member `variables` is not valid JSON: {error}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadRequest("The member `variables` must be an object.")
    return given


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
