"""Is a long task put aside for somebody who has waited too long, once, and does everything come back whoever dies meanwhile?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from plms_pipeline.clock import FrozenClock
from plms_pipeline.portfolio.actions.scheduling import DispatchPolicy
from plms_pipeline.portfolio.actions.status import queue_of
from plms_pipeline.portfolio.store import queue, switches
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Hold,
    JobCard,
    LedgerEntry,
    OutboxEvent,
    Preemption,
    Project,
    ProjectRun,
    QueuedCard,
    Slot,
)
from plms_pipeline.runs.actions.dispatch import DispatchResult, dispatch_due
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.stopping import store as stopping
from plms_pipeline.runs.stopping.store import Stop
from plms_pipeline.settings import Settings
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.test_scheduling import SPEND, Dies, Portfolio
from plms_pipeline_tests.runs.worlds import AT, planned_project

MAY = DispatchPolicy(may_preempt=True)
# Tasks alternate between the lanes: those with an even number are of lane 4200.
LONG = {f"long{n}": () for n in range(12)}
SHORT = {f"short{n}": () for n in range(4)}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


class Lane:
    """Lane 4200 with two slots, both taken by project 1 for ever, and project 2, which came a moment later."""

    def __init__(self, portfolio: Portfolio) -> None:
        self.portfolio, self.registry = portfolio, portfolio.registry
        portfolio.cap(4200, 2)
        portfolio.cap(4202, 0)
        self.first = portfolio.start(planned_project(self.registry, project_id=1, tasks=LONG, forecast=SPEND))
        self.tick()
        portfolio.later(1)
        self.second = portfolio.start(planned_project(self.registry, project_id=2, tasks=SHORT, forecast=SPEND))
        self.tick()

    def tick(self, pas: Any = None, holder: str = "here", policy: DispatchPolicy = MAY, **how: Any) -> DispatchResult:
        one = self.portfolio
        return dispatch_due(
            one.registry, clock=one.clock, pas=pas or one.pas, holder=holder, data_dir=one.data_dir, sweeps=False,
            policy=policy, **how,
        )  # fmt: skip

    def over_there(self) -> dict[str, str]:
        """Task → what the executor does with it."""
        found = {}
        for run_id in (self.first, self.second):
            status = self.portfolio.pas.run_status(run_id)
            found.update({task.task_id: task.status for task in status.tasks})
        return found

    def held(self) -> list[str]:
        """Tasks that hold a slot."""
        with self.registry.reading() as session:
            rows = select(JobCard.task_id).join(Slot, Slot.subject == JobCard.card_key).where(Slot.state != "RELEASED")
            return sorted(session.scalars(rows))

    def aside(self) -> list[tuple[str, str]]:
        """(task, state) of everything that was ever put aside."""
        with self.registry.reading() as session:
            rows = select(JobCard.task_id, Preemption.state).join(Preemption, Preemption.card_key == JobCard.card_key)
            return [(task, state) for task, state in session.execute(rows.order_by(Preemption.asked_at))]

    def most_held(self) -> int:
        """The most slots that were held at one moment, from the log."""
        with self.registry.reading() as session:
            log = session.execute(select(Slot.taken_at, Slot.released_at)).all()
        steps = sorted([(at, 1) for at, _ in log] + [(at, -1) for _, at in log if at is not None])
        level = most = 0
        for _, step in steps:
            level += step
            most = max(most, level)
        return most


@pytest.fixture
def lane(registry: Registry, executor: ReferencePas) -> Iterator[Lane]:
    with executor.client() as pas:
        found = Lane(Portfolio(registry, pas, str(executor.data_dir)))
        yield found
        # The executor is shared, and has places of its own.
        for run_id in (found.first, found.second):
            pas.terminate(run_id, "the test is over")


def test_a_long_task_is_paused_its_slot_passes_on_and_it_goes_on_later(lane: Lane) -> None:
    """Two endless tasks held a lane, and whoever came a second later waited for ever."""
    assert lane.held() == ["long0", "long2"]
    lane.portfolio.later(300)
    assert lane.tick().paused == 0  # patience: two tasks' time
    lane.portfolio.later(400)
    done = lane.tick()
    assert (done.paused, done.submitted) == (1, 1)
    [(task, state)] = lane.aside()
    assert state == "paused"
    assert lane.over_there()[task] == "paused"
    assert lane.held() == sorted({"long0", "long2", "short0"} - {task})
    [why] = [one for one in queue_of(lane.registry, clock=lane.portfolio.clock) if one.task.task_id == task]
    assert (why.reason.code, why.place) == ("preempted", 1)
    assert "project 2" in why.reason.text

    # What was begun goes on before what was not: its project's next slot is its own.
    for name in ("short0", "short2"):
        lane.portfolio.later(10)
        lane.portfolio.end(lane.second, name)
        lane.tick()
    assert lane.aside() == [(task, "over")]
    assert lane.held() == ["long0", "long2"]
    assert lane.over_there()[task] == "running"
    assert lane.most_held() == 2
    lane.portfolio.later(10)
    lane.portfolio.end(lane.first, task)
    with lane.registry.reading() as session:
        kinds = session.scalars(
            select(LedgerEntry.kind)
            .join(JobCard, JobCard.card_key == LedgerEntry.subject)
            .where(JobCard.task_id == task)
            .order_by(LedgerEntry.id)
        ).all()
    assert kinds == ["reserve", "settle", "release"]  # what it did not need of its one reservation is free


def test_without_an_executor_that_can_or_a_will_nothing_is_paused(lane: Lane) -> None:
    """An executor without `pause_task` would refuse each time, and a slot is passed on only when its task stands still."""
    lane.portfolio.later(2000)
    assert lane.tick(policy=DispatchPolicy()).paused == 0
    assert lane.aside() == []


@pytest.mark.parametrize(("capabilities", "wanted", "may"), [
    (("pause_task",), "on", True), (("cancel_card",), "on", False), (("pause_task",), "off", False), (None, "on", False),
])  # fmt: skip
def test_the_executor_is_asked_whether_it_can(
    registry: Registry, settings: Settings, clock: FrozenClock, capabilities: tuple[str, ...] | None, wanted: str, may: bool
) -> None:  # fmt: skip
    """Once a minute, not once a tick; one that does not answer cannot."""
    from plms_pipeline.errors import Unavailable

    class Executor:
        asked = 0

        def health(self) -> Any:
            self.asked += 1
            if capabilities is None:
                raise Unavailable("away")
            return type("Health", (), {"capabilities": capabilities})()

    pas = Executor()
    dispatcher = Dispatcher(settings.model_copy(update={"lane_preemption": wanted}), registry, clock, lambda: pas)  # type: ignore[arg-type,return-value]
    assert [dispatcher.policy().may_preempt for _ in range(3)] == [may] * 3
    assert pas.asked == (wanted == "on")


class Hooked:
    """The executor, and something that happens around one of its calls."""

    takes_whole_runs = False

    def __init__(self, real: Any, name: str, around: Callable[[Callable[[], Any]], Any]) -> None:
        self._real, self._name, self._around = real, name, around

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._real, name)
        if name != self._name:
            return call
        return lambda *given: self._around(lambda: call(*given))


def dies_before(_call: Callable[[], Any]) -> Any:
    raise Dies


def dies_after(call: Callable[[], Any]) -> Any:
    call()
    raise Dies


@pytest.mark.parametrize("around", [dies_before, dies_after])
def test_who_dies_between_pause_and_hand_over_leaves_it_to_the_next(
    lane: Lane, around: Callable[[Callable[[], Any]], Any]
) -> None:
    """A slot that was passed on before the task stood still would be two tasks in one; one never passed on, a lost slot."""
    lane.portfolio.later(700)
    with pytest.raises(Dies):
        lane.tick(Hooked(lane.portfolio.pas, "pause_task", around), "victim")
    assert lane.held() == ["long0", "long2"]
    [(task, state)] = lane.aside()
    assert state == "asked"
    assert lane.tick(holder="survivor").paused == 0  # the dead one's lease
    assert len(lane.aside()) == 1  # nobody else is put aside meanwhile
    lane.portfolio.later(61)
    done = lane.tick(holder="survivor")
    assert (done.paused, done.submitted) == (1, 1)
    assert lane.over_there()[task] == "paused"
    assert lane.held() == sorted({"long0", "long2", "short0"} - {task})
    assert lane.most_held() == 2


@pytest.mark.parametrize("around", [dies_before, dies_after])
def test_who_dies_while_a_task_is_let_go_on_leaves_it_its_slot(
    lane: Lane, around: Callable[[Callable[[], Any]], Any]
) -> None:
    """It may be at work: the slot that it took for that counts, and it is told again in it."""
    lane.portfolio.later(700)
    lane.tick()
    [(task, _)] = lane.aside()
    for name in ("short0", "short2"):
        lane.portfolio.later(10)
        lane.portfolio.end(lane.second, name)
        if name == "short0":
            lane.tick()
    with pytest.raises(Dies):
        lane.tick(Hooked(lane.portfolio.pas, "resume_task", around), "victim")
    assert lane.aside() == [(task, "resuming")]
    assert task in lane.held()
    lane.portfolio.later(61)
    assert lane.tick(holder="survivor").resumed == 1
    assert lane.aside() == [(task, "over")]
    assert lane.over_there()[task] == "running"
    assert lane.most_held() == 2
    assert lane.portfolio.value(func.count(QueuedCard.card_key), QueuedCard.is_paused.is_(True)) == 0


def test_a_known_death_is_not_waited_for(lane: Lane) -> None:
    """Its lease would keep a lane's only waiting task for a minute."""
    lane.portfolio.later(700)
    with pytest.raises(Dies):
        lane.tick(Hooked(lane.portfolio.pas, "pause_task", dies_after), "victim")
    assert lane.tick(holder="survivor", is_dead=lambda holder: holder == "victim").paused == 1


