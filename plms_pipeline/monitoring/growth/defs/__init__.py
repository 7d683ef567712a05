"""The weekly purge in Dagster."""

from plms_pipeline.monitoring.growth.defs.weekly import JOBS, SCHEDULES

__all__ = ["JOBS", "SCHEDULES"]
