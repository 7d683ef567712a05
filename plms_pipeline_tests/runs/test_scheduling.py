"""Do caps, shares and budgets hold when real cards go to a real executor, and does everything come back?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, update

from plms_pipeline.budget import store as ledger
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict
from plms_pipeline.pas.client import PasClient
from plms_pipeline.pas.protocol import TaskReceiptMessage
from plms_pipeline.portfolio.actions.scheduling import lanes_to_look_at
from plms_pipeline.portfolio.store import queue, slots
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Hold,
    InboxEvent,
    JobCard,
    KillSwitch,
    Lane,
    LedgerEntry,
    Project,
    ProjectPolicy,
    ProjectRun,
    QueuedCard,
    RunTask,
    Slot,
)
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.dispatch import DispatchResult, dispatch_due
from plms_pipeline.runs.actions.queueing import ended, queue_ready
from plms_pipeline.runs.actions.reconcile import reconcile_runs, resolve_suspects
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.store.transitions import move_task
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.pas.server import NOWHERE, ReferencePas, reference_pas
from plms_pipeline_tests.runs.worlds import AT, OWNER, WORLD, planned_project

WIDE = {f"t{n}": () for n in range(12)}
SETTINGS = load_settings({"PLMS_DATA_DIR": "/nowhere", "PLMS_REPORTS_DIR": "/nowhere"})


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; slow enough that nothing ends while a test looks."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


class Portfolio:
    """A registry with a clock that the test moves, an executor, and tasks that end when the test says so."""

    def __init__(self, registry: Registry, pas: Any, data_dir: str) -> None:
        self.registry, self.pas, self.data_dir, self.now = registry, pas, data_dir, AT

    @property
    def clock(self) -> Clock:
        return _Moved(self)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def cap(self, lane_id: int, cap: int) -> None:
        with self.registry.writing() as session:
            session.execute(update(Lane).where(Lane.lane_id == lane_id).values(cap=cap))

    def start(self, project_id: int) -> str:
        return start_run(
            self.registry, clock=self.clock, ids=lambda: str(uuid4()), actor=OWNER,
            request=StartRequest(project_id, str(uuid4())), world=WORLD, stopped=None,
        ).run_id  # fmt: skip

    def tick(self, holder: str = "here", pas: Any = None, *, sweeps: bool = False) -> DispatchResult:
        return dispatch_due(
            self.registry, clock=self.clock, pas=pas or self.pas, holder=holder, data_dir=self.data_dir, sweeps=sweeps
        )

    def out(self) -> Counter[int]:
        """Lane → cards at the executor."""
        with self.registry.reading() as session:
            return Counter(session.scalars(select(JobCard.lane_id).where(JobCard.state == "SUBMITTED")))

    def open_slots(self) -> dict[str, int]:
        with self.registry.reading() as session:
            return slots.open_counts(session)

    def end(self, run_id: str, task_id: str, *, cost: str | None = "0.5") -> None:
        """As a settlement would: the task succeeded and took so much."""
        with self.registry.writing() as session:
            key, lane, project = session.execute(
                select(JobCard.card_key, JobCard.lane_id, ProjectRun.project_id)
                .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
                .where(JobCard.run_id == run_id, JobCard.task_id == task_id)
            ).one()
            session.execute(update(JobCard).where(JobCard.card_key == key).values(state="ENDED", ended_at=self.now))
            move_task(session, run_id, task_id, expected="RUNNING", new="SUCCESS", at=self.now, actor="test")
            ended(
                session, key, lane, project, run_id, cost_usd=None if cost is None else Decimal(cost),
                has_receipt=cost is not None, now=self.now, reason="ended",
            )  # fmt: skip
            queue_ready(session, {run_id}, now=self.now)

    def running(self) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.execute(
                select(RunTask.run_id, RunTask.task_id).where(RunTask.status == "RUNNING").order_by(RunTask.id)
            )
            return [(run_id, task_id) for run_id, task_id in rows]

    def value(self, column: Any, *where: Any) -> Any:
        with self.registry.reading() as session:
            return session.scalar(select(column).where(*where))


class _Moved:
    """The clock on the wall: who looks later sees a later time, also within one call."""

    def __init__(self, portfolio: Portfolio) -> None:
        self._portfolio = portfolio

    def now(self) -> datetime:
        return self._portfolio.now


@pytest.fixture
def portfolio(registry: Registry, executor: ReferencePas) -> Iterator[Portfolio]:
    with executor.client() as pas:
        yield Portfolio(registry, pas, str(executor.data_dir))


def test_no_lane_passes_its_cap_and_each_end_lets_one_go(portfolio: Portfolio) -> None:
    """The executor's own limits are somebody else's: ours is the only one that holds for all."""
    portfolio.cap(4200, 3)
    portfolio.cap(4202, 2)
    run_id = portfolio.start(planned_project(portfolio.registry, tasks=WIDE))
    portfolio.tick()
    assert portfolio.out() == {4200: 3, 4202: 2}
    assert portfolio.open_slots() == {"lane:4200": 3, "lane:4202": 2}
    assert portfolio.tick().submitted == 0
    portfolio.later(1)
    portfolio.end(run_id, "t0")
    assert portfolio.out()[4200] == 2
    assert portfolio.tick().submitted == 1
    assert portfolio.out() == {4200: 3, 4202: 2}


def test_what_becomes_ready_is_queued_by_whoever_made_it_ready(portfolio: Portfolio) -> None:
    """Event-driven: the next task goes out at once, not when somebody next looks at every card there is."""
    run_id = portfolio.start(planned_project(portfolio.registry))
    assert portfolio.tick().submitted == 1
    portfolio.end(run_id, "a")
    assert portfolio.value(func.count(QueuedCard.card_key)) == 2
    assert portfolio.tick().submitted == 2


def test_what_nobody_queued_is_found_by_the_sweep(portfolio: Portfolio) -> None:
    """The queue is derived; a lost row of it must not be a lost task."""
    run_id = portfolio.start(planned_project(portfolio.registry))
    portfolio.tick()
    portfolio.end(run_id, "a")
    with portfolio.registry.writing() as session:
        queue.leave(session, session.scalars(select(QueuedCard.card_key)).all())
    assert portfolio.tick().submitted == 0
    assert portfolio.tick(sweeps=True).submitted == 2


def test_a_lane_of_which_everything_is_on_hold_is_left_alone(portfolio: Portfolio) -> None:
    """Every dispatcher held a round in it at every tick, and wrote down each time that nobody went."""
    portfolio.cap(4202, 0)
    run_id = portfolio.start(planned_project(portfolio.registry, tasks=WIDE))
    portfolio.cap(4200, 1)
    portfolio.tick()
    portfolio.cap(4200, 2)
    assert lanes_to_look_at(portfolio.registry, now=portfolio.now) == [4200]
    with portfolio.registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="run", subject_id=run_id, reason="r", placed_by="t", placed_at=AT)
        )
    assert lanes_to_look_at(portfolio.registry, now=portfolio.now) == []


def test_several_projects_share_a_lane_from_the_first_round(portfolio: Portfolio) -> None:
    """First come, first served would give the first project every slot."""
    portfolio.cap(4200, 4)
    portfolio.cap(4202, 0)
    for project in (1, 2, 3, 4):
        portfolio.start(planned_project(portfolio.registry, project_id=project, tasks=WIDE))
    portfolio.tick()
    with portfolio.registry.reading() as session:
        held = Counter(session.scalars(select(Slot.project_id)))
    assert held == {1: 1, 2: 1, 3: 1, 4: 1}


@pytest.mark.live
def test_many_dispatchers_and_ends_never_pass_a_cap(portfolio: Portfolio, executor: ReferencePas) -> None:
    """Four processes dispatch while a fifth settles: at no moment of the log are more slots held than the cap."""
    portfolio.cap(4200, 3)
    portfolio.cap(4202, 2)
    for project in range(1, 5):
        portfolio.start(planned_project(portfolio.registry, project_id=project, tasks=WIDE))
    clients = [executor.client() for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(12):
            portfolio.tick(f"h{number}", clients[number])

    def settle() -> None:
        for _ in range(40):
            for run_id, task_id in portfolio.running()[:2]:
                portfolio.later(1)
                portfolio.end(run_id, task_id)

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(work, number) for number in range(4)] + [pool.submit(settle)]
        for job in jobs:
            job.result()
    for client in clients:
        client.close()
    for _ in range(60):
        for run_id, task_id in portfolio.running():
            portfolio.later(1)
            portfolio.end(run_id, task_id)
        if not portfolio.tick(sweeps=True).did_something and not portfolio.running():
            break
    with portfolio.registry.reading() as session:
        assert set(session.scalars(select(JobCard.state))) == {"ENDED"}
        assert set(session.scalars(select(JobCard.submissions))) == {1}
        log = session.execute(select(Slot.resource, Slot.taken_at, Slot.released_at, Slot.slot_id)).all()
        assert queue.length(session) == 0
    assert len(log) == 48
    for resource, cap in (("lane:4200", 3), ("lane:4202", 2)):
        steps = sorted(
            [(released, -1) for name, _, released, _ in log if name == resource]
            + [(taken, 1) for name, taken, _, _ in log if name == resource]
        )
        level = highest = 0
        for _, step in steps:
            level += step
            highest = max(highest, level)
        assert highest <= cap
    assert portfolio.open_slots() == {}


SPEND = {"spend": {"cost_usd": {"median": 1.0, "high": 2.0}}}


def test_nothing_is_admitted_beyond_the_budget(portfolio: Portfolio) -> None:
    """Settled, reserved and new together: what runs counts with its upper end, not with what it has cost so far."""
    portfolio.cap(4202, 4)
    project = planned_project(
        portfolio.registry, tasks=dict.fromkeys("abcd", ()), budget_usd=Decimal(5), forecast=SPEND
    )
    other = planned_project(portfolio.registry, project_id=43, tasks={"x": ()}, forecast=SPEND)
    run_id = portfolio.start(project)
    portfolio.start(other)
    portfolio.tick()
    assert sum(portfolio.out().values()) == 3  # two of the first: 2 + 2 of 5 USD; the other project is not held up
    with portfolio.registry.reading() as session:
        account = ledger.balance(session, "project:42")
        assert account is not None
        assert (account.settled, account.reserved) == (Decimal(0), Decimal(4))
    first, second = (task for run, task in portfolio.running() if run == run_id)
    portfolio.later(1)
    portfolio.end(run_id, first, cost="0.5")
    assert portfolio.tick().submitted == 1
    portfolio.end(run_id, second, cost="2.25")
    with portfolio.registry.reading() as session:
        account = ledger.balance(session, "project:42")
        assert account is not None
        assert (account.settled, account.reserved) == (Decimal("2.75"), Decimal(2))
        overruns = session.scalars(select(LedgerEntry.amount_usd).where(LedgerEntry.kind == "overrun")).all()
        assert overruns == [Decimal("0.25")]
    assert portfolio.tick().submitted == 0  # 2.75 + 2 + 2 > 5


def test_an_executor_that_is_away_keeps_no_slot_of_what_it_never_heard_of(portfolio: Portfolio) -> None:
    """Nobody listens at that port: the card cannot be there, so its place and its money are free."""
    portfolio.start(planned_project(portfolio.registry, tasks=WIDE, forecast=SPEND))
    portfolio.tick()
    before = portfolio.open_slots()
    run_id, task_id = portfolio.running()[0]
    portfolio.end(run_id, task_id)
    with PasClient(NOWHERE, sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0, attempts=1) as nobody:
        assert portfolio.tick(pas=nobody).away is not None
    assert sum(portfolio.open_slots().values()) == sum(before.values()) - 1
    portfolio.later(31)
    assert portfolio.tick().submitted == 1


class Dies(BaseException):
    """The process died here."""


class DyingPas:
    """Takes a card and dies before it can say so."""

    takes_whole_runs = False

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def submit_card(self, card: Any) -> Any:
        self._real.submit_card(card)
        raise Dies


def test_a_card_whose_dispatcher_died_goes_again_in_its_own_slot(portfolio: Portfolio) -> None:
    """Its slot counts, so a full lane would wait for it for ever if it had to win another one."""
    portfolio.cap(4200, 1)
    portfolio.cap(4202, 0)
    portfolio.start(planned_project(portfolio.registry, tasks=WIDE, forecast=SPEND))
    with pytest.raises(Dies):
        portfolio.tick("victim", DyingPas(portfolio.pas))
    assert portfolio.open_slots() == {"lane:4200": 1}
    assert portfolio.tick("survivor").submitted == 0
    portfolio.later(61)
    assert portfolio.tick("survivor").submitted == 1
    assert portfolio.open_slots() == {"lane:4200": 1}
    assert portfolio.out() == {4200: 1}
    assert portfolio.value(func.count(LedgerEntry.id), LedgerEntry.kind == "reserve") == 1


@pytest.mark.parametrize(("scope", "subject"), [("lane", "4200"), ("project", "42"), ("global", "")])
def test_a_switch_stops_its_scope_and_no_other(portfolio: Portfolio, scope: str, subject: str) -> None:
    """A lane's switch must not stop the others, and nothing of its own may pass."""
    for project in (42, 43):
        portfolio.start(planned_project(portfolio.registry, project_id=project, tasks={"a": (), "b": ()}))
    portfolio.tick()
    before = portfolio.out()
    assert before == {4200: 2, 4202: 2}
    for run_id, task_id in portfolio.running():
        portfolio.end(run_id, task_id)
    for project in (42, 43):
        with portfolio.registry.writing() as session:
            session.execute(
                insert(ProjectPolicy).values(project_id=project, owner="o", max_active_runs=9, updated_at=AT)
            )
        portfolio.start(project)
    with portfolio.registry.writing() as session:
        session.execute(
            insert(KillSwitch).values(scope=scope, subject=subject, reason="fire", actor="ann", turned_on_at=AT)
        )
    portfolio.tick()
    expected = {"lane": {4202: 2}, "project": {4200: 1, 4202: 1}, "global": {}}[scope]
    assert portfolio.out() == expected


