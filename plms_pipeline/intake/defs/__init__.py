"""What does intake offer to Dagster? The receipts of each day, and the asset that keeps them fresh."""

from __future__ import annotations

from plms_pipeline.intake.defs.assets import receipt_days, receipts
from plms_pipeline.intake.defs.io import DAY_PARQUET, DayParquet

ASSETS = [receipt_days, receipts]


def resources() -> dict[str, object]:
    """The IO manager that reads and writes the Parquet of a day."""
    return {DAY_PARQUET: DayParquet()}


__all__ = ["ASSETS", "receipt_days", "receipts", "resources"]
