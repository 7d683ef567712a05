"""What a breach policy does: within one look, once per episode, and undone only by a person or a raised budget."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    BreachEpisode,
    Decision,
    Hold,
    OutboxEvent,
    Project,
    ProjectRun,
    RunTask,
    RunwaySnapshot,
)
from plms_pipeline.runs.actions import project_life
from plms_pipeline.runs.actions.breach import answer_breach, apply_breach_policies, breaches
from plms_pipeline.runs.actions.budget_check import check_budgets, runway_history
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch

ANN = Actor("ann", is_verified=True)


class Desk(Shelf):
    """A project of 42 with four tasks of 0.25 left each, its watch and its ids."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.watch, self._ids = Watch(AT + timedelta(minutes=6)), count(1)

    def ids(self) -> str:
        return f"id-{next(self._ids)}"

    def breached(self, policy: str, *, budget: str = "0.6") -> str:
        """One receipt of 0.20 and four tasks left, some 0.9 more: far over the budget."""
        run_id = self.project(42, tokens=[1], budget_cost_usd_max=Decimal(budget), breach_policy=policy)
        with self.registry.writing() as session:
            for place in range(4):
                session.execute(
                    insert(RunTask).values(
                        run_id=run_id, task_id=f"left{place}", lane_id=4200, provider="m", status="QUEUED", queued_at=AT
                    )
                )
        return run_id

    def look(self, **passed: float) -> list[str]:
        self.watch.passes(**passed or {"seconds": 60})
        done = check_budgets(self.registry, clock=self.watch, ids=self.ids, every_s=60)
        return [one.what for one in done.acted]

    def budget(self, usd: str) -> None:
        with self.registry.writing() as session:
            session.execute(update(Project).where(Project.id == 42).values(budget_cost_usd_max=Decimal(usd)))

    def holds(self) -> list[str]:
        with self.registry.reading() as session:
            return list(session.scalars(select(Hold.placed_by).where(Hold.lifted_at.is_(None))))

    def asked(self) -> list[str]:
        with self.registry.reading() as session:
            return list(session.scalars(select(OutboxEvent.kind).order_by(OutboxEvent.id)))

    def decided(self) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.execute(select(Decision.actor, Decision.decision).order_by(Decision.id))
            return [(actor, decision) for actor, decision in rows]

    def rows(self, table: Any) -> int:
        with self.registry.reading() as session:
            return int(session.scalar(select(func.count()).select_from(table)) or 0)


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


@pytest.mark.parametrize("policy", ["pause", "ask"])
def test_a_breach_holds_the_project_within_one_look_and_once(desk: Desk, policy: str) -> None:
    """A policy that acts at every look undoes what a person decided; one that never acts is what the sources had."""
    desk.breached(policy)
    assert desk.look() == [policy]
    assert desk.holds() == ["system:breach_policy"]
    assert desk.asked() == ["pause_run"]
    assert desk.decided() == [("system:breach_policy", policy)]
    assert desk.look() == []
    assert (desk.rows(BreachEpisode), desk.rows(Hold)) == (1, 1)
    (found,) = breaches(desk.registry)
    assert (found.policy, found.answer, found.seen["spent_usd"]) == (policy, None, 0.2)


def test_kill_calls_off_the_runs_and_holds_what_would_start_anew(desk: Desk) -> None:
    """Otherwise the next start spends what the last one was stopped for."""
    run_id = desk.breached("kill")
    assert desk.look() == ["kill"]
    assert desk.asked() == ["terminate_run"]
    assert desk.holds() == ["system:breach_policy"]
    with desk.registry.reading() as session:
        assert session.scalar(select(OutboxEvent.subject_id)) == run_id


def test_what_lies_within_a_quarter_is_left_alone(desk: Desk) -> None:
    """20 % is an alert; the policy acts above 25 %."""
    desk.breached("pause", budget="1.0")
    assert desk.look() == []
    assert (desk.holds(), desk.rows(BreachEpisode)) == ([], 0)


def test_a_person_who_lets_it_go_on_is_not_overruled_in_the_same_episode(desk: Desk) -> None:
    """He has seen the forecast; pausing again every minute would be a fight between a person and a timer."""
    desk.breached("pause")
    desk.look()
    project_life.resume_project(desk.registry, 42, clock=desk.watch, ids=desk.ids, actor=ANN)
    assert [desk.look() for _ in range(3)] == [[], [], []]
    assert desk.holds() == []


def test_a_budget_that_is_raised_enough_lets_it_go_on(desk: Desk) -> None:
    """Whoever raised the budget has decided; nobody should have to find the second switch."""
    desk.breached("pause")
    desk.look()
    desk.budget("0.7")
    assert desk.look() == []
    assert desk.holds() != []
    desk.budget("3")
    assert desk.look() == ["resumed"]
    assert (desk.holds(), desk.asked()) == ([], ["pause_run", "resume_run"])
    assert breaches(desk.registry) == []
    desk.budget("0.6")
    assert desk.look() == ["pause"]
    assert desk.rows(BreachEpisode) == 2


