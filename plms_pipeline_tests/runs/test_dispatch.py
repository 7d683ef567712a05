"""Do runs and cards reach a real executor once, in order, whatever crashes on the way?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from plms_pipeline.clock import FrozenClock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    Hold,
    JobCard,
    Lane,
    OutboxEvent,
    Project,
    ProjectPolicy,
    ProjectRun,
    ProviderSnapshot,
    RunAlias,
    RunPassport,
    RunTask,
    StateTransition,
    TaskEstimate,
)
from plms_pipeline.runs.actions import dispatch_starts
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.dispatch import DispatchResult, dispatch_due, has_work
from plms_pipeline.runs.actions.project_life import cancel_project
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.store.dispatch import RunFacts
from plms_pipeline.runs.store.transitions import move_task
from plms_pipeline_tests.pas.server import NOWHERE, ReferencePas, reference_pas
from plms_pipeline_tests.runs.worlds import AT, DIAMOND, OWNER, WORLD, planned_project


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; slow enough that nothing ends while a test looks."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


@dataclass
class Bench:
    """A registry with a clock that the test moves, and an executor."""

    registry: Registry
    pas: Any
    data_dir: str
    now: datetime = AT
    stopped: Callable[[], str | None] = lambda: None
    started: list[str] = field(default_factory=list)

    def start(self, project_id: int = 42, kind: str = "baseline") -> str:
        answer = start_run(
            self.registry, clock=FrozenClock(self.now), ids=lambda: str(uuid4()), actor=OWNER,
            request=StartRequest(project_id, str(uuid4()), run_kind=kind), world=WORLD, stopped=None,
        )  # fmt: skip
        self.started.append(answer.run_id)
        return answer.run_id

    def tick(self, holder: str = "here") -> DispatchResult:
        return dispatch_due(
            self.registry, clock=FrozenClock(self.now), pas=self.pas, holder=holder, data_dir=self.data_dir,
            stopped=self.stopped,
        )  # fmt: skip

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def end_tasks(self, *names: str, status: str = "SUCCESS", run_id: str | None = None) -> None:
        """As the settlement would."""
        run = run_id or self.started[-1]
        with self.registry.writing() as session:
            for name in names:
                assert move_task(session, run, name, expected="RUNNING", new=status, at=self.now, actor="test")

    def cards(self, run_id: str | None = None) -> dict[str, str]:
        with self.registry.reading() as session:
            rows = session.execute(
                select(JobCard.task_id, JobCard.state).where(JobCard.run_id == (run_id or self.started[-1]))
            )
            return {row[0]: row[1] for row in rows}

    def tasks(self, run_id: str | None = None) -> dict[str, str]:
        with self.registry.reading() as session:
            rows = session.execute(
                select(RunTask.task_id, RunTask.status).where(RunTask.run_id == (run_id or self.started[-1]))
            )
            return {row[0]: row[1] for row in rows}

    def value(self, column: Any, *where: Any) -> Any:
        with self.registry.reading() as session:
            return session.scalar(select(column).where(*where))


@pytest.fixture
def bench(registry: Registry, executor: ReferencePas) -> Iterator[Bench]:
    planned_project(registry)
    with registry.writing() as session:
        # Here tasks end by hand and give nothing back; that caps hold is tested where slots are.
        session.execute(update(Lane).values(cap=1000))
    with executor.client() as pas:
        yield Bench(registry, pas, str(executor.data_dir))


def test_a_run_goes_out_and_its_cards_follow_their_dependencies(bench: Bench) -> None:
    """The stub ignored dependencies: a test that runs before the code that it tests proves nothing."""
    run_id = bench.start()
    first = bench.tick()
    assert (first.announced, first.submitted, first.snapshots) == (1, 1, 1)
    assert bench.cards() == {"a": "SUBMITTED", "b": "WAITING", "c": "WAITING", "d": "WAITING"}
    assert bench.tasks()["a"] == "RUNNING"
    assert bench.value(Project.status) == "executing"
    bench.end_tasks("a")
    assert bench.tick().submitted == 2
    bench.end_tasks("b")
    assert bench.tick().submitted == 0
    bench.end_tasks("c")
    assert bench.tick().submitted == 1
    assert not has_work(bench.registry, clock=FrozenClock(bench.now))
    status = bench.pas.run_status(run_id)
    assert status is not None
    assert (status.tasks_total, {task.task_id for task in status.tasks}) == (4, set("abcd"))


def test_the_executor_is_asked_which_providers_serve(bench: Bench) -> None:
    """A run whose providers drifted between approval and work cannot be repeated; the difference is a fact."""
    bench.start()
    with bench.registry.writing() as session:
        # As if the passport had been made while another version served.
        session.execute(update(ProjectRun).values(provider_matrix_json="{}"))
    bench.tick()
    assert bench.value(ProviderSnapshot.matches) is True
    assert bench.value(ProviderSnapshot.moment) == "submission"


def test_drifted_providers_are_told_apart(registry: Registry, executor: ReferencePas) -> None:
    """The snapshot must be compared with the passport, not with itself."""
    from dataclasses import replace

    planned_project(registry)
    start_run(
        registry, clock=FrozenClock(AT), ids=lambda: str(uuid4()), actor=OWNER, request=StartRequest(42, str(uuid4())),
        world=replace(WORLD, providers={**dict(WORLD.providers or {}), "openai/gpt-4": "gpt-4-0314"}), stopped=None,
    )  # fmt: skip
    with executor.client() as pas:
        bench = Bench(registry, pas, str(executor.data_dir))
        bench.tick()
        assert bench.value(ProviderSnapshot.matches) is False
        assert "openai/gpt-4: gpt-4-0314 in the passport, gpt-4-0613" in bench.value(ProviderSnapshot.mismatch)


def test_one_run_of_a_project_at_a_time_and_the_others_wait(bench: Bench) -> None:
    """Two runs of one project write the same files; `max_active_runs` is 1 unless somebody said otherwise."""
    runs = [bench.start() for _ in range(3)]
    assert bench.tick().announced == 1
    assert [bench.value(ProjectRun.status, ProjectRun.run_id == run) for run in runs] == ["RUNNING", "QUEUED", "QUEUED"]
    with bench.registry.writing() as session:
        session.execute(insert(ProjectPolicy).values(project_id=42, owner="ana", max_active_runs=2, updated_at=AT))
    assert bench.tick().announced == 1
    with bench.registry.writing() as session:
        session.execute(
            update(ProjectRun).where(ProjectRun.run_id == runs[0]).values(status="SUCCESS", completed_at=bench.now)
        )
    assert bench.tick().announced == 1
    assert bench.value(ProjectRun.status, ProjectRun.run_id == runs[2]) == "RUNNING"


def test_a_run_whose_announcement_is_pending_counts_as_active(registry: Registry, executor: ReferencePas) -> None:
    """The executor may know of it already: another run in its place would be one too many."""
    from plms_pipeline.runs.store import announcing

    planned_project(registry)
    with PasClient(NOWHERE, sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0, attempts=1) as pas:
        bench = Bench(registry, pas, str(executor.data_dir))
        first, _second = bench.start(), bench.start()
        assert bench.tick().away is not None
        with registry.writing() as session:
            assert announcing.claim_start(session, 42, holder="x", now=bench.now, lease_until=bench.now) is None
        bench.later(6)
        with registry.writing() as session:
            claimed = announcing.claim_start(session, 42, holder="x", now=bench.now, lease_until=bench.now)
        assert claimed is not None
        assert claimed.subject_id == first


def test_an_executor_that_is_away_leaves_everything_due(registry: Registry, executor: ReferencePas) -> None:
    """PAS restarts: nothing may fail for that, nothing be forgotten, and the wait grows."""
    planned_project(registry)
    with PasClient(NOWHERE, sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0, attempts=1) as nobody:
        bench = Bench(registry, nobody, str(executor.data_dir))
        run_id = bench.start()
        waits = []
        for _ in range(5):
            assert bench.tick().away is not None
            due_at = bench.value(OutboxEvent.due_at, OutboxEvent.kind == "start_run")
            waits.append((due_at - bench.now).total_seconds())
            bench.now = due_at
    assert waits == sorted(waits)
    assert 1 <= waits[0] < waits[-1] <= 30
    assert bench.value(ProjectRun.status) == "QUEUED"
    with executor.client() as pas:
        bench.pas = pas
        assert bench.tick().submitted == 1
    # A card on its way when the executor goes away is due again too.
    bench.end_tasks("a")
    with PasClient(NOWHERE, sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0, attempts=1) as nobody:
        bench.pas = nobody
        assert bench.tick().away is not None
        assert bench.tick().submitted == 0
    assert bench.cards(run_id)["b"] == "WAITING"
    bench.later(6)
    with executor.client() as pas:
        bench.pas = pas
        assert bench.tick().submitted == 2


def test_a_card_that_is_refused_for_good_fails_its_task_with_the_reason(bench: Bench) -> None:
    """A card that is tried for ever blocks its run for ever; what depends on it is skipped, not forgotten."""
    with bench.registry.writing() as session:
        session.execute(insert(Lane).values(lane_id=7777, name="Unheard-Of", cap=1, description=""))
        session.execute(update(TaskEstimate).where(TaskEstimate.task_name == "task b").values(tmd_lane=7777))
    bench.start()
    bench.tick()
    bench.end_tasks("a")
    result = bench.tick()
    assert (result.refused, result.submitted) == (1, 1)
    assert bench.tick().skipped == 1
    assert bench.tasks() == {"a": "SUCCESS", "b": "FAIL", "c": "RUNNING", "d": "SKIPPED"}
    assert bench.cards() == {"a": "SUBMITTED", "b": "CANCELLED", "c": "SUBMITTED", "d": "CANCELLED"}
    reason = bench.value(StateTransition.reason, StateTransition.to_state == "FAIL")
    assert "7777" in reason


def test_a_card_that_the_protocol_cannot_say_does_not_stop_the_others(bench: Bench) -> None:
    """One provider with a strange name must not block every run of every project at each tick."""
    bench.start()
    with bench.registry.writing() as session:
        session.execute(update(JobCard).where(JobCard.task_id == "a").values(provider="provider\nof evil"))
    other = planned_project(bench.registry, project_id=43)
    bench.start(other)
    result = bench.tick()
    assert (result.announced, result.refused, result.submitted) == (2, 1, 1)
    assert bench.tasks(bench.started[0])["a"] == "FAIL"


def test_a_run_that_is_refused_ends_with_the_executors_reason(bench: Bench) -> None:
    """Another passport under a run id that the executor knows: it will never take it."""
    run_id = bench.start()
    bench.tick()
    with bench.registry.writing() as session:
        # The registry was restored from before the submission, and the run's passport differs.
        session.execute(update(OutboxEvent).where(OutboxEvent.kind == "start_run").values(state="pending"))
        session.execute(update(ProjectRun).values(status="QUEUED", rehearsal_pct=0.5))
        session.execute(update(JobCard).values(state="WAITING"))
        session.execute(update(RunTask).values(status="QUEUED"))
    result = bench.tick()
    assert result.refused == 1
    assert bench.value(ProjectRun.status, ProjectRun.run_id == run_id) == "FAIL"
    assert set(bench.tasks().values()) == {"SKIPPED"}
    assert set(bench.cards().values()) == {"CANCELLED"}


def test_a_budget_that_changes_between_two_announcements_does_not_end_the_run(bench: Bench) -> None:
    """The executor refuses another word about a run that it knows: what is announced must be the same at every attempt."""
    run_id = bench.start()

    class DiesAfterTheCall(DyingPas):
        def __getattr__(self, name: str) -> Any:
            def dying(*arguments: Any) -> Any:
                getattr(bench.pas, name)(*arguments)
                raise Crash

            return dying

    with pytest.raises(Crash):
        dispatch_due(
            bench.registry, clock=FrozenClock(bench.now), pas=DiesAfterTheCall(bench.pas, Dying(0)),  # type: ignore[arg-type]
            holder="victim", data_dir=bench.data_dir,
        )  # fmt: skip
    with bench.registry.writing() as session:
        session.execute(update(Project).values(budget_cost_usd_max=7))
    bench.later(61)
    result = bench.tick()
    assert (result.announced, result.refused) == (1, 0)
    assert bench.value(ProjectRun.status, ProjectRun.run_id == run_id) == "RUNNING"


@pytest.mark.parametrize("what", ["altered", "missing"])
def test_a_run_without_its_passport_never_goes_out(bench: Bench, what: str) -> None:
    """The prototype submitted first and wrote the passport afterwards, nowhere: such a run can never be explained."""
    run_id = bench.start()
    with bench.registry.writing() as session:
        if what == "missing":
            session.execute(delete(RunPassport))
        else:
            text = session.scalars(select(RunPassport.passport_json)).one().replace("gpt-4-0613", "gpt-4-0314")
            session.execute(update(RunPassport).values(passport_json=text))
    assert bench.tick().refused == 1
    assert bench.value(ProjectRun.status) == "FAIL"
    assert set(bench.tasks().values()) == {"SKIPPED"}
    assert bench.pas.run_status(run_id) is None
    assert "passport" in bench.value(StateTransition.reason, StateTransition.to_state == "FAIL")


@pytest.mark.parametrize(("subject", "subject_id"), [("project", "42"), ("run", None), ("lane", "4202")])
def test_what_is_on_hold_does_not_go_out(bench: Bench, subject: str, subject_id: str | None) -> None:
    """A pause is a row; what it says must hold from the next card on."""
    run_id = bench.start()
    bench.tick()
    bench.end_tasks("a")
    with bench.registry.writing() as session:
        session.execute(
            insert(Hold).values(
                subject_type=subject, subject_id=subject_id or run_id, reason="r", placed_by="ana", placed_at=AT
            )
        )
    held = bench.tick().submitted
    assert held == (1 if subject == "lane" else 0)  # of b and c only b is in lane 4202
    with bench.registry.writing() as session:
        session.execute(update(Hold).values(lifted_by="ana", lifted_at=AT))
    assert bench.tick().submitted == 2 - held


def test_a_held_project_announces_no_run(bench: Bench) -> None:
    """A run that was queued before the pause waits like the others."""
    bench.start()
    with bench.registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="project", subject_id="42", reason="r", placed_by="a", placed_at=AT)
        )
    assert bench.tick().announced == 0


def test_the_kill_switch_stops_what_starts_and_lets_ends_through(bench: Bench) -> None:
    """It stops what spends, never what stops: a cancelled run must end also while it is on."""
    run_id = bench.start()
    bench.tick()
    bench.end_tasks("a")
    bench.stopped = lambda: "incident"
    assert bench.tick().stopped == "incident"
    assert bench.cards()["b"] == "WAITING"
    cancel_run(bench.registry, clock=FrozenClock(bench.now), actor=OWNER, run_id=run_id, reason="incident")
    bench.tick()
    status = bench.pas.run_status(run_id)
    assert status is not None
    assert status.status == "terminated"


def test_a_queued_run_that_is_cancelled_never_goes_out(bench: Bench) -> None:
    """A run that was called off and starts all the same spends what nobody wants."""
    run_id = bench.start()
    done = cancel_run(bench.registry, clock=FrozenClock(bench.now), actor=OWNER, run_id=run_id, reason="typo")
    assert done.has_ended
    assert bench.tick() == DispatchResult()
    assert set(bench.tasks().values()) == {"SKIPPED"}
    assert bench.value(ProjectRun.status) == "SKIPPED"
    assert bench.pas.run_status(run_id) is None


def test_a_run_cancelled_while_it_is_announced_is_ended_at_the_executor(bench: Bench) -> None:
    """Between the announcement and our record of it nobody holds a lock: the executor must hear of the end."""
    run_id = bench.start()

    class CancelsMeanwhile:
        takes_whole_runs = False

        def __getattr__(self, name: str) -> Any:
            return getattr(bench.pas, name)

        def submit_run(self, *arguments: Any) -> Any:
            accepted = bench.pas.submit_run(*arguments)
            cancel_run(bench.registry, clock=FrozenClock(bench.now), actor=OWNER, run_id=run_id, reason="typo")
            return accepted

    real = bench.pas
    result = dispatch_due(
        bench.registry, clock=FrozenClock(bench.now), pas=CancelsMeanwhile(), holder="h", data_dir=bench.data_dir  # type: ignore[arg-type]
    )  # fmt: skip
    assert result.submitted == 0
    status = real.run_status(run_id)
    assert status is not None
    assert status.status == "terminated"
    assert bench.value(ProjectRun.status) == "SKIPPED"


def test_who_announces_a_run_late_leaves_its_cancelled_project_as_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispatcher that stood still over its claim; another was faster, and the owner called the project off. Its whole tick
    failed, and whatever else it was to do with it."""
    run_id = bench.start()
    facts = dispatch_starts.store.run_facts

    def after_others(session: Session, asked: str) -> RunFacts | None:
        monkeypatch.setattr(dispatch_starts.store, "run_facts", facts)
        clock = FrozenClock(bench.now + timedelta(minutes=2))
        dispatch_due(bench.registry, clock=clock, pas=bench.pas, holder="faster", data_dir=bench.data_dir)
        cancel_project(bench.registry, 42, clock=clock, actor=OWNER, reason="no money")
        with bench.registry.reading() as fresh:
            return facts(fresh, asked)

    monkeypatch.setattr(dispatch_starts.store, "run_facts", after_others)
    bench.tick()
    assert bench.value(Project.status) == "cancelled"
    bench.later(180)
    bench.tick()
    status = bench.pas.run_status(run_id)
    assert status is not None
    assert status.status == "terminated"


