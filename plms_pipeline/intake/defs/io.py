"""How do other assets read the receipts of a day through Dagster?

An IO manager on fsspec paths: one Parquet file per partition below `$PLMS_DATA_DIR` (or any URL that fsspec understands),
a table for one partition, a dictionary of tables for many. Dagster's own base class writes in place and lets a partition
key such as `../../x` leave its folder; here a key becomes a path only after it was read as a date, and files are replaced
whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import no_retry_for_permanent_errors

if TYPE_CHECKING:
    from plms_pipeline.intake.files.days import DayFiles

DAY_PARQUET: Final = "day_parquet"


class DayParquet(dg.ConfigurableIOManager):
    """Parquet files per UTC day: `<base>/receipts/<YYYY-MM-DD>.parquet`."""

    base: str = Field(default="", description="Folder or fsspec URL; empty: PLMS_DATA_DIR.")

    def files(self) -> DayFiles:
        """The files below the base."""
        from plms_pipeline.intake.files.days import DayFiles
        from plms_pipeline.settings import load_settings

        return DayFiles(self.base or load_settings().data_dir)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the table of one partition.

        Raises:
            dagster.Failure: the partition is no day.
        """
        from plms_pipeline.intake.files.days import day_of_key, parquet_bytes

        with no_retry_for_permanent_errors():
            self.files().write(day_of_key(context.partition_key), parquet_bytes(obj))

    def load_input(self, context: dg.InputContext) -> Any:
        """The table of the asked partition; for several partitions a dictionary by partition key.

        Raises:
            dagster.Failure: a partition is no day or has no file.
        """
        from plms_pipeline.intake.files.days import day_of_key

        with no_retry_for_permanent_errors():
            tables = {key: self.files().read(day_of_key(key)) for key in context.asset_partition_keys}
        return next(iter(tables.values())) if len(tables) == 1 else tables