def test_a_pause_of_a_person_outlives_the_one_of_the_policy(desk: Desk) -> None:
    """Raising a budget is no answer to whoever paused the project for another reason."""
    desk.breached("pause")
    desk.look()
    with desk.registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="project", subject_id="42", reason="x", placed_by="ann", placed_at=AT)
        )
    desk.budget("3")
    assert desk.look() == ["resumed"]
    assert desk.holds() == ["ann"]
    assert desk.asked() == ["pause_run"]


def test_a_forecast_that_falls_ends_the_episode_and_lifts_nothing(desk: Desk) -> None:
    """A project must not let itself go on by forecasting less."""
    run_id = desk.breached("pause")
    desk.look()
    with desk.registry.writing() as session:
        session.execute(
            update(RunTask).where(RunTask.run_id == run_id, RunTask.status == "QUEUED").values(status="SKIPPED")
        )
    assert desk.look() == ["over"]
    assert desk.holds() == ["system:breach_policy"]


def test_a_value_that_dances_on_the_limit_makes_one_episode(desk: Desk) -> None:
    """Between 20 and 25 % nothing begins and nothing ends."""
    desk.breached("pause")
    desk.look()
    for usd in ("1.0", "0.95", "1.0", "0.95"):
        desk.budget(usd)
        desk.look()
    assert desk.rows(BreachEpisode) == 1


def test_a_breach_that_asks_is_answered_once_with_a_reason(desk: Desk) -> None:
    """The decision is a row with a name, like every other that lets money be spent."""
    desk.breached("ask")
    desk.look()
    given: dict[str, Any] = {"clock": desk.watch, "ids": desk.ids, "actor": ANN}
    answer_breach(desk.registry, 42, answer="go_on", reason="the customer pays", **given)
    assert (desk.holds(), desk.asked()) == ([], ["pause_run", "resume_run"])
    assert desk.decided()[-1] == ("ann", "go_on")
    with pytest.raises(Conflict, match="has decided"):
        answer_breach(desk.registry, 42, answer="stop", reason="no", **given)
    assert desk.look() == []
    with pytest.raises(NotFound):
        answer_breach(desk.registry, 7777, answer="stop", reason="no", **given)


def test_a_breach_that_asks_is_not_resumed_past_whoever_is_asked(desk: Desk) -> None:
    """Who may only start projects would answer what an approver is asked; with another policy he resumes as he always did."""
    desk.breached("ask")
    desk.look()
    given: dict[str, Any] = {"clock": desk.watch, "ids": desk.ids, "actor": ANN}
    with pytest.raises(Conflict, match="plms budget answer 42"):
        project_life.resume_project(desk.registry, 42, **given)
    assert desk.holds() == ["system:breach_policy"]
    (found,) = breaches(desk.registry)
    low, high = found.seen["final_90"]
    assert low < found.seen["final_usd"] < high
    with pytest.raises(Conflict, match="another breach"):
        answer_breach(desk.registry, 42, answer="go_on", reason="x", episode_id="an old one", **given)
    answer_breach(desk.registry, 42, answer="go_on", reason="x", episode_id=found.episode_id, **given)
    project_life.pause_project(desk.registry, 42, reason="lunch", **given)
    assert project_life.resume_project(desk.registry, 42, **given).is_new


def test_stopping_a_breach_calls_off_its_runs(desk: Desk) -> None:
    """The other answer."""
    desk.breached("ask")
    desk.look()
    answer_breach(desk.registry, 42, answer="stop", clock=desk.watch, ids=desk.ids, actor=ANN, reason="too much")
    assert desk.asked() == ["pause_run", "terminate_run"]


def test_the_history_takes_what_changed_and_each_project_when_it_is_due(desk: Desk) -> None:
    """One row a minute for what rests would bury what moved."""
    run_id = desk.breached("pause", budget="9")
    with pytest.raises(NotFound):
        runway_history(desk.registry, 7)
    desk.look()
    assert desk.rows(RunwaySnapshot) == 1
    desk.look(seconds=5)
    assert desk.rows(RunwaySnapshot) == 1
    desk.look()
    (first, second) = runway_history(desk.registry, 42)["history"]
    assert first["burn_usd_per_min"] > second["burn_usd_per_min"]
    assert (second["spent_usd"], second["budget_usd"], second["tasks_left"], second["status"]) == (0.2, 9.0, 4, "ok")
    with desk.registry.writing() as session:
        session.execute(update(RunTask).where(RunTask.status == "QUEUED").values(status="SKIPPED"))
        session.execute(
            update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="FAIL", completed_at=desk.watch.now())
        )
    for _ in range(12):
        desk.look()
    # Once within the next ten minutes, and then nothing has changed any more.
    assert desk.rows(RunwaySnapshot) == 3


def test_two_processes_that_look_at_once_act_once(desk: Desk) -> None:
    """Replicas share the registry, not their memory."""
    desk.breached("pause")
    given: dict[str, Any] = {"clock": desk.watch, "ids": desk.ids}
    first = apply_breach_policies(desk.registry, **given)
    assert [one.what for one in first] == ["pause"]
    assert apply_breach_policies(desk.registry, **given) == []
