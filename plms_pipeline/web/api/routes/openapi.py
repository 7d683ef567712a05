"""What does the OpenAPI document say that FastAPI cannot know?

Which token and which scope a route needs (read off its dependencies, so that it cannot be forgotten), and every answer that
the application itself may give around it: refusals, bad paths, bodies too large, a registry that is away. FastAPI documents
its own 422, which is not what we answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from plms_pipeline.access.problems import MEDIA_TYPE, Problem, response_doc
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.routes import IdentityCheck, ScopeCheck
from plms_pipeline.access.sessions import COOKIE
from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

WRITES = frozenset({"post", "put", "patch", "delete"})
HOOK_PREFIXES = ("/hooks/", "/webhooks/")
DESCRIPTION = """\
Runs, projects, completions and health of PLMS Pipeline.

Every request but `/healthz`, `/readyz`, `/metrics` and the signed webhooks needs `Authorization: Bearer <token>`; `plms token
issue` makes tokens. A browser that signed in (`POST /api/session`) sends the cookie `plms_session` instead, and changes
something only from this server's own pages.

Errors are problem details (RFC 9457) with a stable `code`. Every answer carries `X-Request-Id`.
"""
_OPEN = {"/healthz", "/readyz", "/metrics"}


def document(app: FastAPI, routes: Sequence[APIRoute], version: str) -> dict[str, Any]:
    """The OpenAPI document of an application whose routes are `routes`."""
    found = get_openapi(title="PLMS Pipeline", version=version, description=DESCRIPTION, routes=app.routes)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = _security_schemes()
    components["headers"] = {
        "X-Request-Id": {"description": "The id of this request in our log.", "schema": {"type": "string"}}
    }
    scopes = {
        (route.path, method.lower()): scope_of(route.dependant) for route in routes for method in route.methods or ()
    }
    known = {(route.path, method.lower()) for route in routes for method in route.methods or () if _asks_who(route)}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation, scopes.get((path, method)))
            if (path, method) in known:
                operation["security"] = [{"bearer": []}, {"session": []}]
    return found


def _asks_who(route: APIRoute) -> bool:
    """Whether a route wants to know who asks, and no more."""
    return any(isinstance(inner.call, IdentityCheck) for inner in route.dependant.dependencies)


def scope_of(dependant: Dependant) -> str | None:
    """The scope that a route asks for, wherever in the tree of its dependencies."""
    if isinstance(dependant.call, ScopeCheck):
        return dependant.call.scope
    return next((scope for inner in dependant.dependencies if (scope := scope_of(inner)) is not None), None)


def _complete(path: str, method: str, operation: dict[str, Any], scope: str | None) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {}):
        responses.pop("422", None)
    is_hook = path.startswith(HOOK_PREFIXES)
    for status in _statuses(path, method, operation, needs_token=scope is not None, is_hook=is_hook):
        responses.setdefault(str(status), response_doc(status))
    operation["responses"] = dict(sorted(responses.items()))
    for response in operation["responses"].values():
        response.setdefault("headers", {})["X-Request-Id"] = {"$ref": "#/components/headers/X-Request-Id"}
    if scope is not None:
        operation["security"] = [{"bearer": []}]
        roles = [role for role, held in ROLES.items() if scope in held]
        operation["x-required-scope"] = scope
        told = f"Needs the scope `{scope}` (roles: {', '.join(roles)})."
        operation["description"] = f"{operation.get('description', '')}\n\n{told}".strip()
    elif is_hook:
        operation["security"] = [{"webhook": []}]
    else:
        operation["security"] = []


def _statuses(
    path: str, method: str, operation: Mapping[str, Any], *, needs_token: bool, is_hook: bool
) -> Iterable[int]:
    """What the application may answer for a route."""
    yield 400
    if needs_token or is_hook:
        yield 401
    if needs_token:
        yield 403
    if "{" in path:
        yield 404
    if operation.get("parameters") or operation.get("requestBody") or method in WRITES:
        yield 422
    yield 413
    if method in WRITES:
        yield from (409, 429)
    if path not in _OPEN:
        yield 503


def _security_schemes() -> dict[str, Any]:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "RS256 or HS256; `iss`, `aud`, `exp` and `sub` required; rights from `role` and `scopes`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "A token in a cookie, for browsers.",
        },
        "webhook": {
            "type": "apiKey",
            "in": "header",
            "name": SIGNATURE_HEADER,
            "description": f"`v1=` and the hex HMAC-SHA256 of `id.timestamp.body`, with `{EVENT_ID_HEADER}` and "
            f"`{TIMESTAMP_HEADER}`; a signature is good for five minutes.",
        },
    }