def test_a_refused_card_gives_back_what_it_held(portfolio: Portfolio) -> None:
    """An executor that refuses one card after the other would fill the lane with nothing."""
    with portfolio.registry.writing() as session:
        session.execute(insert(Lane).values(lane_id=7777, name="Unheard-Of", cap=1, description=""))
    planned_project(portfolio.registry, tasks=WIDE, forecast=SPEND)
    portfolio.start(42)
    with portfolio.registry.writing() as session:
        session.execute(update(JobCard).values(lane_id=7777))
    for _ in range(12):
        portfolio.tick()
    assert portfolio.value(func.count(RunTask.id), RunTask.status == "FAIL") == 12
    assert portfolio.open_slots() == {}
    with portfolio.registry.reading() as session:
        account = ledger.balance(session, "project:42")
        assert account is not None
        assert account.reserved == 0


def test_a_card_that_the_executor_lost_waits_for_a_slot_again(portfolio: Portfolio) -> None:
    """A card in the books of one who does not have it would hold its slot until somebody looks."""
    portfolio.cap(4200, 1)
    portfolio.cap(4202, 0)
    portfolio.start(planned_project(portfolio.registry, tasks=WIDE))
    portfolio.tick()
    portfolio.later(600)

    class Forgetful:
        def run_status(self, run_id: str) -> Any:
            status = portfolio.pas.run_status(run_id)
            return status.model_copy(update={"tasks": ()})

    result = reconcile_runs(
        portfolio.registry, settings=SETTINGS, clock=portfolio.clock, pas=Forgetful(), elapsed=lambda: 0.0
    )
    assert result.again == 1
    assert portfolio.open_slots() == {}
    assert portfolio.value(func.count(QueuedCard.card_key)) == 12
    assert portfolio.tick().submitted == 1


