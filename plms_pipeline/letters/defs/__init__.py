"""What do the dead letters offer to Dagster? The asset that shows them, and the sensors that keep and retry failed jobs."""

from typing import Any

from plms_pipeline.letters.defs.assets import dead_letters
from plms_pipeline.letters.defs.jobs import failed_jobs, retry_sensor

ASSETS: list[Any] = [dead_letters]
SENSORS: list[Any] = [failed_jobs]

__all__ = ["ASSETS", "SENSORS", "retry_sensor"]
