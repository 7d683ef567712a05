"""The job `purge` and its schedule."""

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


class PurgeConfig(dg.Config):
    """What a person may choose in the Launchpad."""

    dry_run: bool = False


@dg.op(description="Remove what is older than PLMS_PURGE_* say; with dry_run only count it.")
def purge_growth(context: dg.OpExecutionContext, config: PurgeConfig, plms: Plms) -> None:
    """Purge, and show how much of each kind went."""
    from plms_pipeline.monitoring.growth.actions import purge
    from plms_pipeline.monitoring.growth.defs.history import DagsterHistory

    with no_retry_for_permanent_errors():
        outcome = purge(
            plms.registry(), plms.settings(), clock=plms.clock(), history=DagsterHistory(context.instance),
            is_dry=config.dry_run,
        )  # fmt: skip
    context.log.info(f"purged dry={outcome.is_dry} bytes={outcome.size} failed={outcome.failed}")
    context.add_output_metadata(
        {
            "dry_run": outcome.is_dry,
            "bytes": outcome.size,
            "has_more": outcome.has_more,
            "failed": outcome.failed,
            **{f"{each.kind}_n": each.n for each in outcome.purged},
            **{f"{each.kind}_bytes": each.size for each in outcome.purged if each.size is not None},
        }
    )


@dg.job(
    name="purge",
    description="Remove Dagster's runs and ticks by age with their files, old quarantine, and what was left half-written. "
    "Never receipts, decisions, ledger or audit. `dry_run: true` only counts.",
    tags={"dagster/max_runtime": "3600", "plms/exclusive": "purge"},
)
def purge_job() -> None:
    """One op."""
    purge_growth()


@dg.schedule(
    job=purge_job,
    cron_schedule="40 4 * * 0",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    name="weekly_purge",
    description="On Sundays, after the night.",
)
def weekly_purge() -> dg.RunRequest:
    """Every week."""
    return dg.RunRequest()


JOBS = [purge_job]
SCHEDULES = [weekly_purge]
