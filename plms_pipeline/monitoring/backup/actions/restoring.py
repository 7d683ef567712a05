"""Brings a backup back, into empty places only, and has what was brought back proven."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from plms_pipeline import __version__
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NoData, PlmsError, VerdictNo
from plms_pipeline.intake.actions.days import stale_days, write_receipt_days
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.monitoring.backup import process, store
from plms_pipeline.monitoring.backup.actions.verifying import damaged, quiet, verify
from plms_pipeline.monitoring.backup.files import laying, places, trees
from plms_pipeline.monitoring.backup.files.places import Place
from plms_pipeline.monitoring.backup.manifest import DATA, REPORTS, Manifest
from plms_pipeline.monitoring.backup.process import Verdict
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back, how many days of receipts were written again from their rows, and what the invariants say."""

    place: str
    manifest: Manifest
    days_written: int
    verdict: Verdict


def restore(
    settings: Settings,
    url: str,
    *,
    clock: Clock,
    prove: Callable[[Settings], Verdict] = process.prove_books,
    looking: Callable[[str], None] = quiet,
) -> Restored:
    """Bring a backup back into empty folders and an empty database, and prove what was brought back.

    The database comes last: until then there is no registry, and nothing starts to work on half of it. Nothing is migrated.

    Raises:
        Conflict: a folder or the database is not empty, or the registry is of the other kind.
        VerdictNo: the backup is not whole (`backup_damaged`).
        NotFound: there is no backup.
        BadInput: it was made by a newer program, would be restored into itself, or into a file.
        Unavailable: its place, the database or PostgreSQL's restore is away.
    """
    place = places.find_place(url)
    _require_elsewhere(settings, url)
    verified = verify(url, looking=looking)
    manifest = verified.manifest
    if manifest is None or verified.problems:
        raise damaged(verified)
    _require_fitting(settings, manifest)
    _require_free(settings)
    roots = {DATA: settings.data_dir, REPORTS: settings.reports_dir}
    for name, expected in sorted(manifest.files.items()):
        part, _, rest = name.partition("/")
        if name == f"{DATA}/{trees.FLAG}" and trees.is_flag_up(settings.data_dir):
            continue  # raised for this restore: its own reason stays
        if part in roots:
            looking(name)
            laying.lay(roots[part] / rest, place.chunks(name), expected)
    looking("the registry")
    _restore_registry(settings, place, manifest)
    days, verdict = _settled(settings, manifest, clock, prove, looking)
    logger.info("backup_restored files=%d verdict=%s", len(manifest.files), verdict.word)
    return Restored(verified.place, manifest, days, verdict)


def _require_fitting(settings: Settings, manifest: Manifest) -> None:
    dialect = "sqlite" if sqlite_file(settings.database_url) is not None else "postgresql"
    if manifest.dialect != dialect:
        raise Conflict(
            f"The backup holds a registry on {manifest.dialect}, PLMS_DATABASE_URL names one on {dialect}; set it to a "
            "database of the same kind.",
            code="other_database",
        )
    if not migrate.is_known(manifest.revision):
        raise BadInput(
            f"The backup was made by plms {manifest.product_version} at schema revision {manifest.revision}, which this "
            f"program ({__version__}) does not know; restore it with that version or a newer one.",
            code="newer_backup",
        )


def _require_elsewhere(settings: Settings, url: str) -> None:
    backup = places.as_folder(url)
    targets = {
        "PLMS_DATA_DIR": settings.data_dir,
        "PLMS_REPORTS_DIR": settings.reports_dir,
        "PLMS_DATABASE_URL": sqlite_file(settings.database_url),
    }
    for variable, target in targets.items():
        if backup is not None and target is not None and trees.is_inside_of(target, backup):
            raise BadInput(
                f"{target} lies inside of the backup itself, which would be damaged by what is restored; set {variable} to a "
                "place elsewhere.",
                code="restore_into_backup",
            )


def _require_free(settings: Settings) -> None:
    trees.require_empty(settings.data_dir, "PLMS_DATA_DIR", may_hold={trees.FLAG})
    trees.require_empty(settings.reports_dir, "PLMS_REPORTS_DIR")
    in_the_way = _in_the_way(settings)
    if in_the_way:
        more = f" and {len(in_the_way) - 1} more" if len(in_the_way) > 1 else ""
        raise Conflict(
            f"The database is not empty (it holds {in_the_way[0]}{more}); a backup is restored into an empty one only. Set "
            "PLMS_DATABASE_URL to a new one.",
            code="not_empty",
        )


def _in_the_way(settings: Settings) -> list[str]:
    """What the database holds that a backup would be restored into."""
    file = sqlite_file(settings.database_url)
    if file is not None:
        return trees.database_files(file)
    registry = Registry.open(settings.database_url, read_only=True)
    try:
        return store.tables(registry)
    finally:
        registry.close()


def _restore_registry(settings: Settings, place: Place, manifest: Manifest) -> None:
    name = manifest.database
    file = sqlite_file(settings.database_url)
    if file is not None:
        laying.lay(file, place.chunks(name), manifest.files[name])
        counted = store.counted_in_file(str(file))
    else:
        registry = Registry.open(settings.database_url, read_only=True)
        try:
            tool = process.find_tool("pg_restore", settings.pg_bin_dir, server_major=store.server_major(registry))
            with laying.scratch(settings.data_dir) as scratch:
                laying.lay(scratch / "registry", place.chunks(name), manifest.files[name])
                process.pg_restore(tool, settings.database_url, scratch / "registry")
            counted = store.counted(registry)
        finally:
            registry.close()
    if counted.rows != manifest.rows or counted.revision != manifest.revision:
        raise VerdictNo(
            "The restored registry does not hold the rows that the manifest counts; it may not be used. Restore again into "
            "empty folders, and tell it: neither the bytes nor the program should let this happen.",
            code="restore_differs",
        )


def _settled(
    settings: Settings,
    manifest: Manifest,
    clock: Clock,
    prove: Callable[[Settings], Verdict],
    looking: Callable[[str], None],
) -> tuple[int, Verdict]:
    if not migrate.is_head(manifest.revision):
        return 0, Verdict("unknown", reason=f"the schema is at revision {manifest.revision}; run `plms db upgrade`.")
    looking("receipts by day")
    registry = Registry.open(settings.database_url)
    try:
        files = DayFiles(settings.data_dir)
        written = sum(1 for _ in write_receipt_days(registry, files, stale_days(registry, files), clock=clock))
    finally:
        registry.close()
    looking("every invariant")
    return written, prove(settings)


def refusal_of(verdict: Verdict) -> PlmsError | None:
    """How a command ends whose books were restored and found to be this; None when they hold."""
    if verdict.word == "hold":
        return None
    if verdict.word == "empty":
        return NoData("The books were restored and are empty, so nothing is proven.", code="nothing_to_prove")
    if verdict.word == "broken":
        return VerdictNo(
            f"The books were restored as they were backed up, but {len(verdict.broken)} of {verdict.checked} invariants do not "
            f"hold ({', '.join(verdict.broken)}); `plms invariants --full` names the rows and the remedies.",
            code="invariants_violated",
        )
    return VerdictNo(
        f"The books were restored, but nothing is proven: {verdict.reason} Then run `plms invariants --full`.",
        code="restored_not_proven",
    )
