"""The kill switch: who is stopped, by what, since when, and that nothing slips past it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from itertools import count

import pytest
from sqlalchemy import select, text

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.portfolio.actions import switches
from plms_pipeline.portfolio.store import switches as store
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Decision
from plms_pipeline_tests.runs.worlds import planned_project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Actor("ana@example.com", is_verified=True)
_NUMBERS = count()


def turn(registry: Registry, way: str, scope: str = "global", subject: str = "", reason: str = "smoke") -> bool:
    action = switches.turn_on if way == "on" else switches.turn_off
    switched = action(
        registry, clock=FrozenClock(NOW), ids=lambda: f"d{next(_NUMBERS)}", actor=ANA, reason=reason, scope=scope,
        subject=subject,
    )  # fmt: skip
    return switched.changed


def stop_reason(registry: Registry, project_id: int | None = None, lane_id: int | None = None) -> str | None:
    return switches.stop_reason(registry, flag=lambda: None, project_id=project_id, lane_id=lane_id)


def test_a_global_switch_stops_everything_until_it_is_off(registry: Registry) -> None:
    """Otherwise spending goes on somewhere."""
    assert stop_reason(registry) is None
    assert turn(registry, "on")
    assert not turn(registry, "on")
    for project_id, lane_id in ((None, None), (42, None), (42, 5100)):
        found = stop_reason(registry, project_id, lane_id)
        assert found is not None
        assert "smoke" in found
        assert "ana@example.com" in found
    assert turn(registry, "off")
    assert not turn(registry, "off")
    assert stop_reason(registry, 42, 5100) is None


def test_a_switch_of_a_scope_stops_only_that(registry: Registry) -> None:
    """Otherwise stopping one project stops them all, or none."""
    planned_project(registry)
    turn(registry, "on", "project", "42")
    turn(registry, "on", "lane", "5100")
    assert stop_reason(registry) is None
    assert stop_reason(registry, 42) is not None
    assert stop_reason(registry, 43) is None
    assert stop_reason(registry, 43, 5100) is not None
    assert stop_reason(registry, 43, 5101) is None


def test_each_turn_is_a_decision_with_its_reason(registry: Registry) -> None:
    """Otherwise nobody can say later who stopped the night, and why."""
    turn(registry, "on", reason="costs explode")
    turn(registry, "off", reason="fixed")
    turn(registry, "off", reason="fixed")
    with registry.reading() as session:
        rows = session.execute(
            select(Decision.decision, Decision.reason)
            .where(Decision.kind == "kill_switch")
            .order_by(Decision.decided_at)
        ).all()
    assert sorted(tuple(row) for row in rows) == [("off", "fixed"), ("on", "costs explode")]


@pytest.mark.parametrize(
    ("scope", "subject"), [("planet", ""), ("lane", ""), ("lane", "x"), ("project", "-1"), ("global", "42")]
)
def test_a_scope_that_is_none_is_refused(registry: Registry, scope: str, subject: str) -> None:
    """Otherwise a misspelt scope looks like a switch that is on and stops nothing."""
    with pytest.raises(BadInput, match=r"scope|number|subject"):
        turn(registry, "on", scope, subject)


def test_a_switch_of_what_does_not_exist_is_refused(registry: Registry) -> None:
    """Otherwise a wrong number looks like a switch that is on and stops nothing."""
    with pytest.raises(NotFound):
        turn(registry, "on", "project", "4711")


def test_a_registry_that_cannot_be_read_counts_as_on(registry: Registry) -> None:
    """Otherwise an outage of the database turns the switch off."""
    with registry.writing() as session:
        session.execute(text("ALTER TABLE kill_switches RENAME TO gone"))
    try:
        assert "cannot be read" in (stop_reason(registry) or "")
        assert switches.status(registry, flag=lambda: None).is_on
    finally:
        with registry.writing() as session:
            session.execute(text("ALTER TABLE gone RENAME TO kill_switches"))


def test_the_flag_file_stops_everything_whatever_the_rows_say(registry: Registry) -> None:
    """Otherwise who cannot reach the database cannot stop anything."""
    assert "fire" in (switches.stop_reason(registry, flag=lambda: "fire") or "")


def test_a_mirror_stops_nobody(registry: Registry) -> None:
    """Otherwise the record that a flag file was seen keeps everything stopped after the file is gone."""
    with registry.writing() as session:
        store.turn_on(session, scope="global", subject="flag file", reason="fire", actor="guard", now=NOW)
    assert stop_reason(registry, 42, 5100) is None
    assert not switches.status(registry, flag=lambda: None).is_on


def test_what_passed_the_check_is_in_the_books_before_the_switch_is_on(registry: Registry) -> None:
    """Otherwise a start that read "off" a moment before goes out after everything was stopped."""
    passed, order = threading.Event(), []

    def start() -> None:
        with registry.writing() as session:
            assert store.checked(session) == []
            passed.set()
            threading.Event().wait(0.3)
            order.append("started")

    def stop() -> None:
        passed.wait()
        turn(registry, "on")
        order.append("stopped")

    threads = [threading.Thread(target=start), threading.Thread(target=stop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["started", "stopped"]
