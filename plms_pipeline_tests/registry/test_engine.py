"""Is the registry opened, read and written so that writers wait, readers see one moment, and outages say so?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.registry import engine as engine_module
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lane, LaneAlias, Project
from plms_pipeline.web.api.store import version_reader

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def other(registry_url: str) -> Iterator[Registry]:
    """A second process's view of the same database."""
    opened = Registry.open(registry_url)
    yield opened
    opened.close()


def projects(registry: Registry) -> int:
    with registry.reading() as session:
        return session.scalar(select(func.count()).select_from(Project)) or 0


def test_a_write_is_there_when_the_block_ends(registry: Registry, other: Registry) -> None:
    """The one promise that everything else stands on."""
    with registry.writing() as session:
        session.add(Project(name="a plan", created_at=NOW, budget_cost_usd_max=Decimal("1.5")))
    with other.reading() as session:
        kept = session.scalars(select(Project)).one()
    assert (kept.name, kept.created_at, kept.budget_cost_usd_max) == ("a plan", NOW, Decimal("1.5"))


@pytest.mark.parametrize("raised", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_exception_rolls_everything_back(registry: Registry, raised: BaseException) -> None:
    """Half a decision in the books is worse than none: nobody knows which half."""
    with pytest.raises(type(raised)), registry.writing() as session:
        session.add(Project(name="one", created_at=NOW))
        session.flush()
        session.add(Project(name="two", created_at=NOW))
        session.flush()
        raise raised
    assert projects(registry) == 0
    with registry.writing() as session:
        session.add(Project(name="three", created_at=NOW))
    assert projects(registry) == 1


def test_what_is_written_in_a_reading_session_is_gone(registry: Registry) -> None:
    """`plms db query` promises it."""
    with registry.reading() as session:
        session.add(Project(name="never", created_at=NOW))
        session.flush()
    assert projects(registry) == 0


def test_a_reader_sees_one_moment(registry: Registry, other: Registry) -> None:
    """A report whose total and whose rows come from two moments does not add up, and people stop trusting it."""
    with registry.reading() as session:
        before = session.scalar(select(func.count()).select_from(Project))
        with other.writing() as writer:
            writer.add(Project(name="meanwhile", created_at=NOW))
        assert session.scalar(select(func.count()).select_from(Project)) == before == 0
    assert projects(registry) == 1


def test_a_writer_waits_for_another_instead_of_failing(registry: Registry, other: Registry) -> None:
    """On SQLite a read that turns into a write fails at once when another was faster; BEGIN IMMEDIATE waits instead."""
    inside = threading.Event()

    def slowly() -> None:
        with other.writing() as session:
            cap = session.scalars(select(Lane.cap).where(Lane.lane_id == 4200).with_for_update()).one()
            inside.set()
            time.sleep(0.3)
            session.execute(update(Lane).where(Lane.lane_id == 4200).values(cap=cap + 1))

    thread = threading.Thread(target=slowly)
    thread.start()
    assert inside.wait(10)
    with registry.writing() as session:
        cap = session.scalars(select(Lane.cap).where(Lane.lane_id == 4200).with_for_update()).one()
        session.execute(update(Lane).where(Lane.lane_id == 4200).values(cap=cap + 1))
    thread.join()
    with registry.reading() as session:
        assert session.scalar(select(Lane.cap).where(Lane.lane_id == 4200)) == 6


def test_readers_do_not_wait_for_a_writer(registry: Registry, other: Registry) -> None:
    """The page must answer while an import of a million rows is running."""
    with registry.writing() as session:
        session.add(Project(name="in flight", created_at=NOW))
        session.flush()
        started = time.monotonic()
        assert projects(other) == 0
        assert time.monotonic() - started < 5


def test_many_writers_lose_no_update(registry: Registry) -> None:
    """Threads of one process share the registry; two increments that both read 4 write 5 twice."""

    def increment() -> None:
        for _ in range(10):
            with registry.writing() as session:
                lane = session.scalars(select(Lane).where(Lane.lane_id == 4200).with_for_update()).one()
                lane.cap += 1

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with registry.reading() as session:
        assert session.scalar(select(Lane.cap).where(Lane.lane_id == 4200)) == 4 + 40


def test_foreign_keys_are_on(registry: Registry) -> None:
    """SQLite forgets them on every connection that does not ask."""
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), registry.writing() as session:
        session.add(LaneAlias(alias="nowhere", vocabulary="test", lane_id=9999))


