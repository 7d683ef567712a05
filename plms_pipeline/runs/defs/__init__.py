"""What does the life of a run offer to Dagster? What the modules beside this one offer; they are found, not listed.

A module offers any of `ASSETS`, `CHECKS`, `JOBS`, `SCHEDULES`, `SENSORS` (lists) and `resources()`.
"""

from typing import Any

from plms_pipeline.parts import offered, parts_of

_PARTS = parts_of(__name__, __path__)
ASSETS = offered(_PARTS, "ASSETS")
CHECKS = offered(_PARTS, "CHECKS")
JOBS = offered(_PARTS, "JOBS")
SCHEDULES = offered(_PARTS, "SCHEDULES")
SENSORS = offered(_PARTS, "SENSORS")


def resources() -> dict[str, Any]:
    """What only the definitions of this domain need."""
    return {
        name: resource for part in _PARTS if hasattr(part, "resources") for name, resource in part.resources().items()
    }
