"""Are lanes changed by decisions, and is it told what runs, what waits and why?"""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.portfolio.actions.lanes import add_lane, list_lanes, set_cap, set_gate
from plms_pipeline.portfolio.actions.status import (
    LaneLoad,
    QueueTotals,
    lane_caps,
    level_of,
    portfolio_status,
    queue_of,
    queue_totals,
    require_known,
)
from plms_pipeline.portfolio.store import queue, slots
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Decision,
    Hold,
    JobCard,
    Lane,
    LaneGate,
    OutboxEvent,
    Preemption,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunTask,
)
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask, world

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Actor("ann", is_verified=True)


def facts() -> dict[str, Any]:
    numbers = itertools.count(1)
    return {"clock": FrozenClock(AT), "ids": lambda: f"00000000-0000-4000-8000-{next(numbers):012d}", "actor": ANN}


def test_a_cap_is_a_decision_with_its_reason(registry: Registry) -> None:
    """Who opened the lane that brought the executor down, and why? The row must say."""
    done = set_cap(registry, **facts(), lane_id=4200, cap=7, reason="two more workers")
    assert (done.before, done.after) == (4, 7)
    assert next(lane.cap for lane in list_lanes(registry) if lane.lane_id == 4200) == 7
    with registry.reading() as session:
        kept = session.scalars(select(Decision)).one()
        assert (kept.kind, kept.subject_id, kept.reason, kept.actor) == ("lane_cap", "4200", "two more workers", "ann")


@pytest.mark.parametrize(
    ("change", "error"),
    [({"lane_id": 1}, NotFound), ({"cap": -1}, BadInput), ({"cap": 10_001}, BadInput), ({"reason": " "}, BadInput)],
)
def test_what_is_no_cap_changes_nothing(registry: Registry, change: dict[str, Any], error: type[Exception]) -> None:
    """A typing error must not close a lane, or open it to everything."""
    with pytest.raises(error):
        set_cap(registry, **(facts() | {"lane_id": 4200, "cap": 5, "reason": "r"} | change))
    assert lane_caps(registry)["lanes"]["4200"] == 4


def test_a_number_that_no_lane_can_have_is_told_as_an_unknown_lane(sqlite_registry: Registry) -> None:
    """One digit too many must be told as the typing error that it is; it was a traceback."""
    huge = 99_999_999_999_999_999_999
    with pytest.raises(NotFound, match=rf"no lane {huge}.*plms lanes list"):
        set_cap(sqlite_registry, **facts(), lane_id=huge, cap=6, reason="x")
    gate: dict[str, Any] = {"kpi": "test_pass_rate", "operator": ">=", "threshold": 1.0, "blocks": True}
    with pytest.raises(NotFound, match=f"no lane {-huge}"):
        set_gate(sqlite_registry, **facts(), **gate, lane_id=-huge, reason="x")
    asked: list[dict[str, Any]] = [{"lane_id": huge}, {"project_id": huge}]
    for only in asked:
        with pytest.raises(BadInput, match="2,147,483,647"):
            queue_of(sqlite_registry, clock=FrozenClock(AT), **only)


def test_a_gate_is_set_and_set_again(registry: Registry) -> None:
    """One gate per lane and KPI: the new threshold replaces the old one, and the decision keeps both."""
    given: dict[str, Any] = {"lane_id": 4200, "kpi": "test_pass_rate", "operator": ">=", "blocks": True}
    set_gate(registry, **facts(), **given, threshold=0.95, reason="stricter")
    with registry.reading() as session:
        gates = session.scalars(select(LaneGate.threshold).where(
            LaneGate.lane_id == 4200, LaneGate.kpi_name == "test_pass_rate"
        )).all()  # fmt: skip
    assert gates == [0.95]
    with pytest.raises(BadInput):
        set_gate(registry, **facts(), **(given | {"kpi": "vibes"}), threshold=1.0, reason="r")
    with pytest.raises(BadInput):
        set_gate(registry, **facts(), **given, threshold=True, reason="r")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a\nb"}, "control characters"),
        ({"name": "\x1b[31mRED"}, "control characters"),
        ({"description": "\x1b[31mRED"}, "description .* control characters"),
        ({"description": "two\nlines"}, "one line"),
        ({"description": "x" * 501}, "at most 500"),
        ({"lane_id": 10**29}, "between 1 and 2,147,483,647"),
        ({"lane_id": 0}, "between 1 and 2,147,483,647"),
    ],
)
def test_a_lane_that_could_not_be_shown_or_kept_is_refused(
    sqlite_registry: Registry, change: dict[str, Any], said: str
) -> None:
    """A name is printed in every list: with a line break in it one lane looks like two."""
    new: dict[str, Any] = {"lane_id": 4299, "name": "Review", "cap": 2, "description": "", "reason": "r"}
    with pytest.raises(BadInput, match=said):
        add_lane(sqlite_registry, **facts(), **(new | change))


