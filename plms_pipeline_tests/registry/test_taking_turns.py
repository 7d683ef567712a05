"""Do the writers of one process, and those of others, take turns without polling or deadlock?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, insert, select, text

from plms_pipeline.registry.engine import Busy, Registry
from plms_pipeline.registry.tables import AuditEntry

AT = datetime(2026, 3, 1, tzinfo=UTC)


def note(session: object, what: str) -> None:
    session.execute(insert(AuditEntry).values(at=AT, actor="a", action=what, subject="s", outcome="done"))  # type: ignore[attr-defined]


def noted(registry: Registry) -> int:
    with registry.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_who_may_not_wait_is_told_at_once_that_somebody_writes(
    sqlite_registry: Registry, sqlite_registry_url: str
) -> None:
    """An event loop that waits for an import of two minutes answers nobody for two minutes."""
    other = Registry.open(sqlite_registry_url)
    for writer in (sqlite_registry, other):
        with writer.writing() as session:
            note(session, "mine")
            with pytest.raises(Busy), ThreadPoolExecutor(1) as pool:
                pool.submit(_write_at_once, sqlite_registry).result()
    _write_at_once(sqlite_registry)
    assert noted(sqlite_registry) == 3
    other.close()


def test_after_a_failure_the_next_one_may_write(sqlite_registry: Registry) -> None:
    """A lock that an error leaves behind stops every writer of the process for good."""
    for opened in (sqlite_registry.writing_at_once, sqlite_registry.writing):
        with pytest.raises(RuntimeError), opened() as session:
            note(session, "undone")
            raise RuntimeError
    assert noted(sqlite_registry) == 0
    _write_at_once(sqlite_registry)
    assert noted(sqlite_registry) == 1


def test_a_server_is_never_written_to_at_once(postgres_registry_url: str) -> None:
    """A round trip over the network is waiting."""
    registry = Registry.open(postgres_registry_url)
    with pytest.raises(Busy), registry.writing_at_once():
        raise AssertionError
    registry.close()


def test_many_writers_of_one_process_all_get_their_turn(registry: Registry) -> None:
    """Whoever found SQLite busy slept up to 100 ms before looking again, and some waited for seconds."""
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait()
        for _ in range(10):
            with registry.writing() as session:
                note(session, f"w{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert noted(registry) == 80


def test_who_waits_for_another_process_comes_between_two_of_its_transactions(
    sqlite_registry: Registry, sqlite_registry_url: str
) -> None:
    """SQLite looks ever more rarely, at last every 100 ms: a worker that never pauses kept a start out for seconds."""
    other, done = Registry.open(sqlite_registry_url), threading.Event()
    theirs = 0

    def busy() -> None:
        nonlocal theirs
        while not done.is_set():
            with other.writing() as session:
                note(session, "other")
                done.wait(0.01)
            theirs += 1

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(busy)
        for _ in range(20):
            with sqlite_registry.writing() as session:
                note(session, "mine")
        done.set()
        going.result()
    other.close()
    # Counted, not timed: on a busy machine each of their ten milliseconds takes longer, too.
    assert theirs < 20 * 10


def test_whoever_is_in_a_hurry_leaves_the_log_to_others_and_loses_nothing(
    sqlite_registry: Registry, sqlite_registry_url: str
) -> None:
    """Every twentieth start waited 40 ms for pages to be carried over; but a log that nobody carries over fills the disk."""
    hurried = Registry.open(sqlite_registry_url, is_in_a_hurry=True)
    with hurried.writing() as session:
        pages, synchronous = (
            session.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("wal_autocheckpoint", "synchronous")
        )
        note(session, "mine")
    assert 1000 < pages <= 65_536
    assert synchronous == 2  # FULL: a commit is on the disk before it is told
    hurried.close()
    assert noted(sqlite_registry) == 1


def _write_at_once(registry: Registry) -> None:
    with registry.writing_at_once() as session:
        note(session, "at once")
