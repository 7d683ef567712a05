"""The book of receipts as files, one per UTC day: `receipts`, and `receipt_days`, which keeps them fresh at night.

A nightly range run over two years of daily partitions costs half a minute in Dagster alone. So the night runs one
unpartitioned asset that rewrites the few days that changed and logs a materialization of `receipts` for each; a person
who wants one day, or all of them, materializes partitions of `receipts`. Both call the same action.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from plms_pipeline.intake.daycolumns import COLUMNS
from plms_pipeline.intake.defs.io import DAY_PARQUET, DayParquet
from plms_pipeline.resources import DOCUMENTS, Plms, no_retry_for_permanent_errors
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.intake.actions.days import WrittenDay

RECEIPTS = dg.AssetKey("receipts")
# end_offset: today is a partition too, because the night counts what was completed until its own instant.
DAYS = dg.DailyPartitionsDefinition(start_date=load_settings().first_day.isoformat(), timezone="UTC", end_offset=1)
SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn(
            column.name, column.kind, description=column.meaning,
            constraints=dg.TableColumnConstraints(nullable=column.is_nullable),
        )
        for column in COLUMNS
    ]
)  # fmt: skip
RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)


def day_metadata(day: "WrittenDay") -> dict[str, Any]:
    """What a materialization of one day says."""
    return {
        "dagster/row_count": day.n_receipts,
        "n_receipts": day.n_receipts,
        "bytes": day.size,
        "schema_version": day.schema_version,
        "rows_sha256": day.rows_sha256,
        "file_sha256": day.file_sha256,
        "path": dg.MetadataValue.path(day.path),
    }


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    io_manager_key=DAY_PARQUET,
    group_name="intake",
    owners=["team:plms"],
    kinds={"parquet"},
    code_version="1",
    retry_policy=RETRIES,
    metadata={"dagster/column_schema": SCHEMA},
    description="What every task attempt took, one Parquet file per UTC day of completion, with what the calibration policy "
    "asks of its run. Written from the registry, so a file may be deleted and materialized again.",
)
def receipts(
    context: dg.AssetExecutionContext, plms: Plms, day_parquet: dg.ResourceParam[DayParquet]
) -> dg.MaterializeResult[Any]:
    """Write the asked days."""
    from plms_pipeline.intake.actions.days import write_receipt_days
    from plms_pipeline.intake.files.days import day_of_key

    total = changed = 0
    with no_retry_for_permanent_errors():
        days = [day_of_key(key) for key in context.partition_keys]
        for day in write_receipt_days(plms.registry(), day_parquet.files(), days, clock=plms.clock()):
            context.add_asset_metadata(day_metadata(day), partition_key=day.day.isoformat())
            total += day.n_receipts
            changed += day.has_changed
    context.log.info("days=%d changed=%d receipts=%d", len(days), changed, total)
    return dg.MaterializeResult()


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="intake",
    owners=["team:plms"],
    kinds={"parquet"},
    code_version="1",
    retry_policy=RETRIES,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26)),
    description="Rewrites the files of the days whose receipts changed, or whose file is missing or altered, and logs a "
    "materialization of `receipts` for each day whose bytes are new.",
)
def receipt_days(
    context: dg.AssetExecutionContext, plms: Plms, day_parquet: dg.ResourceParam[DayParquet]
) -> dict[str, Any]:
    """Write what is stale; a night without news writes nothing."""
    from plms_pipeline.intake.actions.days import stale_days, write_receipt_days

    registry, files = plms.registry(), day_parquet.files()
    written: list[WrittenDay] = []
    with no_retry_for_permanent_errors():
        for day in write_receipt_days(registry, files, stale_days(registry, files), clock=plms.clock()):
            written.append(day)
            if day.has_changed:
                partition = day.day.isoformat()
                context.log_event(dg.AssetMaterialization(RECEIPTS, metadata=day_metadata(day), partition=partition))
    changed = [day for day in written if day.has_changed]
    document = {
        "stale": len(written),
        "written": len(changed),
        "receipts": sum(day.n_receipts for day in changed),
        "bytes": sum(day.size for day in changed),
        "first_day": min((day.day.isoformat() for day in changed), default=None),
        "last_day": max((day.day.isoformat() for day in changed), default=None),
    }
    context.add_output_metadata({name: value for name, value in document.items() if value is not None})
    context.log.info("stale=%d written=%d receipts=%d", document["stale"], document["written"], document["receipts"])
    return document
