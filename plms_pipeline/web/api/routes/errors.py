"""How does an error of any kind become an answer?

One form for all of them (`access/problems.py`). Who was refused is written into the audit log here and nowhere else, so that
no route can forget it; the write happens in a worker thread, because a refusal must not make everybody else wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from plms_pipeline.access.actions import RefusalBook
from plms_pipeline.access.problems import MEDIA_TYPE, STATUSES, headers_of, problem, problem_of
from plms_pipeline.access.routes import state_of
from plms_pipeline.errors import PlmsError
from plms_pipeline.web.api.envelope import Refusal, Scope, method_refusal, shown_path
from plms_pipeline.web.api.methods import MethodTable

MAX_FIELDS_TOLD = 20
MAX_SUBJECT = 300
_FRAMEWORKS_WORDS = "There was an error parsing the body"


def install(app: FastAPI, book: RefusalBook, methods: MethodTable) -> None:
    """Give the application its error handlers."""

    async def on_plms_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, PlmsError)  # noqa: S101 - registered for this class
        if error.http_status in (401, 403):
            await audited(request, book, error.http_status, error.code)
        told = problem_of(error, instance=shown_path(request.url.path), request_id=_request_id(request))
        return _answer(error.http_status, told, headers_of(error))

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
        _, code, _ = STATUSES.get(error.status_code, ("", "error", ""))
        detail = error.detail if isinstance(error.detail, str) else "The request is refused."
        if error.status_code == 404 and detail == "Not Found":
            detail = "There is nothing at this path; GET /openapi.json lists what there is."
        if detail == _FRAMEWORKS_WORDS:
            detail = "The body cannot be read: it is plain JSON in UTF-8, not compressed, not cut off, not nested without end."
        headers = dict(error.headers or {})
        if error.status_code == 405 and (allowed := methods.allowed(request.url.path)):
            refusal = method_refusal(allowed)
            detail, headers = refusal.detail, {**headers, **dict(refusal.headers)}
        return _answer(error.status_code, _told(request, error.status_code, code, detail), headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
        fields = [_field(found) for found in error.errors()]
        names = ", ".join(field["field"] for field in fields[:5]) + (", …" if len(fields) > 5 else "")
        detail = f"{len(fields)} field{'s are' if len(fields) > 1 else ' is'} not valid: {names}."
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            detail = f"The body is no JSON: {first.get('ctx', {}).get('error', 'a mistake')} at character {first['loc'][-1]}."
        elif first["loc"] == ("body",) and not _is_json(request):
            detail = "A body is JSON; send it with the header `Content-Type: application/json`."
        told = _told(request, 422, "validation_failed", detail, fields[:MAX_FIELDS_TOLD])
        return _answer(422, told)

    app.add_exception_handler(PlmsError, on_plms_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid)


async def audited(request: Request, book: RefusalBook, status: int, code: str) -> None:
    """Write a refusal into the audit log."""
    principal = getattr(request.state, "principal", None)
    await run_in_threadpool(
        book.note,
        at=state_of(request).clock.now(),
        actor=principal.actor if principal is not None else None,
        subject=f"{request.method} {shown_path(request.url.path)}"[:MAX_SUBJECT],
        code=code,
        status=status,
        request_id=_request_id(request),
        peer=request.client.host if request.client else None,
    )


async def audited_path(scope: Scope, refusal: Refusal, book: RefusalBook) -> None:
    """Write a path that no route was asked about into the audit log."""
    await audited(Request(scope), book, refusal.status, refusal.code)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _told(
    request: Request, status: int, code: str, detail: str, fields: Sequence[Mapping[str, str]] | None = None
) -> dict[str, Any]:
    return problem(
        status,
        detail=detail,
        code=code,
        instance=shown_path(request.url.path),
        request_id=_request_id(request),
        fields=fields,
    )


def _answer(status: int, told: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(told, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _field(found: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, never the value: it may be a secret, or larger than the rest of the answer."""
    where = ".".join(str(part) for part in found.get("loc", ()))
    return {"field": shown_path(where), "message": str(found.get("msg", ""))[:300], "type": str(found.get("type", ""))}
