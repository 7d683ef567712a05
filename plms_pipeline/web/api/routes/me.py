"""Who is asking, and what may they do?"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.routes import requires
from plms_pipeline.web.page.contracts import Me

router = APIRouter(tags=["operations"])


@router.get("/api/me", response_model=Me, summary="Who asks, and what may they do?")
async def me(principal: Annotated[Principal, requires("projects.view")]) -> JSONResponse:
    """The caller's name, role and scopes."""
    role = principal.role or next((name for name, scopes in ROLES.items() if scopes == principal.scopes), None)
    return JSONResponse({"actor": principal.name, "role": role, "scopes": sorted(principal.scopes)})