def test_a_task_that_ends_while_it_is_paused_gives_everything_back_once(lane: Lane) -> None:
    """Its end may be on its way while it is asked to stand still: then nothing is passed on twice, and nothing waits."""

    def ends(call: Callable[[], Any]) -> Any:
        answer = call()
        with lane.registry.reading() as session:
            card = session.execute(
                select(JobCard.run_id, JobCard.task_id).join(Preemption, Preemption.card_key == JobCard.card_key)
            ).one()
        lane.portfolio.end(card.run_id, card.task_id)
        return answer

    lane.portfolio.later(700)
    lane.tick(Hooked(lane.portfolio.pas, "pause_task", ends))
    [(task, state)] = lane.aside()
    assert state == "over"
    with lane.registry.reading() as session:
        queued = select(QueuedCard.card_key).join(JobCard, JobCard.card_key == QueuedCard.card_key)
        assert session.scalars(queued.where(JobCard.task_id == task)).all() == []
        assert queue.length(session) == len(LONG) + len(SHORT) - 3  # two long ones and a short one went out
    assert len(lane.held()) == 2
    assert lane.most_held() == 2


def test_what_ended_over_there_before_it_could_be_paused_keeps_its_slot_until_that_is_settled(lane: Lane) -> None:
    """The executor's word is no event: the settlement gives back the slot, with the money."""
    lane.portfolio.later(700)
    for task in ("long0", "long2"):
        lane.portfolio.pas.cancel_card(lane.first, task, 1)
    assert lane.tick().paused == 0
    assert [state for _, state in lane.aside()] == ["over", "over"]
    assert lane.held() == ["long0", "long2"]