def test_rehearsals_leave_the_project_where_it_is(bench: Bench) -> None:
    """A canary before the first run is the recommended workflow; it must not look like the work itself."""
    bench.start(kind="rehearsal")
    bench.tick()
    assert bench.value(Project.status) == "approved"


def test_a_run_that_waits_while_its_project_ends_is_skipped(bench: Bench) -> None:
    """A rehearsal queued behind the work that completed its project waited for ever: nothing starts in a project that ended."""
    run_id = bench.start(kind="rehearsal")
    with bench.registry.writing() as session:
        session.execute(update(Project).where(Project.id == 42).values(status="completed", completed_at=AT))
    assert has_work(bench.registry, clock=FrozenClock(bench.now))
    assert bench.tick().skipped == 1
    assert bench.value(ProjectRun.status) == "SKIPPED"
    assert set(bench.tasks().values()) == {"SKIPPED"}
    assert bench.pas.run_status(run_id) is None
    assert not has_work(bench.registry, clock=FrozenClock(bench.now))


def test_an_executor_that_takes_whole_runs_gets_one_and_its_name_is_kept(bench: Bench, executor: ReferencePas) -> None:
    """The guide's /pas/architect/submit mints its own run id: every later call must use it, and events come under it."""
    run_id = bench.start()
    with executor.client(dialect="architect") as architect:
        bench.pas = architect
        result = bench.tick()
        assert (result.announced, result.submitted) == (1, 4)
        assert set(bench.cards().values()) == {"SUBMITTED"}
        alias = bench.value(RunAlias.alias, RunAlias.run_id == run_id)
        assert alias not in (None, run_id)
        assert architect.run_status(alias) is not None
        cancel_run(bench.registry, clock=FrozenClock(bench.now), actor=OWNER, run_id=run_id, reason="typo")
        bench.tick()
        status = architect.run_status(alias)
        assert status is not None
        assert status.status == "terminated"


