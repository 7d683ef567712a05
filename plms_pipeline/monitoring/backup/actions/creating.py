"""Makes a backup.

The order of a backup is what makes it consistent beside any number of writers. First what ends in the registry and is then
removed (the spool of evidence): kept too early it is replayed once more, which changes nothing; kept too late it would be
neither here nor there. Then the registry, at one moment. Then the files, which are written before a row refers to them and
are never removed while one does: whatever the registry of the backup refers to lies in it. A file may be newer than its row
(the receipts of a day, written again meanwhile); such a day is written from the rows when the backup is restored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from plms_pipeline import __version__
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput
from plms_pipeline.monitoring.backup import process, store
from plms_pipeline.monitoring.backup.actions.verifying import quiet
from plms_pipeline.monitoring.backup.files import laying, places, trees
from plms_pipeline.monitoring.backup.files.places import Place
from plms_pipeline.monitoring.backup.manifest import DATA, DATABASE, MANIFEST, REPORTS, Entry, Manifest, render
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.settings import Settings, masked

SQLITE_COPY: Final = f"{DATABASE}/registry.db"
POSTGRESQL_DUMP: Final = f"{DATABASE}/registry.dump"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Created:
    """A backup that was made: where it lies (`place` as it may be shown), what it says, how many links were not followed."""

    url: str
    place: str
    manifest: Manifest
    links: int


def create(settings: Settings, destination: str, *, clock: Clock, looking: Callable[[str], None] = quiet) -> Created:
    """Back up registry, receipts, documents, artifacts, outputs of runs, quarantine and reports into one new folder.

    Args:
        settings: of this installation.
        destination: the folder or fsspec URL below which the backup gets a folder of its own.
        clock: names it.
        looking: told what is being kept, for a person who waits.

    Raises:
        BadInput: the destination lies inside of what is backed up, or nothing speaks its URL.
        Unavailable: the registry (also one that is damaged), the place, or PostgreSQL's dump is away.
        VerdictNo: a backup of this second is there.
    """
    _require_outside(settings, destination)
    registry = _open(settings)
    try:
        now = clock.now()
        name = f"plms-{now:%Y%m%dT%H%M%SZ}"
        place = places.new_place(destination, name, now=now)
        try:
            created = _filled(place, settings, registry, now, looking)
            place.publish()
        except BaseException:
            place.discard()
            raise
    finally:
        registry.close()
    logger.info("backup_created files=%d bytes=%d", len(created.manifest.files), created.manifest.size)
    return replace(created, url=f"{destination.rstrip('/')}/{name}", place=place.name)


def destination_of(settings: Settings, given: str | None) -> str:
    """Where a backup goes: what was named, else what is configured.

    Raises:
        BadInput: neither says it, or the place ends with this process.
    """
    destination = given or settings.backup_to
    if not destination:
        raise BadInput(
            "Nothing says where the backup goes; name a folder or URL, or set PLMS_BACKUP_TO.", code="no_destination"
        )
    # A URL may be a chain such as simplecache::memory://x.
    if any(part.startswith("memory://") for part in destination.strip().split("::")):
        raise BadInput(
            f"{masked(destination)} lies in the memory of this command and is gone when it ends, so it keeps nothing; name a "
            "folder, or a URL such as s3://bucket/plms.",
            code="bad_place",
        )
    return destination


def _open(settings: Settings) -> Registry:
    migrate.require_made(settings.database_url)
    registry = Registry.open(settings.database_url, read_only=True)
    try:
        migrate.require_ours(registry)
    except BaseException:
        registry.close()
        raise
    return registry


def _filled(
    place: Place, settings: Settings, registry: Registry, now: datetime, looking: Callable[[str], None]
) -> Created:
    files: dict[str, Entry] = {}

    def keep(name: str, chunks: Iterable[bytes]) -> None:
        files[name] = place.put(name, chunks)

    looking("evidence that waits for the registry")
    links = trees.keep_tree(settings.data_dir, DATA, trees.FEEDS_THE_BOOKS, keep)
    looking("the registry")
    counted = _keep_registry(settings, registry, keep)
    looking("files of the data folder")
    links += trees.keep_tree(settings.data_dir, DATA, trees.BESIDE_THE_BOOKS, keep)
    looking("reports")
    links += trees.keep_tree(settings.reports_dir, REPORTS, None, keep)
    manifest = Manifest(
        created_at=now,
        product_version=__version__,
        dialect=registry.dialect,
        revision=str(counted.revision),
        rows=counted.rows,
        files=files,
        left_out=trees.unknown_entries(settings.data_dir, sqlite_file(settings.database_url)),
    )
    # Last: without it nothing that was written so far is taken for a backup.
    place.put(MANIFEST, [render(manifest).encode()])
    return Created("", place.name, manifest, links)


def _keep_registry(
    settings: Settings, registry: Registry, keep: Callable[[str, Iterable[bytes]], None]
) -> store.Counted:
    with laying.scratch(settings.data_dir) as scratch:
        if registry.dialect == "sqlite":
            counted = store.copy_sqlite(registry, str(scratch / "registry"))
            keep(SQLITE_COPY, laying.chunks_of_file(scratch / "registry"))
            return counted
        major = store.server_major(registry)
        tool = process.find_tool("pg_dump", settings.pg_bin_dir, server_major=major)
        with store.postgresql_snapshot(registry) as snapshot:
            process.pg_dump(tool, settings.database_url, scratch / "registry", snapshot=snapshot.name)
        keep(POSTGRESQL_DUMP, laying.chunks_of_file(scratch / "registry"))
        return snapshot.counted


def _require_outside(settings: Settings, destination: str) -> None:
    folder = places.as_folder(destination)
    kept = [
        settings.reports_dir,
        *(settings.data_dir / top for top in (*trees.FEEDS_THE_BOOKS, *trees.BESIDE_THE_BOOKS)),
    ]
    if folder is not None and any(trees.is_inside_of(folder, each) for each in kept):
        raise BadInput(
            f"{folder} lies inside of what is backed up, so each backup would hold all earlier ones; name a folder elsewhere, "
            "best on another disk.",
            code="bad_place",
        )
