"""What does the portfolio offer to Dagster? What the modules beside this one offer; they are found, not listed.

A module offers any of `ASSETS`, `CHECKS`, `JOBS`, `SCHEDULES`, `SENSORS` (lists).
"""

from plms_pipeline.parts import offered, parts_of

_PARTS = parts_of(__name__, __path__)
ASSETS = offered(_PARTS, "ASSETS")
CHECKS = offered(_PARTS, "CHECKS")
JOBS = offered(_PARTS, "JOBS")
SCHEDULES = offered(_PARTS, "SCHEDULES")
SENSORS = offered(_PARTS, "SENSORS")
