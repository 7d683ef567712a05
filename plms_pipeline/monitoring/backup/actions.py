"""Makes a backup, tells whether one is whole, and brings one back.

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
from plms_pipeline.errors import BadInput, Conflict, NoData, PlmsError, VerdictNo
from plms_pipeline.intake.actions.days import stale_days, write_receipt_days
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.monitoring.backup import process, store
from plms_pipeline.monitoring.backup.files import laying, places, trees
from plms_pipeline.monitoring.backup.files.places import Place
from plms_pipeline.monitoring.backup.manifest import (
    DATA,
    DATABASE,
    MANIFEST,
    REPORTS,
    Entry,
    Manifest,
    Unreadable,
    difference,
    missing_and_extra,
    parse,
    render,
)
from plms_pipeline.monitoring.backup.process import Verdict
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.settings import Settings

SQLITE_COPY: Final = f"{DATABASE}/registry.db"
POSTGRESQL_DUMP: Final = f"{DATABASE}/registry.dump"
logger = logging.getLogger(__name__)


def quiet(_what: str) -> None:
    """Nobody waits for what is being done."""


@dataclass(frozen=True, slots=True)
class Created:
    """A backup that was made: where it lies, what it says, how many links were not followed."""

    place: str
    manifest: Manifest
    links: int


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a backup is what was written: `problems` has one sentence for each file that is not."""

    place: str
    manifest: Manifest | None
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every byte is as it was written, and nothing else is there."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back, how many days of receipts were written again from their rows, and what the invariants say."""

    place: str
    manifest: Manifest
    days_written: int
    verdict: Verdict


def create(settings: Settings, destination: str, *, clock: Clock, looking: Callable[[str], None] = quiet) -> Created:
    """Back up registry, receipts, documents, artifacts, outputs of runs, quarantine and reports into one new folder.

    Args:
        settings: of this installation.
        destination: the folder or fsspec URL below which the backup gets a folder of its own.
        clock: names it.
        looking: told what is being kept, for a person who waits.

    Raises:
        BadInput: the destination lies inside of what is backed up, or nothing speaks its URL; the registry is damaged.
        Unavailable: the registry, the place, or PostgreSQL's dump is away.
        VerdictNo: a backup of this second is there.
    """
    _require_outside(settings, destination)
    registry = _open(settings)
    try:
        now = clock.now()
        place = places.new_place(destination, f"plms-{now:%Y%m%dT%H%M%SZ}", now=now)
        try:
            created = _filled(place, settings, registry, now, looking)
            place.publish()
        except BaseException:
            place.discard()
            raise
    finally:
        registry.close()
    logger.info("backup_created files=%d bytes=%d", len(created.manifest.files), created.manifest.size)
    return replace(created, place=place.name)


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
    return Created(place.name, manifest, links)


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


def verify(url: str, *, looking: Callable[[str], None] = quiet) -> Verified:
    """Read every byte of a backup and compare it with the manifest: nothing changed, missing, added or cut off.

    Raises:
        NotFound: there is no backup.
        Unavailable: its place does not answer.
    """
    place = places.find_place(url)
    try:
        manifest = parse(b"".join(place.chunks(MANIFEST)))
    except (Unreadable, FileNotFoundError) as error:
        return Verified(place.name, None, (f"{MANIFEST} cannot be trusted: {error}",))
    present = place.names()
    problems = missing_and_extra(manifest, present)
    for name, expected in sorted(manifest.files.items()):
        if name not in present:
            continue
        looking(name)
        try:
            problem = difference(name, expected, places.digest_of(place.chunks(name)))
        except FileNotFoundError:
            problem = f"{name} is no plain file"
        if problem:
            problems.append(problem)
    return Verified(place.name, manifest, tuple(problems))


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
        BadInput: it was made by a newer program.
        Unavailable: its place, the database or PostgreSQL's restore is away.
    """
    verified = verify(url, looking=looking)
    manifest = verified.manifest
    if manifest is None or verified.problems:
        raise damaged(verified)
    _require_fitting(settings, manifest)
    _require_free(settings)
    place = places.find_place(url)
    roots = {DATA: settings.data_dir, REPORTS: settings.reports_dir}
    for name, expected in sorted(manifest.files.items()):
        part, _, rest = name.partition("/")
        if part in roots:
            looking(name)
            laying.lay(roots[part] / rest, place.chunks(name), expected)
    looking("the registry")
    _restore_registry(settings, place, manifest)
    days, verdict = _settled(settings, manifest, clock, prove, looking)
    logger.info("backup_restored files=%d verdict=%s", len(manifest.files), verdict.word)
    return Restored(verified.place, manifest, days, verdict)


def damaged(verified: Verified) -> VerdictNo:
    """Why a backup may not be used."""
    more = f" and {len(verified.problems) - 1} more" if len(verified.problems) > 1 else ""
    return VerdictNo(
        f"{verified.place} is damaged: {verified.problems[0]}{more}. Nothing was restored from it; use another backup.",
        code="backup_damaged",
    )


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


def _require_free(settings: Settings) -> None:
    trees.require_empty(settings.data_dir, "PLMS_DATA_DIR")
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
