"""What does the alert engine offer to Dagster? What the modules beside this one offer; they are found, not listed.

A module offers any of `ASSETS`, `CHECKS`, `JOBS`, `SENSORS` (lists).
"""

from plms_pipeline.alerts.defs.sensors import rules_sensor
from plms_pipeline.parts import offered, parts_of

__all__ = ["ASSETS", "CHECKS", "JOBS", "SENSORS", "rules_sensor"]
_PARTS = parts_of(__name__, __path__)
ASSETS = offered(_PARTS, "ASSETS")
CHECKS = offered(_PARTS, "CHECKS")
JOBS = offered(_PARTS, "JOBS")
SENSORS = offered(_PARTS, "SENSORS")