def test_a_rate_that_can_never_be_reached_is_no_gate(sqlite_registry: Registry) -> None:
    """Whoever means 95 per cent and types 95 would close the lane for good."""
    gate: dict[str, Any] = {"lane_id": 4200, "blocks": True, "reason": "r"}
    for operator, threshold in ((">=", 5.0), (">=", -0.1), (">", 1.0), ("<", 0.0)):
        with pytest.raises(BadInput, match="between 0 and 1"):
            set_gate(sqlite_registry, **facts(), **gate, kpi="test_pass_rate", operator=operator, threshold=threshold)
    for kpi, threshold in (("schema_diff", -1), ("row_count_delta", -0.5)):
        with pytest.raises(BadInput, match="0 or more"):
            set_gate(sqlite_registry, **facts(), **gate, kpi=kpi, operator="<=", threshold=threshold)
    done = set_gate(sqlite_registry, **facts(), **gate, kpi="readability", operator="<=", threshold=8.0)
    assert done.after["threshold"] == 8.0


def test_a_lane_is_added_once(registry: Registry) -> None:
    """Two lanes of one name would be told apart by nobody."""
    new: dict[str, Any] = {"lane_id": 4299, "name": "Code-Review", "cap": 2, "description": "", "reason": "r"}
    add_lane(registry, **facts(), **new)
    assert lane_caps(registry)["description"]["4299"] == "Code-Review"
    changes: list[dict[str, Any]] = [{"name": "Other"}, {"lane_id": 4298}]
    for again in changes:
        with pytest.raises(Conflict):
            add_lane(registry, **facts(), **(new | again))


def waiting_run(registry: Registry) -> None:
    """A run with a card in a slot, one that is queued, and one that depends on another."""
    with registry.writing() as session:
        session.execute(insert(Project).values(id=42, name="calc", status="executing", created_at=AT))
        session.execute(
            insert(ProjectRun).values(
                run_id="run", project_id=42, status="RUNNING", created_at=AT, started_at=AT, passport_sha256="0" * 64
            )
        )
        for task, state, depends, priority in (
            ("a", "SUBMITTED", [], 0.5), ("b", "WAITING", [], 1.0), ("c", "WAITING", ["a"], 0.5)
        ):  # fmt: skip
            session.execute(insert(RunTask).values(run_id="run", task_id=task, lane_id=4200, provider="m"))
            session.execute(
                insert(JobCard).values(
                    card_key=f"key-{task}", run_id="run", task_id=task, lane_id=4200, provider="m", state=state,
                    depends_on_json=depends, priority=priority, created_at=AT,
                )
            )  # fmt: skip
        assert slots.take(
            session, slot_id="s1", resource="lane:4200", subject="key-a", cap=4, holder="h", project_id=42, run_id="run",
            now=AT, expires_at=AT + timedelta(minutes=5),
        )  # fmt: skip
        queue.put(
            session,
            [{"card_key": "key-b", "lane_id": 4200, "project_id": 42, "run_id": "run", "run_kind": "baseline",
              "ready_at": AT, "not_before": AT, "rank": 0.0, "expected_ms": None, "reserve_usd": None,
              "holds_slot": False}],
        )  # fmt: skip


