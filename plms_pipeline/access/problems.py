"""In which form does the API say no?

As problem details (RFC 9457), with the stable `code` that the command line prints too and the sources' `detail`. What a
person or program sent is never echoed, and nothing of our inside is told: an unexpected error carries the request id, by
which the log has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.errors import PlmsError

MEDIA_TYPE = "application/problem+json"
# Status → (title, code when nothing more is known, example of a detail).
STATUSES: dict[int, tuple[str, str, str]] = {
    400: ("Bad Request", "bad_request", "Invalid or missing Idempotency-Key header"),
    401: ("Unauthorized", "token_missing", "This needs the header `Authorization: Bearer <token>`."),
    403: ("Forbidden", "missing_scope", "Missing scope: projects.start"),
    404: ("Not Found", "not_found", "There is no project 4711."),
    405: ("Method Not Allowed", "method_not_allowed", "This method is not used here."),
    409: ("Conflict", "not_approved", "Project 42 is not approved; approve it first."),
    413: ("Content Too Large", "body_too_large", "A request body may hold at most 1048576 bytes."),
    415: ("Unsupported Media Type", "json_required", "A body is sent as application/json."),
    422: ("Unprocessable Content", "validation_failed", "1 field is not valid: body.run_kind."),
    429: ("Too Many Requests", "rate_limited", "Too many starts; try again in 2 s."),
    500: (
        "Internal Server Error",
        "internal_error",
        "Something unexpected happened; the log has it under the request id.",
    ),
    502: ("Bad Gateway", "pas_refused", "The executor refused."),
    503: ("Service Unavailable", "unavailable", "The registry does not answer; try again later."),
}


class FieldProblem(BaseModel):
    """One field of a request that is not valid."""

    field: str = Field(
        description="Where it stands: body, query, path or header, then the names.", examples=["body.run_kind"]
    )
    message: str = Field(description="What is wrong with it.", examples=["Input should be a valid string"])
    type: str = Field(description="The kind of problem, stable.", examples=["string_type"])


class Problem(BaseModel):
    """Problem details (RFC 9457) with a stable code."""

    model_config = ConfigDict(title="Problem")

    type: str = Field("about:blank", description="Always about:blank: `code` tells the kinds apart.")
    title: str = Field(description="The meaning of the status.", examples=["Conflict"])
    status: int = Field(description="The HTTP status.", examples=[409])
    detail: str = Field(
        description="One sentence for people: what, why, and what to do.", examples=["Missing scope: ops.view"]
    )
    code: str = Field(description="Stable name of the problem, for programs.", examples=["not_approved"])
    instance: str = Field(description="The path that was asked.", examples=["/api/projects/42/start"])
    request_id: str = Field(
        description="Under this id the log tells more.", examples=["0b7c9a54-9a3f-4c0f-8a3e-0e9f1a2b3c4d"]
    )
    fields: list[FieldProblem] | None = Field(None, description="With 422: what is wrong, field by field.")


def problem(
    status: int,
    *,
    detail: str,
    code: str,
    instance: str,
    request_id: str,
    fields: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Problem details as a JSON object."""
    title = STATUSES[status][0] if status in STATUSES else "Error"
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
        "request_id": request_id,
    }
    if fields is not None:
        told["fields"] = [dict(field) for field in fields]
    return told


def problem_of(error: PlmsError, *, instance: str, request_id: str) -> dict[str, Any]:
    """An error of the family as problem details."""
    return problem(error.http_status, detail=error.message, code=error.code, instance=instance, request_id=request_id)


def headers_of(error: PlmsError) -> dict[str, str]:
    """The headers that belong to an error: Retry-After where trying again makes sense, the challenge with 401."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="plms"'
    return headers


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: these statuses answer with problem details.

    What every route may answer (400, 401, 403, 404, 413, 422, 503, and for writes 409 and 429) is documented by the
    application; this is for the others.
    """
    return {status: response_doc(status) for status in statuses}


def response_doc(status: int) -> dict[str, Any]:
    """One response of the OpenAPI document, with an example."""
    title, code, detail = STATUSES[status]
    example = problem(
        status,
        detail=detail,
        code=code,
        instance="/api/projects/42/start",
        request_id="0b7c9a54-9a3f-4c0f-8a3e-0e9f1a2b3c4d",
    )
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
