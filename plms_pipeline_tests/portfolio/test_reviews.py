"""Are minutes read from what happened, and do recommendations change nothing until a person says so?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.portfolio.actions.lanes import set_cap, set_gate
from plms_pipeline.portfolio.actions.reviews import (
    apply_review,
    autoscale,
    measure_lanes,
    proposals,
    reject_review,
    review_lanes,
)
from plms_pipeline.portfolio.actions.status import lane_caps
from plms_pipeline.portfolio.aimd import Bounds
from plms_pipeline.portfolio.minutes import MINUTE_MS, Held, is_out_of_memory, is_timeout, minutes_of
from plms_pipeline.portfolio.policies import autoscale_bounds
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Decision,
    JobCard,
    KpiReceipt,
    LaneGate,
    LaneMinute,
    Project,
    ProjectRun,
    RunTask,
    Slot,
    TaskReceipt,
)
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask, world

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
        taken = [(f"t{number}", MONDAY + timedelta(minutes=number // cap)) for number in range(60 * cap)]
        over = timedelta(minutes=1)
        session.execute(insert(RunTask), [
            {"run_id": "run", "task_id": task, "lane_id": 4200, "provider": "m", "completed_at": at + over,
             "status": "FAIL" if number < failed else "SUCCESS"}
            for number, (task, at) in enumerate(taken)
        ])  # fmt: skip
        session.execute(insert(JobCard), [
            {"card_key": task, "run_id": "run", "task_id": task, "lane_id": 4200, "provider": "m", "state": "ENDED",
             "created_at": MONDAY}
            for task, _ in taken
        ])  # fmt: skip
        session.execute(insert(Slot), [
            {"slot_id": task, "resource": "lane:4200", "subject": task, "project_id": 42, "run_id": "run", "holder": "h",
             "cap_then": cap, "taken_at": at, "renewed_at": at, "expires_at": at, "state": "RELEASED",
             "released_at": at + over}
            for task, at in taken
        ])  # fmt: skip


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


def measured(registry: Registry, values: list[float], let_pass: set[int], *, kpi: str = "test_pass_rate") -> None:
    """Runs of project 42 in lane 4200, one measured value each; those with a number in `let_pass` were overridden."""
    at = MONDAY + timedelta(hours=3)
    with registry.writing() as session:
        session.execute(insert(Project).values(id=42, name="calc", status="executing", created_at=MONDAY))
        for number, value in enumerate(values):
            passes = number in let_pass
            session.execute(
                insert(ProjectRun).values(
                    run_id=f"r{number}", project_id=42, status="SUCCESS", validation="failed", created_at=MONDAY,
                    started_at=MONDAY, completed_at=at, passport_sha256="0" * 64,
                    validation_pass_override=True if passes else None, override_reason="fine" if passes else None,
                    overridden_by="ann" if passes else None, overridden_at=at if passes else None,
                )
            )  # fmt: skip
            for again in (0.0, value):
                session.execute(
                    insert(KpiReceipt).values(
                        evaluation_id=f"e{number}-{again}", run_id=f"r{number}", task_id="t", lane_id=4200, kpi_name=kpi,
                        kpi_value=again, kpi_threshold={">=": 0.9}, pass_=False, blocks=True, artifact_name="a",
                        measured_at=at if again else at - timedelta(hours=1),
                    )
                )  # fmt: skip


def test_a_gate_that_people_overrule_is_recommended_looser_and_a_decision_moves_it(registry: Registry) -> None:
    """A gate whose failures are let pass again and again measures something else than what people want."""
    # Ten of twelve fail the gate of 0.9; four of those were let pass. Each was measured twice: the newest counts.
    measured(registry, [0.8, 0.82, 0.84, 0.86] + [0.5] * 6 + [0.95, 0.99], {0, 1, 2, 3})
    at = MONDAY + timedelta(days=7, hours=6)
    [found] = review_lanes(registry, **facts(at))
    assert (found.field, found.subject, found.current, found.recommended) == ("gate", "test_pass_rate", 0.9, 0.84)
    assert (found.evidence["failed"], found.evidence["let_pass"]) == (10, 4)
    apply_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="agreed")
    with registry.reading() as session:
        gate = session.execute(
            select(LaneGate.operator, LaneGate.threshold, LaneGate.blocks).where(
                LaneGate.lane_id == 4200, LaneGate.kpi_name == "test_pass_rate"
            )
        ).one()
        [decision] = session.scalars(select(Decision).where(Decision.kind == "lane_gate"))
    assert gate == (">=", 0.84, True)
    assert decision.payload_json["evidence"]["let_pass"] == 4


def test_a_gate_that_was_moved_meanwhile_is_not_moved_again(registry: Registry) -> None:
    """The evidence speaks about the threshold of that week, not about the one that somebody set since."""
    measured(registry, [0.8, 0.82, 0.84] + [0.5] * 7, {0, 1, 2})
    at = MONDAY + timedelta(days=7, hours=6)
    [found] = review_lanes(registry, **facts(at))
    set_gate(
        registry, **facts(at), actor=ANN, lane_id=4200, kpi="test_pass_rate", operator=">=", threshold=0.7, blocks=True,
        reason="by hand",
    )  # fmt: skip
    with pytest.raises(Conflict) as told:
        apply_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="agreed")
    assert told.value.code == "lane_changed"
    with registry.reading() as session:
        assert session.scalar(
            select(LaneGate.threshold).where(LaneGate.lane_id == 4200, LaneGate.kpi_name == "test_pass_rate")
        ) == pytest.approx(0.7)


def walk(registry: Registry) -> None:
    """Receipts of lane 4200 whose level wanders, of two providers in turns whose levels are far apart."""
    chance, levels = Random(7), {"m/one": 0.0, "m/two": 6.0}
    with registry.writing() as session:
        session.execute(insert(Project).values(id=42, name="calc", status="executing", created_at=MONDAY))
        session.execute(
            insert(ProjectRun).values(
                run_id="run", project_id=42, status="RUNNING", created_at=MONDAY, started_at=MONDAY, passport_sha256="0" * 64
            )
        )  # fmt: skip
        for number in range(200):
            provider = ("m/one", "m/two")[number % 2]
            levels[provider] += chance.gauss(0, 0.4)
            at = MONDAY + timedelta(minutes=number)
            session.execute(
                insert(TaskReceipt).values(
                    run_id="run", task_id=f"t{number}", project_id=42, lane_id=4200, provider=provider, status="SUCCESS",
                    cost_usd=Decimal(str(round(2.718 ** levels[provider], 6))), started_at=at, completed_at=at,
                    completed_on=at.date(), natural_key=f"run/t{number}/1", source="plms",
                    row_sha256=f"{number:064d}", recorded_at=at,
                )
            )  # fmt: skip


def test_the_weight_of_the_newest_receipt_follows_from_forecast_errors_per_provider(registry: Registry) -> None:
    """Costs that wander want a quick mean; providers that take turns must not look like wandering."""
    walk(registry)
    at = MONDAY + timedelta(days=7, hours=6)
    [found] = review_lanes(registry, **facts(at), alpha=0.1)
    assert (found.field, found.current, found.recommended) == ("alpha", 0.1, 0.7)
    assert (found.evidence["receipts"], found.evidence["providers"]) == (200, 2)
    errors = found.evidence["mean_absolute_log_error"]
    assert errors["0.7"] < 0.75 * errors["0.1"] < 1  # six apart are the providers
    with pytest.raises(Conflict) as told:
        apply_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="agreed", alpha=0.1)
    assert told.value.code == "alpha_is_a_setting"
    assert "PLMS_ALPHA=0.7" in told.value.message
    apply_review(registry, **facts(at), actor=ANN, review_id=found.review_id, reason="agreed", alpha=0.7)
    with registry.reading() as session:
        assert session.scalars(select(Decision.kind)).all() == ["lane_alpha"]


def test_a_cap_moves_by_itself_inside_its_bounds_at_most_once_an_hour(registry: Registry) -> None:
    """Every move says why and by what rule; what a person decided a moment ago stands."""
    busy_hour(registry)
    at = MONDAY + timedelta(hours=1)
    measure_lanes(registry, clock=FrozenClock(at))
    assert autoscale(registry, **facts(at), bounds=Bounds(1, 4)) == []
    assert autoscale(registry, **facts(at), bounds=Bounds(5, 9)) == []  # a person put it outside
    [moved] = autoscale(registry, **facts(at), bounds=Bounds(1, 8))
    assert (moved.lane_id, moved.before, moved.after, moved.rule) == (4200, 4, 5, "busy_over_90_percent")
    assert autoscale(registry, **facts(at), bounds=Bounds(1, 8)) == []
    with registry.reading() as session:
        [decision] = session.scalars(select(Decision))
    assert (decision.kind, decision.actor, decision.actor_verified) == ("lane_cap", "plms:autoscale", True)
    assert decision.payload_json["evidence"]["busy_ratio"] == 1.0
    assert (decision.payload_json["before"], decision.payload_json["after"]) == (4, 5)
    assert decision.payload_json["bounds"] == [1, 8]


def test_a_lane_in_trouble_is_halved(registry: Registry) -> None:
    """Multiplicative decrease: out of trouble first, then slot by slot back."""
    busy_hour(registry, failed=60)
    at = MONDAY + timedelta(hours=1)
    measure_lanes(registry, clock=FrozenClock(at))
    [moved] = autoscale(registry, **facts(at), bounds=Bounds(1, 8))
    assert (moved.before, moved.after, moved.rule) == (4, 2, "errors_over_5_percent")


def test_a_cap_that_a_person_just_decided_stays(registry: Registry) -> None:
    """What the decision did cannot be seen in an hour that was before it."""
    busy_hour(registry)
    at = MONDAY + timedelta(hours=1)
    measure_lanes(registry, clock=FrozenClock(at))
    set_cap(registry, **facts(at - timedelta(minutes=30)), actor=ANN, lane_id=4200, cap=4, reason="enough")
    assert autoscale(registry, **facts(at), bounds=Bounds(1, 8)) == []


def test_caps_move_by_themselves_only_where_that_is_asked_for(settings: Settings) -> None:
    """Off by default; bounds that exclude each other are a typing error."""
    assert autoscale_bounds(settings) is None
    on = settings.model_copy(update={"lane_autoscale": "on"})
    assert autoscale_bounds(on) == Bounds(1, 16)
    with pytest.raises(BadInput):
        autoscale_bounds(on.model_copy(update={"lane_autoscale_min": 20}))


def test_a_recommendation_is_decided_over_http_by_who_may(registry: Registry, settings: Settings) -> None:
    """Lanes belong to the platform team: a viewer sees what is recommended, an approver of budgets does not move caps."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    busy_hour(registry)
    measure_lanes(registry, clock=FrozenClock(MONDAY + timedelta(hours=1)))
    at = MONDAY + timedelta(days=7, hours=6)
    review_lanes(registry, **facts(at))
    api = world(settings, registry, FrozenClock(at))
    [one] = ask(api.app, "GET", "/api/lanes/reviews", headers=api.headers("viewer")).json()
    assert (one["lane_id"], one["field"], one["recommended"], one["state"]) == (4200, "cap", 5.0, "proposed")
    path = f"/api/lanes/reviews/{one['review_id']}/apply"
    for role in ("viewer", "operator", "approver", "pas"):
        assert ask(api.app, "POST", path, json={"reason": "r"}, headers=api.headers(role)).status_code == 403
    assert ask(api.app, "POST", path, json={}, headers=api.headers("admin")).status_code == 422
    done = ask(api.app, "POST", path, json={"reason": "agreed"}, headers=api.headers("admin", "ann"))
    assert (done.status_code, done.json()["state"]) == (200, "applied")
    assert lane_caps(registry)["lanes"]["4200"] == 5
    again = ask(api.app, "POST", path.replace("apply", "reject"), json={"reason": "no"}, headers=api.headers("admin"))
    assert (again.status_code, again.json()["code"]) == (409, "review_is_over")