def test_the_status_has_the_sources_fields(registry: Registry) -> None:
    """Pages and scripts of the guides read exactly these names."""
    waiting_run(registry)
    status = portfolio_status(registry, clock=FrozenClock(AT))
    assert set(status) == {
        "queued", "running_by_lane", "total_queued", "total_running", "timestamp", "lane_limits"
    }  # fmt: skip
    assert status["queued"] == {"priority_1": 0, "priority_2": 0, "priority_3": 1, "priority_4": 0, "priority_5": 1}
    assert status["running_by_lane"]["4200"] == {"running": 1, "limit": 4, "utilization": 0.25, "tasks": ["a"]}
    assert (status["total_queued"], status["total_running"], status["lane_limits"]["5100"]) == (2, 1, 2)
    assert status["timestamp"].endswith("Z")
    assert [level_of(priority) for priority in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1, 2, 3, 4, 5]


def test_each_waiting_task_names_its_first_obstacle(registry: Registry) -> None:
    """ "It is queued" answers nobody's question."""
    waiting_run(registry)

    def why() -> dict[str, str]:
        found = queue_of(registry, clock=FrozenClock(AT + timedelta(seconds=30)), project_id=42)
        return {one.task.task_id: one.reason.code for one in found}

    assert why() == {"b": "turn", "c": "dependency"}
    with registry.writing() as session:
        session.execute(update(Lane).where(Lane.lane_id == 4200).values(cap=1))
    assert why()["b"] == "lane_full"
    with registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="project", subject_id="42", reason="lunch", placed_by="ann", placed_at=AT)
        )
    assert why() == {"b": "held", "c": "held"}
    flagged = queue_of(registry, clock=FrozenClock(AT), flag="fire", limit=1)
    assert [one.shown["reason"] for one in flagged] == ["killswitch"]
    assert queue_of(registry, clock=FrozenClock(AT), lane_id=5100) == []


def test_a_closed_lane_is_counted_while_anything_runs_or_waits_there(registry: Registry) -> None:
    """A lane that was closed over its running task vanished from the line that says what runs, and one that was closed
    before its tasks began was counted only as far as the list went."""
    waiting_run(registry)
    with registry.writing() as session:
        session.execute(update(Lane).values(cap=0))
    assert [queue_totals(registry).running, queue_totals(registry).waiting] == [1, 2]
    assert queue_totals(registry).lanes == (LaneLoad(4200, 1, 0, 2),)
    with registry.writing() as session:
        slots.release(session, "lane:4200", "key-a", now=AT, reason="r")
    assert queue_totals(registry).lanes == (LaneLoad(4200, 0, 0, 2),)


def test_totals_are_those_of_what_was_asked_for(sqlite_registry: Registry) -> None:
    """`plms queue --project 43` said that one task runs and two wait, above a list without a single one."""
    waiting_run(sqlite_registry)
    with sqlite_registry.writing() as session:
        session.execute(insert(Project).values(id=43, name="idle", status="approved", created_at=AT))
    assert queue_totals(sqlite_registry, project_id=43) == QueueTotals(0, 0, ())
    assert queue_totals(sqlite_registry, lane_id=5100) == QueueTotals(0, 0, (LaneLoad(5100, 0, 2, 0),))
    found = queue_totals(sqlite_registry, run_id="run", project_id=42)
    assert found == QueueTotals(1, 2, (LaneLoad(4200, 1, 4, 2),))
    assert len(queue_totals(sqlite_registry).lanes) > 1


def test_a_task_that_was_put_aside_for_others_waits_like_the_others(sqlite_registry: Registry) -> None:
    """It stood in the list and in no count, neither of what runs nor of what waits."""
    waiting_run(sqlite_registry)
    with sqlite_registry.writing() as session:
        slots.release(session, "lane:4200", "key-a", now=AT, reason="preempted")
        session.execute(
            insert(Preemption).values(
                card_key="key-a",
                lane_id=4200,
                project_id=42,
                run_id="run",
                for_project_id=42,
                state="paused",
                asked_at=AT,
            )
        )
    assert queue_totals(sqlite_registry).waiting == len(queue_of(sqlite_registry, clock=FrozenClock(AT))) == 3
    assert portfolio_status(sqlite_registry, clock=FrozenClock(AT))["total_queued"] == 3


