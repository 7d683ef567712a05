"""Does the OpenAPI document say everything that a client can meet?"""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.access.roles import SCOPES
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask, world


@pytest.fixture
def document(settings: Settings, sqlite_registry: Registry, clock: FrozenClock) -> dict[str, Any]:
    answer = ask(world(settings, sqlite_registry, clock).app, "GET", "/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for inner in value.values() for ref in references(inner)]
    return [ref for inner in value for ref in references(inner)] if isinstance(value, list) else []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """A generator of clients stops at the first that does not."""
    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_every_guarded_operation_names_its_token_and_scope(document: dict[str, Any]) -> None:
    """Without it a client learns by 401 and 403, and a reviewer not at all."""
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    open_ones = set()
    for name, operation in operations(document):
        if not operation["security"]:
            open_ones.add(name)
            continue
        assert "401" in operation["responses"], name
        if operation["security"] == [{"bearer": []}]:
            assert operation["x-required-scope"] in SCOPES, name
            assert "403" in operation["responses"], name
            assert operation["x-required-scope"] in operation["description"]
    signing = {"POST /api/session", "DELETE /api/session"}
    assert open_ones == {"GET /healthz", "GET /readyz", "GET /metrics"} | signing


def test_every_error_is_a_problem_with_an_example(document: dict[str, Any]) -> None:
    """FastAPI documents a 422 that we never answer."""
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert response["headers"]["X-Request-Id"], name
            if status < "400" or (status == "503" and name in {"GET /readyz", "GET /api/ops/healthz"}):
                continue
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)
            assert content["example"]["status"] == int(status)


def test_every_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    """The document is the manual of whoever writes a client."""
    for name, operation in operations(document):
        assert len(operation["description"]) > 20, name
        assert operation["summary"], name
        assert operation["tags"], name
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_every_body_and_answer_has_an_example(document: dict[str, Any]) -> None:
    """Nobody reads a schema of nested references; everybody reads an example."""

    def has_example(content: dict[str, Any]) -> bool:
        named = [reference.rpartition("/")[2] for reference in references(content.get("schema", {}))]
        schemas = [document["components"]["schemas"][name] for name in named] + [content.get("schema", {})]
        inside = [field for schema in schemas for field in schema.get("properties", {}).values()]
        told = any("examples" in field or "const" in field or "$ref" in str(field) for field in inside)
        return told or "example" in content or any("examples" in schema for schema in schemas)

    for name, operation in operations(document):
        contents = dict(operation.get("requestBody", {}).get("content", {}))
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                contents.update({f"{status} {kind}": content for kind, content in response.get("content", {}).items()})
        for kind, content in contents.items():
            if kind.endswith("json"):
                assert has_example(content), f"{name}: {kind}"
