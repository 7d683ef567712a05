"""Are minutes read from what happened, and do recommendations change nothing until a person says so?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.portfolio.actions.lanes import set_cap
from plms_pipeline.portfolio.actions.reviews import apply_review, measure_lanes, proposals, reject_review, review_lanes
from plms_pipeline.portfolio.actions.status import lane_caps
from plms_pipeline.portfolio.minutes import MINUTE_MS, Held, is_out_of_memory, is_timeout, minutes_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, LaneMinute, Project, ProjectRun, RunTask, Slot

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
ANN = Actor("ann", is_verified=True)
SPANS = st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 90_000), st.integers(0, 200_000)), max_size=20)


@given(SPANS)
def test_no_millisecond_is_lost_or_counted_twice(spans: list[tuple[int, int, int]]) -> None:
    """Slot time over a border belongs to both minutes, in parts that add up."""
    tasks = [Held(start, start + waits, start + waits + takes) for start, waits, takes in spans]
    minutes = minutes_of(tasks, begin_ms=0, end_ms=20 * MINUTE_MS)
    assert sum(one.busy_ms for one in minutes.values()) == sum(takes for _, _, takes in spans)
    assert sum(one.started for one in minutes.values()) == len(tasks)
    assert sum(one.ended for one in minutes.values()) == len(tasks)
    assert sum(one.waited_ms for one in minutes.values()) == sum(waits for _, waits, _ in spans)


def test_a_task_that_goes_on_uses_its_slot_to_the_end_of_the_window() -> None:
    """A lane full of long tasks is busy, although nothing ends."""
    minutes = minutes_of([Held(0, 30_000, None)], begin_ms=0, end_ms=3 * MINUTE_MS)
    assert [one.busy_ms for one in minutes.values()] == [30_000, 60_000, 60_000]
    assert sum(one.ended for one in minutes.values()) == 0


def test_reasons_are_told_apart() -> None:
    """More slots for a lane that runs out of memory make it worse; a room is no memory."""
    assert is_out_of_memory("Killed: Out of memory")
    assert is_out_of_memory("OOMKilled")
    assert not is_out_of_memory("no room left")
    assert is_timeout("Read timed out")
    assert not is_timeout("out of time zone")


def facts(at: datetime) -> dict[str, Any]:
    return {"clock": FrozenClock(at), "ids": lambda: str(uuid4())}


def busy_hour(registry: Registry, *, cap: int = 4, failed: int = 0) -> None:
    """Lane 4200 full for one hour with tasks of a minute."""
    with registry.writing() as session:
        session.execute(insert(Project).values(id=42, name="calc", status="executing", created_at=MONDAY))
        session.execute(
            insert(ProjectRun).values(
                run_id="run", project_id=42, status="RUNNING", created_at=MONDAY, started_at=MONDAY, passport_sha256="0" * 64
            )
        )  # fmt: skip
        for number in range(60 * cap):
            taken = MONDAY + timedelta(minutes=number // cap)
            task = f"t{number}"
            session.execute(
                insert(RunTask).values(
                    run_id="run", task_id=task, lane_id=4200, provider="m", status="FAIL" if number < failed else "SUCCESS",
                    completed_at=taken + timedelta(minutes=1),
                )
            )  # fmt: skip
            session.execute(
                insert(JobCard).values(
                    card_key=task,
                    run_id="run",
                    task_id=task,
                    lane_id=4200,
                    provider="m",
                    state="ENDED",
                    created_at=MONDAY,
                )
            )
            session.execute(
                insert(Slot).values(
                    slot_id=task, resource="lane:4200", subject=task, project_id=42, run_id="run", holder="h", cap_then=cap,
                    taken_at=taken, renewed_at=taken, expires_at=taken, state="RELEASED",
                    released_at=taken + timedelta(minutes=1),
                )
            )  # fmt: skip


def test_minutes_are_read_once_and_again_alike(registry: Registry) -> None:
    """They are derived: reading them twice must not double them."""
    busy_hour(registry)
    at = FrozenClock(MONDAY + timedelta(hours=1, minutes=5))
    assert measure_lanes(registry, clock=at).minutes == 65
    with registry.reading() as session:
        first = session.execute(select(func.sum(LaneMinute.busy_ms), func.sum(LaneMinute.ended))).one()
    assert first == (60 * 4 * MINUTE_MS, 240)
    measure_lanes(registry, clock=FrozenClock(MONDAY + timedelta(hours=1, minutes=7)))
    with registry.reading() as session:
        assert session.execute(select(func.sum(LaneMinute.busy_ms), func.sum(LaneMinute.ended))).one() == first


def test_a_recommendation_is_applied_by_a_person_and_only_once(registry: Registry) -> None:
    """Nothing opens a lane by itself, and nobody opens it twice by one recommendation."""
    busy_hour(registry)
    measure_lanes(registry, clock=FrozenClock(MONDAY + timedelta(hours=1)))
    # The quiet rest of the week would hide the hour: only measured minutes count.
    at = MONDAY + timedelta(days=7, hours=6)
    found = review_lanes(registry, **facts(at))
    assert [(one.lane_id, one.field, one.current, one.recommended) for one in found] == [(4200, "cap", 4, 5)]
    assert found[0].evidence["busy_ratio"] == 1.0
    assert review_lanes(registry, **facts(at + timedelta(hours=1))) == found
    assert lane_caps(registry)["lanes"]["4200"] == 4
    apply_review(registry, **facts(at), actor=ANN, review_id=found[0].review_id, reason="agreed")
    assert lane_caps(registry)["lanes"]["4200"] == 5
    assert [one.state for one in proposals(registry, state=None)] == ["applied"]
    with pytest.raises(Conflict):
        apply_review(registry, **facts(at), actor=ANN, review_id=found[0].review_id, reason="again")
    with pytest.raises(NotFound):
        reject_review(registry, **facts(at), actor=ANN, review_id="none", reason="r")


def test_a_lane_that_changed_since_is_not_changed_by_an_old_recommendation(registry: Registry) -> None:
    """Somebody lowered it meanwhile for a reason of their own."""
    busy_hour(registry, failed=30)
    measure_lanes(registry, clock=FrozenClock(MONDAY + timedelta(hours=1)))
    at = MONDAY + timedelta(days=7)
    (found,) = review_lanes(registry, **facts(at))
    assert (found.recommended, found.rule) == (3, "errors_over_5_percent")
    set_cap(registry, **facts(at), actor=ANN, lane_id=4200, cap=2, reason="incident")
    with pytest.raises(Conflict):
        apply_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="agreed")
    assert lane_caps(registry)["lanes"]["4200"] == 2
    reject_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="done by hand")
    assert proposals(registry) == []