def test_what_ends_while_it_is_put_aside_is_forgotten(lane: Lane) -> None:
    """A run that is called off ends its paused tasks too; a row that stays would let a task go on that is no more."""
    lane.portfolio.later(700)
    lane.tick()
    [(task, _)] = lane.aside()
    lane.portfolio.end(lane.first, task)
    assert lane.aside() == [(task, "over")]
    lane.portfolio.later(10)
    lane.portfolio.end(lane.second, "short0")
    lane.tick()
    assert task not in lane.held()


def test_a_lost_row_of_the_queue_is_found_by_the_sweep(lane: Lane) -> None:
    """The queue is derived: a paused task that nobody queues would stand still for ever."""
    lane.portfolio.later(700)
    lane.tick()
    [(task, _)] = lane.aside()
    with lane.registry.writing() as session:
        queue.leave(session, session.scalars(select(QueuedCard.card_key).where(QueuedCard.is_paused.is_(True))).all())
    lane.portfolio.tick(sweeps=True)
    found = lane.portfolio.value(
        JobCard.task_id, JobCard.card_key == QueuedCard.card_key, QueuedCard.is_paused.is_(True)
    )
    assert found == task


def test_nobody_is_interrupted_for_who_cannot_pay(registry: Registry, executor: ReferencePas) -> None:
    """The slot would be free, the next card refused, and work would have stopped for nothing."""
    with executor.client() as pas:
        portfolio = Portfolio(registry, pas, str(executor.data_dir))
        portfolio.cap(4200, 2)
        portfolio.cap(4202, 0)
        portfolio.start(planned_project(registry, project_id=1, tasks=LONG, forecast=SPEND))
        portfolio.tick()
        portfolio.later(1)
        poor = planned_project(registry, project_id=2, tasks=SHORT, forecast=SPEND)
        portfolio.start(poor)
        with registry.writing() as session:
            session.execute(update(Project).where(Project.id == poor).values(budget_cost_usd_max=Decimal("0.5")))
        for _ in range(3):
            portfolio.later(700)
            dispatch_due(
                registry, clock=portfolio.clock, pas=pas, holder="here", data_dir=portfolio.data_dir, policy=MAY
            )
        assert portfolio.value(func.count(Preemption.card_key)) == 0


