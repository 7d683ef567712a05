"""Who am I here, and how does a browser sign in and out?

A page has no way to keep a token that scripts cannot read but a cookie, and only the server can set that one. What signs in
comes from our own pages alone (`web/api/neighbours.py`): a browser that another site signs in works in somebody else's name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access import forms
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import IdentityCheck, State
from plms_pipeline.access.sessions import came_by_https, cookie_for, ended_cookie
from plms_pipeline.access.tokens import MAX_TOKEN_CHARS

router = APIRouter(tags=["access"])
Known = Annotated[Principal, Depends(IdentityCheck())]
_ME = {
    "actor": "ada@example.org",
    "role": "operator",
    "scopes": ["ops.view", "portfolio.view", "projects.simulate", "projects.start", "projects.view"],
    "is_verified": True,
}


class Me(BaseModel):
    """Whoever sent the request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ME]})

    actor: str = Field(description="The name under which everything is recorded that they do.")
    role: str | None = Field(description="Their role; none when their token names scopes only.")
    scopes: list[str] = Field(description="What they may do, sorted.")
    is_verified: bool = Field(
        description="Whether something vouched for the name; only then do they count as a second person."
    )


class Session(Me):
    """A browser that is signed in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ME, "expires_at": "2026-03-02T12:00:30Z"}]})

    expires_at: datetime = Field(description="When the session ends, with the token that it was made of.")


class SignIn(forms.Request):
    """A token, to be kept in a cookie."""

    token: str = Field(
        min_length=1,
        max_length=MAX_TOKEN_CHARS,
        pattern=r"^[!-~]+$",
        description="A token of `plms token issue`, without the word Bearer.",
        examples=["eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"],
    )


@router.get("/api/me", response_model=Me, summary="Who I am", responses=problems(401))
async def me(principal: Known) -> Me:
    """Name, role and scopes of whoever asks: by token, session cookie or proxy."""
    return Me.model_validate(_told(principal))


@router.post("/api/session", response_model=Session, summary="Sign a browser in", responses=problems(401, 403))
async def sign_in(given: SignIn, request: Request, response: Response, state: State) -> Session:
    """Keep a token in the cookie `plms_session`, which no script can read; it ends with the token."""
    found = state.door.verified(given.token)
    response.headers["Set-Cookie"] = cookie_for(
        given.token, expires_at=found.expires_at, now=state.clock.now(), is_secure=_is_secure(request)
    )
    return Session.model_validate({**_told(found.principal), "expires_at": found.expires_at})


@router.delete("/api/session", status_code=204, summary="Sign a browser out", responses=problems(403))
async def sign_out(request: Request) -> Response:
    """Remove the cookie. The token itself stays valid: it ends by its time, or with its key (`plms token keys --rotate`)."""
    return Response(status_code=204, headers={"Set-Cookie": ended_cookie(is_secure=_is_secure(request))})


def _told(principal: Principal) -> dict[str, object]:
    return {
        "actor": principal.name,
        "role": principal.role,
        "scopes": sorted(principal.scopes),
        "is_verified": principal.is_verified,
    }


def _is_secure(request: Request) -> bool:
    return came_by_https(request.url.scheme, request.headers.get("origin"))
