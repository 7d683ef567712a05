"""Does a backup hold the whole installation and nothing secret, and is it the same installation when it is brought back?"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import fsspec
import pytest
from sqlalchemy import func, insert, select

from plms_pipeline.clock import FrozenClock, SystemClock
from plms_pipeline.errors import BadInput, Conflict, NotFound, PlmsError, Unavailable, VerdictNo
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.monitoring.backup import process
from plms_pipeline.monitoring.backup.actions import creating
from plms_pipeline.monitoring.backup.actions.creating import create
from plms_pipeline.monitoring.backup.actions.restoring import refusal_of, restore
from plms_pipeline.monitoring.backup.actions.verifying import verify
from plms_pipeline.monitoring.backup.files import places, trees
from plms_pipeline.monitoring.backup.manifest import MANIFEST
from plms_pipeline.monitoring.backup.process import Verdict
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.backup.conftest import SECRETS, Installation, settings_of


def holds(_settings: Settings) -> Verdict:
    return Verdict("hold", 1)


def proven(settings: Settings) -> Verdict:
    """What the invariants say, without a process for it."""
    registry = Registry.open(settings.database_url, read_only=True)
    try:
        report = prove(registry, settings, SystemClock(), full=True)
    finally:
        registry.close()
    broken = tuple(result.invariant.name for result in report.failed)
    return Verdict("broken" if broken else "hold", len(report.results), broken)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(settings: Settings) -> dict[str, bytes]:
    """What must be the same after a restore: everything but the database, what is left out, and what is half-written."""
    found = files_below(settings.data_dir)
    gone = ("secrets/", "dagster/", "pas/", "registry.db", "swebench.csv", "metr.csv", "runs/r1/outputs/link")
    return {
        **{name: data for name, data in found.items() if not name.startswith(gone) and not name.endswith(".part")},
        **{f"reports/{name}": data for name, data in files_below(settings.reports_dir).items()},
    }


def test_what_is_restored_is_what_was_backed_up_and_its_invariants_hold(
    installation: Installation, clock: FrozenClock
) -> None:
    """The day on which the disk is gone is the wrong one to find out what a backup does not hold."""
    made = create(installation.settings, str(installation.backups), clock=clock)
    assert made.place == str(installation.backups / "plms-20260301T120000Z")
    assert made.links == 1
    assert made.manifest.left_out == ("metr.csv", "swebench.csv")
    assert made.manifest.rows["task_receipts"] > 100
    assert verify(made.place).is_whole
    done = restore(installation.empty, made.place, clock=clock, prove=proven)
    assert done.verdict.word == "hold", done.verdict
    assert done.verdict.checked > 40
    assert done.days_written == 0
    assert kept(installation.empty) == kept(installation.settings)
    registry = Registry.open(installation.empty.database_url)
    try:
        with registry.reading() as session:
            assert session.scalar(select(func.count()).select_from(AuditEntry)) == made.manifest.rows["audit_log"]
        assert migrate.check(installation.empty.database_url).is_at_head
    finally:
        registry.close()


def test_no_secret_is_in_a_backup(installation: Installation, clock: FrozenClock) -> None:
    """A backup lies on somebody else's disk: whoever reads it must not be able to start runs."""
    made = create(installation.settings, str(installation.backups), clock=clock)
    keys = (installation.settings.data_dir / "secrets" / "token_keys.json").read_text()
    hidden = [value.encode() for value in SECRETS.values()] + [b"opensesame", keys[20:60].encode(), b'"kty"']
    for name, data in files_below(Path(made.place)).items():
        assert not [secret for secret in hidden if secret in data], name
    assert not [name for name in made.manifest.files if "secret" in name or "dagster" in name]