def test_a_run_waits_for_its_turn_only_while_others_are_at_work(registry: Registry) -> None:
    """The books know how many of the project's runs are at work: nothing else may be called waiting for a turn."""
    waiting_run(registry)
    with registry.writing() as session:
        session.execute(
            insert(ProjectRun).values(
                run_id="next", project_id=42, status="QUEUED", created_at=AT, passport_sha256="0" * 64
            )
        )
        session.execute(insert(RunTask).values(run_id="next", task_id="a", lane_id=4200, provider="m"))
        session.execute(
            insert(JobCard).values(
                card_key="next-a", run_id="next", task_id="a", lane_id=4200, provider="m", state="WAITING",
                depends_on_json=[], priority=0.5, created_at=AT,
            )
        )  # fmt: skip
        session.execute(
            insert(OutboxEvent).values(
                event_key="start_run:next", kind="start_run", subject_id="next", created_at=AT, due_at=AT, attempts=0
            )
        )

    def why(**given: Any) -> tuple[str, str]:
        [found] = queue_of(registry, clock=FrozenClock(AT), run_id="next", **given)
        return found.reason.code, found.reason.text

    assert why() == ("run_queued", "its run waits for its turn: 1 of at most 1 runs of the project are at work")
    with registry.writing() as session:
        session.execute(insert(ProjectPolicy).values(project_id=42, owner="ann", max_active_runs=2, updated_at=AT))
    code, text = why()
    assert (code, "`plms serve`" in text, "`plms run dispatch`" in text) == ("dispatcher", True, True)
    assert why(max_runs=1)[0] == "executor_full"
    with registry.writing() as session:
        session.execute(
            update(OutboxEvent).values(attempts=1, due_at=AT + timedelta(seconds=4), last_error="PAS is away")
        )
    assert why() == ("retry", "the executor did not take its run, next try in 4 s: PAS is away")


def test_the_queue_of_what_does_not_exist_is_404_over_http(settings: Settings, sqlite_registry: Registry) -> None:
    """An empty list said that nothing waits there."""
    waiting_run(sqlite_registry)
    api = world(settings, sqlite_registry, FrozenClock(AT))
    for asked, code in (
        ("lane_id=9", "lane_not_found"), ("project_id=4711", "project_not_found"), ("run_id=ru", "run_not_found")
    ):  # fmt: skip
        answer = ask(api.app, "GET", f"/api/portfolio/queue?{asked}", headers=api.headers("viewer"))
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    known = ask(
        api.app, "GET", "/api/portfolio/queue?lane_id=4200&project_id=42&run_id=run", headers=api.headers("viewer")
    )
    assert [one["task_id"] for one in known.json()] == ["b", "c"]


def test_the_first_line_of_the_queue_counts_what_was_asked_for(
    settings: Settings, sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counted everything, above the list of one project."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    waiting_run(sqlite_registry)
    assert main(["queue", "--lane", "5100"]) == 0
    assert capsys.readouterr().out == "lane 5100: running 0, waiting 0; 5100 0/2\n"
    assert main(["queue", "--project", "42"]) == 0
    assert capsys.readouterr().out.startswith("project 42: running 1, waiting 2; 4200 1/4 +2\n4200  project 42  run")
    assert main(["queue", "--lane", "5100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["asked"], told["total_queued"], told["waiting"]) == (
        {"lane": 5100, "project": None, "run": None, "running": 0, "waiting": 0}, 2, [],
    )  # fmt: skip
    assert main(["queue", "--lane", "99999999999"]) == 2


@pytest.mark.parametrize("asked", [{"lane_id": 9}, {"project_id": 4711}, {"run_id": "ru"}])
def test_the_queue_of_what_does_not_exist_is_not_empty_but_refused(
    sqlite_registry: Registry, asked: dict[str, Any]
) -> None:
    """A mistyped number looked like a queue in which nothing waits."""
    waiting_run(sqlite_registry)
    require_known(sqlite_registry, lane_id=4200, project_id=42, run_id="run")
    with pytest.raises(NotFound, match=rf"{str(*asked.values())}.*`plms"):
        require_known(sqlite_registry, **asked)
