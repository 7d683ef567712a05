"""The files of the page.

They hold nothing of anybody's and are open: who signs in must see where. The policy that goes with them lets the page load and
ask nothing but this server, run no script that does not lie here, and lie in no other page.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from plms_pipeline.errors import NotFound
from plms_pipeline.web.page.files import INDEX, assets

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(INDEX, request)


@router.get("/page/{name}")
async def asset(name: str, request: Request) -> Response:
    """One of its files."""
    return _answer(name, request)


def _answer(name: str, request: Request) -> Response:
    found = assets().get(name)
    if found is None:
        raise NotFound("The page has no such file.", code="not_found")
    headers = {**HEADERS, "ETag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)
