"""What does the life of a model offer to Dagster? What the modules beside this one offer; they are found, not listed.

A module offers any of `ASSETS`, `CHECKS`, `JOBS`, `SCHEDULES`, `SENSORS` (lists).
"""

import importlib
import pkgutil
from typing import Any

_PARTS = [
    importlib.import_module(f"{__name__}.{part}")
    for part in sorted(info.name for info in pkgutil.iter_modules(__path__))
]


def _offered(name: str) -> list[Any]:
    return [definition for part in _PARTS for definition in getattr(part, name, [])]


ASSETS = _offered("ASSETS")
CHECKS = _offered("CHECKS")
JOBS = _offered("JOBS")
SCHEDULES = _offered("SCHEDULES")
SENSORS = _offered("SENSORS")