def test_every_flipped_byte_is_found(sqlite_installation: Installation, clock: FrozenClock) -> None:
    """A disk that forgets one bit is the reason to verify at all; the manifest itself is no exception."""
    made = create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    random = Random(20260301)
    paths = sorted(path for path in Path(made.place).rglob("*") if path.is_file() and path.stat().st_size)
    # Every file once, the manifest often.
    for path in [*paths, *[Path(made.place) / MANIFEST] * 60]:
        data = path.read_bytes()
        at, bit = random.randrange(len(data)), 1 << random.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        found = verify(made.place)
        assert not found.is_whole, (path, at, bit)
        assert path.name in found.problems[0]
        path.write_bytes(data)
    assert verify(made.place).is_whole


@pytest.mark.parametrize("damage", ["missing", "extra", "truncated", "truncated manifest", "link", "extra link"])
def test_other_damage_is_found_and_never_restored(
    damage: str, sqlite_installation: Installation, clock: FrozenClock
) -> None:
    """A copy that was cut off looks complete in a listing."""
    made = create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    folder = Path(made.place)
    victim = folder / "data" / "documents" / "priors.json"
    match damage:
        case "missing":
            victim.unlink()
        case "extra":
            (folder / "data" / "documents" / "more.json").write_text("{}")
        case "truncated":
            victim.write_bytes(victim.read_bytes()[:-1])
        case "truncated manifest":
            victim = folder / MANIFEST
            victim.write_bytes(victim.read_bytes()[:-40])
        case "link":
            copy = folder.parent / "copy"
            victim.rename(copy)
            victim.symlink_to(copy)
        case "extra link":
            (folder / "data" / "elsewhere").symlink_to("/etc")
    assert len(verify(made.place).problems) == 1
    with pytest.raises(VerdictNo, match="is damaged") as caught:
        restore(sqlite_installation.empty, made.place, clock=clock, prove=holds)
    assert caught.value.code == "backup_damaged"
    assert not sqlite_installation.empty.data_dir.exists()


def test_nothing_is_restored_over_anything(installation: Installation, clock: FrozenClock) -> None:
    """A restore typed in the wrong terminal must not replace the books that work."""
    made = create(installation.settings, str(installation.backups), clock=clock)
    before = files_below(installation.settings.data_dir)
    with pytest.raises(Conflict, match="is not empty") as caught:
        restore(installation.settings, made.place, clock=clock, prove=holds)
    assert caught.value.code == "not_empty"
    assert files_below(installation.settings.data_dir) == before
    elsewhere = installation.empty.model_copy(update={"database_url": installation.settings.database_url})
    with pytest.raises(Conflict, match="database is not empty"):
        restore(elsewhere, made.place, clock=clock, prove=holds)
    reports = installation.empty.model_copy(update={"reports_dir": installation.settings.reports_dir})
    with pytest.raises(Conflict, match="PLMS_REPORTS_DIR"):
        restore(reports, made.place, clock=clock, prove=holds)
    assert not installation.empty.data_dir.exists()
    # What is shipped with a checkout does not count.
    (installation.empty.data_dir / "samples").mkdir(parents=True)
    (installation.empty.data_dir / "README.md").write_text("shipped")
    # Nor does the flag that the runbook has raised first: it stays, although the backup holds another one.
    (installation.empty.data_dir / "KILLSWITCH").write_text("while we restore\n")
    assert restore(installation.empty, made.place, clock=clock, prove=holds).verdict.word == "hold"
    assert (installation.empty.data_dir / "KILLSWITCH").read_text() == "while we restore\n"


