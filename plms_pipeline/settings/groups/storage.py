"""Where does everything lie, and how long is it kept?"""

from plms_pipeline.settings.base import Group, setting
from plms_pipeline.settings.files import AbsolutePath, DatabaseUrl, FolderOrUrl

# One pebibyte: what is larger was meant in bytes.
MAX_DISK_MB = 2**30


class Storage(Group):
    """Storage, backups and purge."""

    data_dir: AbsolutePath = setting(
        None, "path", "Everything the pipeline stores: registry, Parquet files, Dagster's storage."
    )
    reports_dir: AbsolutePath = setting(None, "path", "What people read: nightly reports, screenshots.")
    database_url: DatabaseUrl = setting(
        None,
        "URL",
        "The registry: sqlite:///… or postgresql+psycopg://…; default registry.db in the data directory.",
        secret=True,
    )
    min_free_disk_mb: int = setting(1024, "MiB", "`plms doctor` complains below this free space.", ge=0, le=MAX_DISK_MB)
    purge_runs_days: int = setting(
        90,
        "days",
        "`plms purge` removes runs of Dagster that ended longer ago, but none that holds the newest word about an asset.",
        ge=1,
        le=36_500,
    )
    purge_ticks_days: int = setting(
        90, "days", "`plms purge` removes older ticks of schedules and sensors, and their output.", ge=1, le=36_500
    )
    purge_quarantine_days: int = setting(
        180, "days", "`plms purge` removes lists of refused rows that are older.", ge=1, le=36_500
    )
    purge_model_runs_days: int = setting(
        30,
        "days",
        "`plms purge` removes trainings, with their bars and receipts, that no candidate refers to and nobody touched so long.",
        ge=1,
        le=36_500,
    )
    purge_temporary_days: int = setting(
        1, "days", "`plms purge` removes half-written files that nobody touched for so long.", ge=1, le=36_500
    )
    backup_to: FolderOrUrl | None = setting(
        None,
        "URL",
        "Folder or fsspec URL (such as s3://bucket/plms) that `plms backup create` writes to when none is named.",
        secret=True,
    )
    pg_bin_dir: AbsolutePath | None = setting(
        None,
        "path",
        "Folder with pg_dump and pg_restore, for backups of a registry on PostgreSQL; default: those on PATH.",
    )

    @property
    def artifacts_inbox(self) -> AbsolutePath:
        """Where artifacts wait for the nightly KPI evaluation."""
        return self.data_dir / "artifacts" / "inbox"
