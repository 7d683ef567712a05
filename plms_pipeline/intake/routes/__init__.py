"""What does intake offer over HTTP? Each module beside this one offers a `router`; they are found, not listed."""

from __future__ import annotations

import importlib
import pkgutil

from fastapi import APIRouter

ROUTERS: list[APIRouter] = [
    importlib.import_module(f"{__name__}.{part}").router
    for part in sorted(info.name for info in pkgutil.iter_modules(__path__))
]