def test_a_backup_is_not_restored_into_itself(tmp_path: Path, clock: FrozenClock) -> None:
    """What is restored beside a backup's files makes it another one: the only backup would be lost by being used."""
    inside = tmp_path / "backup" / "new"
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / MANIFEST).write_text("{}")
    changes: list[dict[str, Any]] = [
        {"data_dir": inside}, {"reports_dir": inside}, {"database_url": f"sqlite:///{inside}/registry.db"}
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(BadInput, match="inside of the backup") as caught:
            restore(settings_of(tmp_path).model_copy(update=change), str(inside.parent), clock=clock, prove=holds)
        assert caught.value.code == "restore_into_backup"
    assert not inside.exists()


def test_a_backup_of_the_other_database_is_refused(
    sqlite_installation: Installation, clock: FrozenClock, empty_postgres_url: str
) -> None:
    """PostgreSQL cannot read SQLite's file; it must be said before anything is written."""
    made = create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    other = sqlite_installation.empty.model_copy(update={"database_url": empty_postgres_url})
    with pytest.raises(Conflict, match=r"on sqlite.*on postgresql"):
        restore(other, made.place, clock=clock, prove=holds)
    assert not sqlite_installation.empty.data_dir.exists()


def test_an_interrupted_backup_is_none(
    sqlite_installation: Installation, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a backup under a good name would be restored one day."""
    real = creating.render

    def full(manifest: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(creating, "render", full)
    with pytest.raises(OSError, match="No space"):
        create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    assert list(sqlite_installation.backups.iterdir()) == []
    assert not list(sqlite_installation.settings.data_dir.glob(".backup-*"))
    monkeypatch.setattr(creating, "render", real)
    # Killed, nothing can be tidied up: what is left has another name, and is swept a day later.
    left = sqlite_installation.backups / ".plms-20260228T000000Z.1.part"
    left.mkdir()
    with pytest.raises(NotFound):
        verify(str(left))
    old = (clock.now() - timedelta(days=2)).timestamp()
    os.utime(left, (old, old))
    create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    assert [path.name for path in sqlite_installation.backups.iterdir()] == ["plms-20260301T120000Z"]


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_backup_may_lie_behind_any_url(
    scheme: str, sqlite_installation: Installation, clock: FrozenClock, memory: str
) -> None:
    """A backup on the disk that burns is none."""
    to = memory if scheme == "memory" else f"file://{sqlite_installation.backups}"
    made = create(sqlite_installation.settings, to, clock=clock)
    assert made.place.endswith("plms-20260301T120000Z")
    assert verify(made.place).is_whole
    with pytest.raises(VerdictNo, match="is there already"):
        create(sqlite_installation.settings, to, clock=clock)
    assert verify(made.place).is_whole
    assert restore(sqlite_installation.empty, made.place, clock=clock, prove=holds).verdict.word == "hold"
    assert kept(sqlite_installation.empty) == kept(sqlite_installation.settings)
    if scheme == "memory":
        store = fsspec.filesystem("memory")
        victim = "/bucket/plms/plms-20260301T120000Z/data/documents/priors.json"
        store.pipe_file(victim, store.cat_file(victim).replace(b"3", b"4"))
        assert "other bytes" in verify(made.place).problems[0]
        store.rm("/bucket/plms/plms-20260301T120000Z/manifest.json")
        with pytest.raises(NotFound, match="no manifest"):
            verify(made.place)


@pytest.mark.parametrize("destination", ["nosuchscheme://x/y", "  ", "{reports}/backups", "{data}/runs"])
def test_a_place_that_cannot_be_is_refused(
    destination: str, sqlite_installation: Installation, clock: FrozenClock
) -> None:
    """Below the reports each backup would hold all earlier ones."""
    settings = sqlite_installation.settings
    with pytest.raises(BadInput) as caught:
        create(settings, destination.format(reports=settings.reports_dir, data=settings.data_dir), clock=clock)
    assert caught.value.code == "bad_place"


@pytest.mark.parametrize("url", ["ftp://", "ftp:///backups", "github://no-organisation"])
def test_a_url_that_lacks_a_part_is_refused(url: str) -> None:
    """A forgotten host is a typing error; it was a traceback of the library that speaks the URL."""
    with pytest.raises(BadInput) as caught:
        verify(url)
    assert caught.value.code == "bad_place"


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_where_a_folder_belongs_is_named_as_one(tmp_path: Path, clock: FrozenClock, below: str) -> None:
    """Messages like "the disk does not answer" and "not empty (it holds file)" sent people to look for what was not wrong."""
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file") as caught:
        places.new_place(str(tmp_path / "file" / below), "plms-x", now=clock.now())
    assert caught.value.code == "bad_place"
    with pytest.raises(BadInput, match=r"is a file.*PLMS_DATA_DIR"):
        trees.require_empty(tmp_path / "file" / below, "PLMS_DATA_DIR")


def test_a_backup_from_a_newer_program_is_refused_and_an_older_one_is_not_migrated(
    sqlite_installation: Installation, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that migrates silently leaves nobody the choice to go back."""
    made = create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    monkeypatch.setattr(migrate, "is_known", lambda revision: False)
    with pytest.raises(BadInput, match="newer one"):
        restore(sqlite_installation.empty, made.place, clock=clock, prove=holds)
    monkeypatch.undo()
    migrate.downgrade(sqlite_installation.settings.database_url, "-1")
    older = create(
        sqlite_installation.settings, str(sqlite_installation.backups), clock=FrozenClock(clock.at + timedelta(hours=1))
    )
    done = restore(sqlite_installation.empty, older.place, clock=clock, prove=holds)
    assert done.verdict.word == "unknown"
    refusal = refusal_of(done.verdict)
    assert refusal is not None
    assert "plms db upgrade" in refusal.message
    before = migrate.check(sqlite_installation.empty.database_url)
    assert before.current == older.manifest.revision
    assert migrate.upgrade(sqlite_installation.empty.database_url).is_at_head
    assert proven(sqlite_installation.empty).word == "hold"


def test_a_missing_pg_dump_is_named_with_its_remedy(
    postgres_installation: Installation, clock: FrozenClock, tmp_path: Path
) -> None:
    """`No such file or directory` sends nobody to the package that is missing."""
    settings = postgres_installation.settings.model_copy(update={"pg_bin_dir": tmp_path})
    with pytest.raises(Unavailable, match="pg_dump is not in PLMS_PG_BIN_DIR") as caught:
        create(settings, str(postgres_installation.backups), clock=clock)
    assert caught.value.code == "pg_tool_missing"
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o755)
    with pytest.raises(Unavailable, match="is of version 9") as caught:
        create(settings, str(postgres_installation.backups), clock=clock)
    assert caught.value.code == "pg_tool_too_old"
    assert list(postgres_installation.backups.iterdir()) == []


def test_a_password_is_no_argument(tmp_path: Path) -> None:
    """Arguments of a process are seen by everybody on the machine."""
    tool = tmp_path / "pg_dump"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said; echo "$PGPASSWORD" > {tmp_path}/password\n')
    tool.chmod(0o755)
    process.pg_dump(str(tool), "postgresql+psycopg://u:s3cret%40sesame@h/d?host=/tmp", tmp_path / "x", snapshot="s")
    assert "sesame" not in (tmp_path / "said").read_text()
    assert "postgresql://u@h/d?host=" in (tmp_path / "said").read_text()
    assert (tmp_path / "password").read_text() == "s3cret@sesame\n"


@pytest.mark.live
def test_a_backup_beside_writers_is_of_one_moment(installation: Installation, clock: FrozenClock) -> None:
    """Two rows of one transaction, of which a backup holds one, are books that nobody can repair."""
    stop = threading.Event()
    registry = Registry.open(installation.settings.database_url)
    row = {"at": clock.now(), "actor": "w", "action": "pair", "subject": "", "outcome": "ok"}

    def write() -> None:
        while not stop.is_set():
            with registry.writing() as session:
                for _ in range(2):
                    session.execute(insert(AuditEntry), [row])

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        counts = set()
        for number in range(5):
            at = FrozenClock(clock.at + timedelta(minutes=number))
            made = create(installation.settings, str(installation.backups), clock=at)
            counts.add(made.manifest.rows["audit_log"])
            assert verify(made.place).is_whole
    finally:
        stop.set()
        for writer in writers:
            writer.join()
        registry.close()
    assert len(counts) > 1
    assert len({count % 2 for count in counts}) == 1
    done = restore(installation.empty, made.place, clock=clock, prove=holds)
    assert done.manifest.rows == made.manifest.rows


def test_a_day_that_was_written_again_during_the_backup_is_written_from_its_rows(
    sqlite_installation: Installation, clock: FrozenClock
) -> None:
    """The file of a day may be newer than the registry of the backup; restored as they are, they contradict each other."""
    settings = sqlite_installation.settings
    days = sorted((settings.data_dir / "receipts").glob("*.parquet"))
    true = days[0].read_bytes()

    def looking(what: str) -> None:
        if what == "files of the data folder":
            shutil.copyfile(days[1], days[0])

    made = create(settings, str(sqlite_installation.backups), clock=clock, looking=looking)
    done = restore(sqlite_installation.empty, made.place, clock=clock, prove=proven)
    assert done.days_written == 1
    assert done.verdict.word == "hold"
    assert (sqlite_installation.empty.data_dir / "receipts" / days[0].name).read_bytes() == true


def test_what_moves_while_it_is_copied_is_kept_under_one_of_its_names(tmp_path: Path) -> None:
    """A run that ends during a backup has its staged files renamed to outputs: neither name may be seen empty."""
    staging = tmp_path / "runs" / "r" / "staging"
    for number in range(4):
        (staging / str(number)).mkdir(parents=True)
        (staging / str(number) / "file").write_text(str(number))
    found: dict[str, bytes] = {}

    def keep(name: str, chunks: Any) -> None:
        found[name] = b"".join(chunks)
        if len(found) == 2:
            staging.rename(staging.with_name("outputs"))

    trees.keep_tree(tmp_path, "data", ["runs"], keep)
    assert {data for name, data in found.items() if "/outputs/" in name} == {b"0", b"1", b"2", b"3"}


def test_everything_in_the_data_folder_is_either_kept_or_left_out_on_purpose() -> None:
    """A new domain's folder that nobody lists is told at each backup, and here before it is released."""
    assert not set(trees.FEEDS_THE_BOOKS) & set(trees.BESIDE_THE_BOOKS)
    assert not {*trees.FEEDS_THE_BOOKS, *trees.BESIDE_THE_BOOKS} & set(trees.LEFT_OUT)


def test_a_damaged_registry_is_not_backed_up(sqlite_installation: Installation, clock: FrozenClock) -> None:
    """A copy of a broken file replaces, one rotation later, the last good one."""
    file = sqlite_installation.settings.data_dir / "registry.db"
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size - 4096 * 3)
        stream.write(os.urandom(4096 * 3))
    with pytest.raises(PlmsError) as caught:
        create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    assert (caught.value.code, caught.value.exit_code) == ("registry_damaged", 4)
    assert not list(sqlite_installation.backups.glob("*"))


def test_what_the_invariants_say_decides_how_a_restore_ends(
    sqlite_installation: Installation, clock: FrozenClock
) -> None:
    """ "Restored" said of books that contradict themselves is worse than no backup."""
    made = create(sqlite_installation.settings, str(sqlite_installation.backups), clock=clock)
    broken = Verdict("broken", 3, ("every_run_has_a_passport",))
    done = restore(sqlite_installation.empty, made.place, clock=clock, prove=lambda _: broken)
    refusal = refusal_of(done.verdict)
    assert refusal is not None
    assert (refusal.code, refusal.exit_code) == ("invariants_violated", 1)
    assert "every_run_has_a_passport" in refusal.message
    empty = refusal_of(replace(broken, word="empty", broken=()))
    assert empty is not None
    assert empty.exit_code == 3


def test_a_registry_that_is_not_there_makes_no_backup(sqlite_installation: Installation, clock: FrozenClock) -> None:
    """An empty backup of a mistyped PLMS_DATA_DIR looks like one for months."""
    with pytest.raises(Unavailable, match="There is no registry"):
        create(sqlite_installation.empty, str(sqlite_installation.backups), clock=clock)
    assert not sqlite_installation.backups.exists()
    assert not sqlite_installation.empty.data_dir.exists()