def test_many_dispatchers_hand_each_card_over_once(bench: Bench, executor: ReferencePas) -> None:
    """Every process may tick at once: API, daemon and a terminal do."""
    from concurrent.futures import ThreadPoolExecutor

    wide = {f"t{n}": () for n in range(12)}
    runs = [bench.start(planned_project(bench.registry, project_id=100 + n, tasks=wide)) for n in range(4)]
    clients = [executor.client() for _ in range(4)]
    benches = [Bench(bench.registry, client, bench.data_dir) for client in clients]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: [one[1].tick(f"h{one[0]}") for _ in range(3)], enumerate(benches)))
    for client in clients:
        client.close()
    with bench.registry.reading() as session:
        moves = Counter(
            session.scalars(select(StateTransition.subject_id).where(StateTransition.to_state == "RUNNING"))
        )
        submissions = session.scalars(select(JobCard.submissions).where(JobCard.run_id.in_(runs))).all()
    assert set(moves.values()) == {1}
    assert submissions == [1] * 48
    for run in runs:
        assert set(bench.cards(run).values()) == {"SUBMITTED"}


class Crash(BaseException):
    """The process died here."""


class Dying:
    """Dies at the n-th border: before or after a transaction or a call to the executor."""

    def __init__(self, at: int) -> None:
        self.at, self.passed = at, 0

    def border(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Crash


class DyingRegistry:
    def __init__(self, real: Registry, fate: Dying) -> None:
        self._real, self._fate = real, fate
        self.reading, self.asking = real.reading, real.asking

    def writing(self) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def dying() -> Iterator[Any]:
            self._fate.border()
            with self._real.writing() as session:
                yield session
            self._fate.border()

        return dying()


class DyingPas:
    takes_whole_runs = False

    def __init__(self, real: PasClient, fate: Dying) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._real, name)

        def dying(*arguments: Any) -> Any:
            self._fate.border()
            answer = called(*arguments)
            self._fate.border()
            return answer

        return dying