def test_a_slot_whose_lease_ends_keeps_counting_until_the_executor_is_asked(portfolio: Portfolio) -> None:
    """Time alone proves nothing: what is thought dead may still be working, and then there would be one too many."""
    portfolio.cap(4200, 1)
    portfolio.cap(4202, 0)
    run_id = portfolio.start(planned_project(portfolio.registry, tasks=WIDE))
    portfolio.tick()
    portfolio.later(3600)
    assert resolve_suspects(portfolio.registry, settings=SETTINGS, clock=portfolio.clock, pas=portfolio.pas) == 0
    assert portfolio.open_slots() == {"lane:4200": 1}
    assert portfolio.value(Slot.state) == "HELD"  # it works on it: renewed
    # Called off while it was out; the executor's word about its end was lost.
    cancel_run(portfolio.registry, clock=portfolio.clock, actor=OWNER, run_id=run_id, reason="typo")
    with portfolio.registry.writing() as session:
        session.execute(update(JobCard).where(JobCard.state == "SUBMITTED").values(state="CANCELLED"))
    portfolio.later(3600)

    class Away:
        def run_status(self, _run_id: str) -> Any:
            from plms_pipeline.errors import Unavailable

            raise Unavailable("nobody there")

    assert resolve_suspects(portfolio.registry, settings=SETTINGS, clock=portfolio.clock, pas=Away()) == 0
    assert portfolio.value(Slot.state) == "SUSPECT"
    assert portfolio.open_slots() == {"lane:4200": 1}

    class Gone:
        def run_status(self, _run_id: str) -> Any:
            return None

    # Nobody has told the executor to end the run: who claimed the card and stands still may hand it over yet.
    assert resolve_suspects(portfolio.registry, settings=SETTINGS, clock=portfolio.clock, pas=Gone()) == 0
    assert portfolio.open_slots() == {"lane:4200": 1}
    portfolio.tick()
    assert resolve_suspects(portfolio.registry, settings=SETTINGS, clock=portfolio.clock, pas=Gone()) == 1
    assert portfolio.open_slots() == {}


