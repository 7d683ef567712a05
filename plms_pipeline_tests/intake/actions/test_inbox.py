"""Is an event kept once, durably, and claimed by one at a time?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict
from plms_pipeline.intake.actions.inbox import Accepted, accept_event
from plms_pipeline.intake.store import inbox
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, InboxEvent

PAS = Actor("pas", is_verified=True)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = b'{"run_id": "r", "task_id": "t", "attempt": 1, "status": "succeeded"}'


def accept(registry: Registry, body: bytes = BODY, event_id: str | None = None, at: datetime = NOW) -> Accepted:
    return accept_event(registry, FrozenClock(at), endpoint="task_completed", body=body, actor=PAS, event_id=event_id)


def claim(registry: Registry, holder: str, *, at: datetime = NOW, limit: int = 10) -> Sequence[str]:
    with registry.writing() as session:
        until = at + timedelta(minutes=1)
        return [each.event_id for each in inbox.claim(session, holder=holder, now=at, lease_until=until, limit=limit)]


def count(registry: Registry) -> int:
    with registry.reading() as session:
        return int(session.scalar(select(func.count()).select_from(InboxEvent)) or 0)


def test_a_repeated_delivery_is_known_by_its_id_and_by_what_it_says(registry: Registry) -> None:
    """With an id of the sender or without: the same event is one row."""
    assert [accept(registry, event_id="one").duplicate for _ in range(3)] == [False, True, True]
    assert [accept(registry).duplicate for _ in range(3)] == [False, True, True]
    assert count(registry) == 2


def test_another_body_under_a_known_id_is_refused_and_audited(registry: Registry) -> None:
    """One of the two is a lie, and nobody can say which."""
    accept(registry, event_id="one")
    with pytest.raises(Conflict) as caught:
        accept(registry, BODY.replace(b"succeeded", b"failed"), event_id="one")
    assert caught.value.code == "event_id_conflict"
    with registry.reading() as session:
        [entry] = session.scalars(select(AuditEntry)).all()
    assert (entry.action, entry.outcome, entry.details_json["run_id"]) == ("webhook", "refused", "r")
    assert count(registry) == 1


def test_deliveries_at_once_leave_one_row(registry: Registry) -> None:
    """Executors retry while the first try is still under way."""
    at_once = Barrier(4)

    def send(_: int) -> bool:
        at_once.wait()
        return accept(registry, event_id="one").duplicate

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(send, range(4))) == [False, True, True, True]
    assert count(registry) == 1


def test_events_are_claimed_oldest_first_by_one_at_a_time(registry: Registry) -> None:
    """Two processes that settle the same event would do everything twice, to find out at the end."""
    for number in range(5):
        accept(registry, event_id=f"e{number}", at=NOW - timedelta(seconds=number))
    assert claim(registry, "one", limit=3) == ["e4", "e3", "e2"]
    assert claim(registry, "two") == ["e1", "e0"]
    assert claim(registry, "three") == []


def test_what_a_dead_process_held_is_due_when_its_lease_ends(registry: Registry) -> None:
    """A kill between claim and commit loses nothing."""
    accept(registry, event_id="one")
    assert claim(registry, "dead") == ["one"]
    assert claim(registry, "other", at=NOW + timedelta(seconds=59)) == []
    assert claim(registry, "other", at=NOW + timedelta(seconds=61)) == ["one"]
    with registry.writing() as session:
        assert inbox.held(session, [1], holder="dead") == set()
        assert inbox.held(session, [1], holder="other") == {1}


def test_what_was_settled_stays_so(registry: Registry) -> None:
    """The database itself refuses a second end."""
    accept(registry, event_id="one")
    claim(registry, "here")
    with registry.writing() as session:
        inbox.finish(session, [(1, "settled", "done")], at=NOW)
    with registry.writing() as session:
        inbox.finish(session, [(1, "refused", "again")], at=NOW)
        assert session.execute(select(InboxEvent.state, InboxEvent.outcome)).one() == ("settled", "done")
    with pytest.raises(DBAPIError), registry.writing() as session:
        session.execute(InboxEvent.__table__.update().values(state="pending"))
    assert claim(registry, "here", at=NOW + timedelta(days=1)) == []
