"""What does the life of a run offer over HTTP? Each module beside this one offers a `router`; they are found, not listed."""

from __future__ import annotations

from fastapi import APIRouter

from plms_pipeline.parts import parts_of

ROUTERS: list[APIRouter] = [part.router for part in parts_of(__name__, __path__)]
