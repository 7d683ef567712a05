"""The portfolio over HTTP."""

from __future__ import annotations

from plms_pipeline.portfolio.routes.guards import router as guards_router
from plms_pipeline.portfolio.routes.lanes import router as lanes_router
from plms_pipeline.portfolio.routes.status import router as status_router

ROUTERS = (status_router, guards_router, lanes_router)
