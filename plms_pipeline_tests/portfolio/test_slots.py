"""Places of a resource: counted under a lock, given back once, and never lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from plms_pipeline.portfolio.store import slots
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lane, Slot

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def take(
    registry: Registry,
    subject: str,
    *,
    resource: str = "launcher",
    cap: int = 3,
    now: datetime = NOW,
    holder: str = "me",
) -> bool:
    with registry.writing() as session:
        return slots.take(
            session, slot_id=f"{resource}/{subject}/{now.isoformat()}", resource=resource, subject=subject, cap=cap,
            holder=holder, project_id=None, run_id=None, now=now, expires_at=now + timedelta(minutes=1),
        )  # fmt: skip


def count(registry: Registry, resource: str = "launcher") -> int:
    with registry.reading() as session:
        return slots.open_count(session, resource)


@pytest.mark.parametrize("resource", ["launcher", "lane:5100"])
def test_of_many_who_ask_at_once_only_as_many_as_there_are_places_are_admitted(
    registry: Registry, resource: str
) -> None:
    """Otherwise a lane with two places gets ten tasks: the sources' guard admitted twelve of twelve with a limit of three."""
    with ThreadPoolExecutor(12) as pool:
        admitted = list(pool.map(lambda n: take(registry, f"card-{n}", resource=resource, cap=2), range(24)))
    assert sum(admitted) == 2
    assert count(registry, resource) == 2


def test_a_subject_keeps_the_place_that_it_has(registry: Registry) -> None:
    """Otherwise a dispatcher that died between taking and telling holds a place for ever and its successor needs another."""
    assert take(registry, "card", cap=1, holder="first")
    assert take(registry, "card", cap=1, now=LATER, holder="second")
    with registry.reading() as session:
        (held,) = slots.open_slots(session, "launcher")
    assert held.holder == "second"
    assert held.expires_at == LATER + timedelta(minutes=1)


def test_a_place_is_given_back_once(registry: Registry) -> None:
    """Otherwise a completion that is told twice frees a place that somebody else has by then."""
    assert take(registry, "card", cap=1)
    assert not take(registry, "other", cap=1)
    with registry.writing() as session:
        assert slots.release(session, "launcher", "card", now=LATER, reason="completed")
    assert take(registry, "other", cap=1, now=LATER)
    with registry.writing() as session:
        assert not slots.release(session, "launcher", "card", now=LATER, reason="completed")
    assert count(registry) == 1


def test_a_late_holder_is_suspect_and_keeps_counting(registry: Registry) -> None:
    """Otherwise the work of a dispatcher that died is still going on while its place is given to another."""
    assert take(registry, "card", cap=1)
    with registry.writing() as session:
        assert slots.mark_suspect(session, NOW + timedelta(seconds=59)) == 0
        assert slots.mark_suspect(session, LATER) == 1
        assert slots.mark_suspect(session, LATER) == 0
    assert not take(registry, "other", cap=1, now=LATER)
    with registry.writing() as session:
        assert slots.renew(session, "launcher", "card", now=LATER, expires_at=LATER + timedelta(minutes=1))
    with registry.reading() as session:
        assert [slot.state for slot in slots.open_slots(session)] == ["HELD"]


def test_a_place_is_given_back_although_the_clock_jumped_back(registry: Registry) -> None:
    """Otherwise a machine whose clock was corrected keeps every place that it took before."""
    assert take(registry, "card", now=LATER)
    with registry.writing() as session:
        assert slots.release(session, "launcher", "card", now=NOW, reason="completed")
    with registry.reading() as session:
        assert session.execute(select(Slot.taken_at, Slot.released_at)).one() == (LATER, LATER)


def test_a_lanes_own_cap_holds_whatever_the_caller_read_before(registry: Registry) -> None:
    """Otherwise a dispatcher that read the cap before somebody lowered it passes the new one."""
    with registry.writing() as session:
        session.execute(update(Lane).where(Lane.lane_id == 5100).values(cap=1))
    assert take(registry, "a", resource="lane:5100", cap=4)
    assert not take(registry, "b", resource="lane:5100", cap=4)
    with registry.reading() as session:
        assert session.scalar(select(func.max(Slot.cap_then))) == 1


@pytest.mark.parametrize("resource", ["lane:9999", "lane:5101"])
def test_a_lane_that_is_unknown_or_retired_has_no_place(registry: Registry, resource: str) -> None:
    """Otherwise work goes to a lane that nobody serves."""
    with registry.writing() as session:
        session.execute(update(Lane).where(Lane.lane_id == 5101).values(active=False))
    assert not take(registry, "a", resource=resource)


def test_places_are_counted_per_resource(registry: Registry) -> None:
    """Otherwise a busy lane stops all others."""
    assert take(registry, "a", resource="lane:5100", cap=1)
    assert take(registry, "a", resource="lane:5101", cap=1)
    with registry.reading() as session:
        assert slots.open_counts(session) == {"lane:5100": 1, "lane:5101": 1}
