"""What does the alert engine offer to Dagster? What the modules beside this one offer; they are found, not listed.

A module offers any of `ASSETS`, `CHECKS`, `JOBS`, `SENSORS` (lists).
"""

import importlib
import pkgutil
from typing import Any

from plms_pipeline.alerts.defs.sensors import rules_sensor

__all__ = ["ASSETS", "CHECKS", "JOBS", "SENSORS", "rules_sensor"]
_PARTS = [
    importlib.import_module(f"{__name__}.{part}")
    for part in sorted(info.name for info in pkgutil.iter_modules(__path__))
]


def _offered(name: str) -> list[Any]:
    return [definition for part in _PARTS for definition in getattr(part, name, [])]


ASSETS = _offered("ASSETS")
CHECKS = _offered("CHECKS")
JOBS = _offered("JOBS")
SENSORS = _offered("SENSORS")