@pytest.mark.live
def test_a_crash_between_any_two_steps_is_repaired_by_later_ticks(bench: Bench) -> None:
    """kill -9 of any process at any moment: no run is lost, no card goes out twice, nothing waits for ever."""
    tasks = {"a": (), "b": ("a",)}
    at, project_id, survived = 0, 200, False
    while not survived:
        at, project_id = at + 1, project_id + 1
        planned_project(bench.registry, project_id=project_id, tasks=tasks)
        run_id = bench.start(project_id)
        fate = Dying(at)
        try:
            for _ in range(3):
                dispatch_due(
                    DyingRegistry(bench.registry, fate), clock=FrozenClock(bench.now), pas=DyingPas(bench.pas, fate),  # type: ignore[arg-type]
                    holder="victim", data_dir=bench.data_dir,
                )  # fmt: skip
                _end_what_runs(bench, run_id)
            survived = True
        except Crash:
            pass
        for _ in range(4):
            bench.later(61)
            bench.tick("survivor")
            _end_what_runs(bench, run_id)
        assert bench.tasks(run_id) == {"a": "SUCCESS", "b": "SUCCESS"}, at
        assert set(bench.cards(run_id).values()) == {"SUBMITTED"}, at
        assert bench.value(ProjectRun.status, ProjectRun.run_id == run_id) == "RUNNING"
        assert bench.value(func.count(ProviderSnapshot.id), ProviderSnapshot.run_id == run_id) == 1
        status = bench.pas.run_status(run_id)
        assert status is not None
        assert sorted((task.task_id, task.attempt) for task in status.tasks) == [("a", 1), ("b", 1)]
        # So that the next round's ticks have this round's alone to look at.
        with bench.registry.writing() as session:
            session.execute(
                update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="SUCCESS", completed_at=bench.now)
            )
    assert at > 15