def test_a_dispatcher_that_stood_still_over_its_claim_does_not_hand_the_card_over(portfolio: Portfolio) -> None:
    """A laptop was closed in the middle: its card was called off and its slot given back, and then it was worked on."""
    portfolio.cap(4200, 1)
    portfolio.cap(4202, 0)
    portfolio.start(planned_project(portfolio.registry, tasks=WIDE))

    def new_id() -> str:
        portfolio.later(3600)
        return str(uuid4())

    told = dispatch_due(
        portfolio.registry, clock=portfolio.clock, pas=portfolio.pas, holder="here", data_dir=portfolio.data_dir, ids=new_id,
        limit=1,
    )  # fmt: skip
    assert told.submitted == 0
    assert portfolio.out() == {}
    assert portfolio.tick().submitted == 1
    assert portfolio.open_slots() == {"lane:4200": 1}


def test_what_a_card_took_that_was_called_off_on_its_way_is_told(portfolio: Portfolio) -> None:
    """A run was cancelled while its card was handed over, and the executor's event got lost: what it spent was in no book."""
    portfolio.cap(4200, 1)
    portfolio.cap(4202, 0)
    run_id = portfolio.start(planned_project(portfolio.registry, tasks={"t0": ()}))
    portfolio.tick()
    with portfolio.registry.writing() as session:
        session.execute(update(JobCard).values(state="CANCELLED"))
    portfolio.later(7200)

    class Ended:
        def run_status(self, _run_id: str) -> Any:
            status = portfolio.pas.run_status(run_id)
            receipt = TaskReceiptMessage(
                task_id="t0", run_id=run_id, attempt=1, lane=status.tasks[0].lane, provider="maker/one", cost_usd=Decimal(1),
                status="succeeded", started_at=AT, completed_at=AT,
            )  # fmt: skip
            told = status.tasks[0].model_copy(update={"status": "succeeded", "receipt": receipt})
            return status.model_copy(update={"tasks": (told,)})

    given: dict[str, Any] = {"settings": SETTINGS, "clock": portfolio.clock, "pas": Ended()}
    assert resolve_suspects(portfolio.registry, **given) == 0  # settlement will give the slot back
    assert portfolio.value(func.count(InboxEvent.id), InboxEvent.task_id == "t0") == 1
    assert resolve_suspects(portfolio.registry, **given) == 1  # it was told already, and nobody did
    assert portfolio.open_slots() == {}


def test_a_run_of_which_a_task_could_never_go_out_is_refused_at_once(portfolio: Portfolio) -> None:
    """It used to start, and its first task to wait for ever: what a stranger met who began with an empty registry."""
    dear = {"spend": {"cost_usd": {"median": 0.18, "high": 13.04}}}
    planned_project(portfolio.registry, tasks={"a": (), "b": ()}, forecast=dear, budget_usd=Decimal(10))
    with pytest.raises(Conflict) as told:
        portfolio.start(42)
    assert told.value.code == "budget_exceeded"
    assert "task b may take up to 13.04 USD" in told.value.message
    assert "plms project budget 42" in told.value.message
    with portfolio.registry.writing() as session:
        session.execute(update(Project).where(Project.id == 42).values(budget_cost_usd_max=Decimal(14)))
    portfolio.start(42)
    assert portfolio.tick().submitted == 1