@pytest.mark.parametrize(
    ("pragma", "expected"), [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2), ("busy_timeout", 30_000)]
)
def test_every_connection_is_durable_and_patient(sqlite_registry: Registry, pragma: str, expected: object) -> None:
    """Each is a property of the connection: one forgotten connection writes without waiting for the disk."""
    with sqlite_registry.reading() as first, sqlite_registry.reading() as second:
        for session in (first, second):
            assert session.scalar(text(f"PRAGMA {pragma}")) == expected


def test_days_are_utc_days_on_postgresql(postgres_registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DATE compared with NOW() becomes midnight in the session's zone, which the server's host decides."""
    monkeypatch.setenv("PGTZ", "America/New_York")
    registry = Registry.open(postgres_registry_url)
    with registry.reading() as session:
        assert session.scalar(text("SHOW TIME ZONE")) == "UTC"
    registry.close()


@pytest.mark.parametrize("url", ["no url at all", "postgresql+psycopg://u:hunter2@[::1/x", "://"])
def test_a_url_that_is_none_is_one_clear_error(url: str) -> None:
    """The person who mistyped it needs the form, not a traceback, and no password on the screen."""
    with pytest.raises(BadInput, match="no database URL") as raised:
        Registry.open(url)
    assert "hunter2" not in str(raised.value)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    """PLMS_DATA_DIR on a path below a file, a read-only mount, another user's home."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="PLMS_DATA_DIR"):
        Registry.open(f"sqlite:///{tmp_path / 'file' / 'data' / 'registry.db'}")


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    """A directory in the place of the file, or no rights: SQLite says only "unable to open"."""
    (tmp_path / "registry.db").mkdir()
    registry = Registry.open(f"sqlite:///{tmp_path / 'registry.db'}")
    with pytest.raises(Unavailable, match="may be read and written") as raised:
        projects(registry)
    assert raised.value.exit_code == 4
    registry.close()


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    """Somebody copied a CSV over the registry; every command must say what is wrong and where the copies are."""
    (tmp_path / "registry.db").write_bytes(b"run_date,model,cost\n" * 100)
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    registry = Registry.open(url)
    for attempt in (lambda: projects(registry), lambda: migrate.check(url), lambda: migrate.upgrade(url)):
        with pytest.raises(Unavailable, match="no intact SQLite database") as raised:
            attempt()
        assert (raised.value.code, raised.value.exit_code) == ("registry_damaged", 4)
    registry.close()


@pytest.mark.parametrize("rubbish", [b"", b"run_date,model,cost\n" * 1000])
def test_a_file_that_is_overwritten_under_a_server_is_noticed_by_who_reads(
    sqlite_registry_url: str, rubbish: bytes
) -> None:
    """SQLite goes on answering from the pages that it remembers: all reads looked well until somebody wrote."""
    registry = Registry.open(sqlite_registry_url)
    version = version_reader(registry)
    file = Path(sqlite_registry_url.removeprefix("sqlite:///"))
    projects(registry)
    with registry.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    os.utime(file, (1, 1))  # as a checkpoint does; that of the machine moves once in some milliseconds
    projects(registry)
    assert version() is not None
    whole = file.read_bytes()
    file.write_bytes(rubbish)
    for attempt in (registry.reading, registry.asking, registry.writing, registry.reading):
        with pytest.raises(Unavailable, match="no intact SQLite database") as raised, attempt():
            pytest.fail("it is no database any more")
        assert (raised.value.code, raised.value.http_status) == ("registry_damaged", 503)
    assert version() is None
    file.write_bytes(whole)
    assert version() is not None
    registry.close()


def test_a_file_that_is_carried_over_page_by_page_is_not_called_damaged(sqlite_registry_url: str) -> None:
    """While a log is carried over into the file, what lies there fits together for nobody but SQLite: reads were refused."""
    registry = Registry.open(sqlite_registry_url)
    projects(registry)
    done = threading.Event()

    def write() -> None:
        other = sqlite3.connect(sqlite_registry_url.removeprefix("sqlite:///"))
        other.execute("PRAGMA wal_autocheckpoint = 1")
        other.execute("CREATE TABLE filler (number INTEGER, text TEXT)")
        for number in range(60):
            with other:
                other.execute("INSERT INTO filler VALUES (?, ?)", (number, "x" * 20_000))
        other.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    looks = 0
    while not done.is_set():
        registry.require_file()
        looks += 1
    writer.join()
    with registry.reading() as session:
        assert session.execute(text("SELECT COUNT(*) FROM filler")).scalar_one() == 60
    assert looks > 0, "nobody looked while it was written"
    registry.close()


def test_a_damaged_page_is_one_clear_error(sqlite_registry_url: str) -> None:
    """Half a page of zeros in the middle of the file is what a dying disk leaves."""
    path = Path(sqlite_registry_url.removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    registry = Registry.open(sqlite_registry_url)
    with pytest.raises(Unavailable, match="no intact SQLite database"), registry.reading() as session:
        session.execute(text("SELECT COUNT(*) FROM lanes"))
    registry.close()


def test_a_full_disk_says_so_and_keeps_what_was_there(sqlite_registry: Registry) -> None:
    """An import that fills the disk must stop with one sentence, and its half batch must not stay."""

    @event.listens_for(sqlite_registry.engine, "connect")
    def _small(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(Unavailable, match="free some space") as raised, sqlite_registry.writing() as session:
        for number in range(200):
            session.add(Project(name=f"{number} {'x' * 500}", created_at=NOW))
        session.flush()
    assert raised.value.exit_code == 4
    assert projects(sqlite_registry) == 0


def test_a_lock_that_never_ends_says_so(sqlite_registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience is over the person must learn that another process holds the database, not "OperationalError"."""
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_S", 0.1)
    registry = Registry.open(sqlite_registry_url)
    with closing(sqlite3.connect(sqlite_registry_url.removeprefix("sqlite:///"))) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process has been writing"), registry.writing():
            pass
    registry.close()


def test_a_server_that_goes_away_says_so_and_is_found_again(postgres_registry_url: str) -> None:
    """The database restarts in the middle of a night: exit 4 now, and the next session works without a restart of ours."""
    registry = Registry.open(postgres_registry_url)
    with pytest.raises(Unavailable, match="does not answer") as raised, registry.reading() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert raised.value.exit_code == 4
    assert projects(registry) == 0
    registry.close()


def test_a_server_that_is_not_there_keeps_its_password_secret(tmp_path: Path) -> None:
    """The error is pasted into a ticket."""
    registry = Registry.open(f"postgresql+psycopg://plms:hunter2@/plms?host={tmp_path}")
    with pytest.raises(Unavailable, match="PLMS_DATABASE_URL") as raised:
        projects(registry)
    assert "hunter2" not in str(raised.value)
    registry.close()


@pytest.mark.parametrize("option", ["bogusopt=1", "connect_timeout=abc"])
@pytest.mark.parametrize("read_only", [False, True])
def test_an_option_that_the_driver_does_not_know_is_one_clear_error(option: str, read_only: bool) -> None:
    """A typing error in PLMS_DATABASE_URL was a traceback, with the password two lines above it."""
    url = f"postgresql+psycopg://plms:hunter2@localhost/plms?{option}"
    registry = Registry.open(url, read_only=read_only)
    for attempt in (lambda: projects(registry), lambda: migrate.check(url), lambda: migrate.upgrade(url)):
        with pytest.raises(BadInput, match=option.partition("=")[0]) as raised:
            attempt()
        assert "PLMS_DATABASE_URL or --db" in raised.value.message
        assert "hunter2" not in raised.value.message
    registry.close()


def test_an_option_that_cannot_be_read_at_all_is_one_clear_error() -> None:
    """SQLAlchemy itself refuses this one, before there is an engine."""
    url = "postgresql+psycopg://plms:hunter2@/plms?host=a&port=abc"
    for attempt in (Registry.open, migrate.upgrade, migrate.check):
        with pytest.raises(BadInput, match="PLMS_DATABASE_URL or --db") as raised:
            attempt(url)
        assert "hunter2" not in raised.value.message


@pytest.mark.parametrize("options", ["?mode=ro", "?timeout=abc", "?cache=shared&uri=true", "?"])
def test_a_sqlite_url_takes_no_options(options: str, tmp_path: Path) -> None:
    """Some made a file of another name beside the registry, others ended in a warning of the library's."""
    url = f"sqlite:///{tmp_path / 'registry.db'}{options}"
    for attempt in (Registry.open, migrate.upgrade, migrate.check):
        with pytest.raises(BadInput, match="takes none") as raised:
            attempt(url)
        assert raised.value.code == "bad_database_url"
    assert list(tmp_path.iterdir()) == []


def test_a_question_mark_in_a_file_name_is_no_option(tmp_path: Path) -> None:
    """PLMS_DATA_DIR may be called anything."""
    url = engine_module.sqlite_url(str(tmp_path / "100% sure?.db"))
    migrate.upgrade(url)
    for read_only in (False, True):
        registry = Registry.open(url, read_only=read_only)
        assert projects(registry) == 0
        registry.close()
    assert engine_module.sqlite_file(url) == tmp_path / "100% sure?.db"


def test_who_only_reads_cannot_write(registry: Registry, registry_url: str) -> None:
    """A command that asks must not change the books, whatever a later hand builds into it."""
    reader = Registry.open(registry_url, read_only=True)
    with pytest.raises((Unavailable, SQLAlchemyError), match=r"(?i)read-?only"), reader.reading() as session:
        session.execute(text("UPDATE lanes SET cap = 99"))
    reader.close()
    with registry.reading() as session:
        assert session.scalar(select(func.max(Lane.cap))) != 99


def test_who_only_reads_makes_no_file(tmp_path: Path) -> None:
    """An empty file in the place of the registry looks like books without a row."""
    reader = Registry.open(f"sqlite:///{tmp_path / 'deep' / 'registry.db'}", read_only=True)
    with pytest.raises(Unavailable, match="unable to open"):
        projects(reader)
    reader.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="names no file"):
        Registry.open("sqlite:///:memory:", read_only=True)


def test_who_only_reads_sees_what_stands_in_the_log(sqlite_registry: Registry, sqlite_registry_url: str) -> None:
    """The newest commits stand in the write-ahead log: a reader that looks at the file alone tells yesterday's numbers."""
    with sqlite_registry.writing() as session:
        session.add(Project(name="new", created_at=NOW))
    reader = Registry.open(sqlite_registry_url, read_only=True)
    assert projects(reader) == 1
    reader.close()


def test_a_mistake_in_sql_stays_what_it_is(registry: Registry) -> None:
    """A bug of ours that reads as "the database is away" sends people to the wrong place."""
    with pytest.raises(SQLAlchemyError), registry.reading() as session:
        session.execute(text("SELECT nothing FROM nowhere"))


def test_the_head_is_asked_of_a_database_that_is_away(tmp_path: Path) -> None:
    """Every asset asks for the head first: that is where an outage shows."""
    registry = Registry.open(f"postgresql+psycopg://plms@/plms?host={tmp_path}")
    with pytest.raises(Unavailable, match="does not answer"):
        migrate.require_head(registry)
    registry.close()


def test_a_file_that_was_moved_away_is_away_and_nothing_takes_its_place(sqlite_registry_url: str) -> None:
    """A server answered from the file that it held open, and made an empty registry where the lost one had been: the next
    `plms db upgrade` would have begun new books over it."""
    registry, reader = Registry.open(sqlite_registry_url), Registry.open(sqlite_registry_url, read_only=True)
    for each in (registry, reader):
        projects(each)
    file = Path(sqlite_registry_url.removeprefix("sqlite:///"))
    file.rename(file.with_name("aside.db"))
    for each in (registry, reader):
        with pytest.raises(Unavailable, match="any more"):
            projects(each)
    with pytest.raises(Unavailable, match="any more"), registry.writing():
        pytest.fail("nothing may be written")
    assert not file.exists()
    shutil.copyfile(file.with_name("aside.db"), file)
    with pytest.raises(Unavailable, match="Another file lies"), registry.writing():
        pytest.fail("it would be written into the file that was moved away")
    file.with_name("aside.db").rename(file)
    projects(registry)
    for each in (registry, reader):
        each.close()