@pytest.mark.live
def test_it_never_thrashes(lane: Lane) -> None:
    """Each pause costs the executor something: once per task, one at a time, never more than the lane has slots."""
    third = lane.portfolio.start(planned_project(lane.registry, project_id=3, tasks=LONG, forecast=SPEND))
    pauses = 0
    for step in range(60):
        lane.portfolio.later(400)
        pauses += lane.tick().paused
        if step % 7 == 0 and (running := lane.portfolio.running()):
            held = set(lane.held())
            run_id, task = next((one for one in running if one[1] in held), running[0])
            lane.portfolio.end(run_id, task)
        with lane.registry.reading() as session:
            still = session.scalar(select(func.count()).select_from(Preemption).where(Preemption.state != "over")) or 0
        assert still <= 2
        assert len(lane.held()) <= 2
    assert third
    assert 1 <= pauses <= len(LONG)
    assert lane.most_held() == 2


def test_a_switch_that_goes_off_wakes_nobody_without_a_slot(lane: Lane) -> None:
    """What the switch paused is resumed in its slots; what was put aside has none, and would be one too many."""
    lane.portfolio.later(700)
    lane.tick()
    [(task, _)] = lane.aside()
    stop = Stop(1, "lane", "4200", "fire", AT)
    with lane.registry.writing() as session:
        switches.turn_on(session, scope="lane", subject="4200", reason="fire", actor="ann", now=AT)
        assert stopping.ask_pauses(session, stop, now=lane.portfolio.now) == 2
        _, cards = stopping.ask_resumes(session, now=lane.portfolio.now, actor="ann", stopped=(), ids=lambda: "x")
        assert cards == 2
        asked = session.scalars(
            select(JobCard.task_id)
            .join(OutboxEvent, OutboxEvent.subject_id == JobCard.card_key)
            .where(OutboxEvent.kind == stopping.RESUME_TASK)
        ).all()
    assert task not in asked


def test_a_run_that_was_paused_by_a_person_is_not_let_go_on(lane: Lane) -> None:
    """A hold is a person's word: the paused task of a held run takes no slot."""
    lane.portfolio.later(700)
    lane.tick()
    [(task, _)] = lane.aside()
    with lane.registry.writing() as session:
        session.execute(
            insert(Hold).values(
                subject_type="run", subject_id=lane.first, reason="lunch", placed_by="ann", placed_at=AT
            )
        )
    for name in ("short0", "short2"):
        lane.portfolio.later(10)
        lane.portfolio.end(lane.second, name)
        lane.tick()
    assert task not in lane.held()
    assert lane.portfolio.value(ProjectRun.status, ProjectRun.run_id == lane.first) == "RUNNING"