def _end_what_runs(bench: Bench, run_id: str) -> None:
    for name, status in bench.tasks(run_id).items():
        if status == "RUNNING":
            bench.end_tasks(name, run_id=run_id)


assert set(DIAMOND) == set("abcd")


class Slow:
    """A client whose process sleeps after its first announcement, while `meanwhile` happens."""

    def __init__(self, pas: PasClient, meanwhile: Callable[[], object], *, before: bool = False) -> None:
        self._pas, self._meanwhile, self._before = pas, [meanwhile], before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pas, name)

    def submit_run(self, *given: Any) -> Any:
        if self._before and self._meanwhile:
            self._meanwhile.pop()()
        answer = self._pas.submit_run(*given)
        if self._meanwhile:
            self._meanwhile.pop()()
        return answer


def test_a_dispatcher_that_was_overtaken_ends_no_healthy_run(registry: Registry, executor: ReferencePas) -> None:
    """It slept past its lease, another announced the run meanwhile; it took that for a cancellation and had the run ended."""
    planned_project(registry)
    with executor.client() as pas:
        bench = Bench(registry, pas, str(executor.data_dir))
        run_id = bench.start()

        def another() -> None:
            bench.pas = pas
            bench.later(120)
            assert bench.tick("another").announced == 1

        bench.pas = cast("PasClient", Slow(pas, another))
        bench.tick()
        assert bench.value(OutboxEvent.id, OutboxEvent.kind == "terminate_run") is None
        assert bench.value(ProjectRun.status, ProjectRun.run_id == run_id) == "RUNNING"


def test_a_run_called_off_while_it_is_announced_is_ended_there(registry: Registry, executor: ReferencePas) -> None:
    """The executor was told to end it before it knew it, and that word was spent: it would have waited for cards for ever."""
    planned_project(registry)
    with executor.client() as pas:
        bench = Bench(registry, pas, str(executor.data_dir))
        run_id = bench.start()

        def called_off() -> None:
            bench.pas = pas
            cancel_run(registry, clock=FrozenClock(bench.now), actor=OWNER, run_id=run_id, reason="enough")
            assert bench.tick("another").announced == 0

        bench.pas = cast("PasClient", Slow(pas, called_off, before=True))
        bench.tick()
        bench.tick()
        status = pas.run_status(run_id)
        assert status is not None
        assert status.status in ("terminated", "cancelled")
