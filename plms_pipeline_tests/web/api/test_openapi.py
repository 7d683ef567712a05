"""Does the OpenAPI document say everything that a client can meet?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.access.roles import SCOPES
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.api_world import ask, world

# FastAPI takes half a second for the document: one worker asks for it, once.
pytestmark = pytest.mark.xdist_group("openapi")


@pytest.fixture(scope="module")
def document(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("openapi")
    settings = load_settings({"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")})
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.data_dir / "registry.db")
    registry = Registry.open(settings.database_url)
    clock = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    answer = ask(world(settings, registry, clock).app, "GET", "/openapi.json")
    assert answer.status_code == 200
    yield answer.json()
    registry.close()


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
