"""The job `back_up` in Dagster: a backup, and the proof that it is whole."""

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


class BackUpConfig(dg.Config):
    """What a person may choose in the Launchpad."""

    to: str = ""


@dg.op(description="Make a backup below `to` (empty: PLMS_BACKUP_TO), and read every byte of it again.")
def make_backup(context: dg.OpExecutionContext, config: BackUpConfig, plms: Plms) -> None:
    """Create and verify."""
    from plms_pipeline.monitoring.backup.actions.creating import create, destination_of
    from plms_pipeline.monitoring.backup.actions.verifying import damaged, verify

    with no_retry_for_permanent_errors():
        settings = plms.settings()
        made = create(settings, destination_of(settings, config.to), clock=plms.clock())
        found = verify(made.url)
        if not found.is_whole:
            raise damaged(found)
    manifest = made.manifest
    context.log.info(f"backup_created files={len(manifest.files)} bytes={manifest.size}")
    context.add_output_metadata(
        {
            "backup": made.place,
            "files": len(manifest.files),
            "bytes": manifest.size,
            "rows": sum(manifest.rows.values()),
            "revision": manifest.revision,
            "links_not_followed": made.links,
            "left_out": dg.MetadataValue.json(list(manifest.left_out)),
        }
    )


@dg.job(
    name="back_up",
    description="Back up registry, receipts, reports and what belongs to them, without secrets, and verify it. Restoring is a "
    "command: `plms backup restore` (docs/backup.md).",
    tags={"dagster/max_runtime": "7200", "plms/exclusive": "back_up"},
)
def back_up() -> None:
    """One op."""
    make_backup()


@dg.schedule(
    job=back_up,
    cron_schedule="40 3 * * *",
    execution_timezone="America/New_York",
    # Where to is not known before somebody says so.
    default_status=dg.DefaultScheduleStatus.STOPPED,
    name="daily_backup",
    description="After the night. Set PLMS_BACKUP_TO, then turn it on.",
)
def daily_backup() -> dg.RunRequest:
    """Every day."""
    return dg.RunRequest()


JOBS = [back_up]
SCHEDULES = [daily_backup]
