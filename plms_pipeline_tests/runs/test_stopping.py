"""A kill switch at work: what runs at a real executor is paused within two seconds, ended after a minute, and resumed only by
a person.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update

from plms_pipeline.clock import FrozenClock, SystemClock
from plms_pipeline.errors import Conflict
from plms_pipeline.pas.client import PasUnavailable
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.actions import switches
from plms_pipeline.portfolio.actions.scheduling import DispatchPolicy
from plms_pipeline.portfolio.store import switches as switch_store
from plms_pipeline.portfolio.switch import UNREADABLE
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Hold, JobCard, KillSwitch, OutboxEvent, ProjectRun
from plms_pipeline.runs.actions.dispatch import DispatchResult, dispatch_due
from plms_pipeline.runs.actions.project_life import pause_project, resume_project
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.stopping import actions
from plms_pipeline.runs.stopping.service import StopWatch
from plms_pipeline.runs.stopping.store import Working
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.worlds import AT, OWNER, WORLD, planned_project

WIDE = {"a": (), "b": (), "c": ()}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; slow enough that nothing ends while a test looks."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


@dataclass
class Deaf:
    """An executor that answers everything but pauses."""

    pas: Any
    ended: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pas, name)

    def pause(self, run_id: str, reason: str = "") -> Any:
        raise PasUnavailable(f"no answer about {run_id} ({reason})")

    def pause_task(self, run_id: str, task_id: str, attempt: int = 1) -> Any:
        raise PasUnavailable(f"no answer about {run_id} {task_id} {attempt}")


@dataclass
class Bench:
    """A registry with a clock that the test moves, and an executor."""

    registry: Registry
    pas: Any
    data_dir: Path
    staging: str = ""
    now: datetime = AT
    started: list[str] = field(default_factory=list)

    @property
    def clock(self) -> FrozenClock:
        return FrozenClock(self.now)

    def start(self, project_id: int = 42) -> str:
        answer = start_run(
            self.registry, clock=self.clock, ids=lambda: str(uuid4()), actor=OWNER,
            request=StartRequest(project_id, str(uuid4())), world=WORLD, stopped=files.flag_reason(self.data_dir),
        )  # fmt: skip
        self.started.append(answer.run_id)
        return answer.run_id

    def tick(self) -> DispatchResult:
        return dispatch_due(
            self.registry, clock=self.clock, pas=self.pas, holder="here", data_dir=self.staging,
            stopped=lambda: switches.stop_reason(self.registry, flag=lambda: files.flag_reason(self.data_dir)),
        )  # fmt: skip

    def turn(self, way: str, scope: str = "global", subject: str = "") -> None:
        action = switches.turn_on if way == "on" else switches.turn_off
        action(
            self.registry, clock=self.clock, ids=lambda: str(uuid4()), actor=OWNER, reason="smoke", scope=scope,
            subject=subject,
        )  # fmt: skip

    def look(self, pas: Any = None) -> actions.Stopping:
        found = actions.look(self.registry, clock=self.clock, flag=files.flag_reason(self.data_dir))
        actions.tell(self.registry, clock=self.clock, pas=pas or self.pas, holder="here")
        return found

    def states(self, run_id: str) -> tuple[str, set[str]]:
        status = self.pas.run_status(run_id)
        return status.status, {task.status for task in status.tasks}

    def resume(self) -> actions.Resumed:
        resumed = actions.resume(
            self.registry, clock=self.clock, ids=lambda: str(uuid4()), actor=OWNER, reason="it is clear what happened"
        )
        actions.tell(self.registry, clock=self.clock, pas=self.pas, holder="here")
        return resumed

    def effects(self, kind: str) -> list[str]:
        with self.registry.reading() as session:
            rows = session.scalars(select(OutboxEvent.state).where(OutboxEvent.kind == kind).order_by(OutboxEvent.id))
            return list(rows)


@pytest.fixture
def bench(registry: Registry, executor: ReferencePas, tmp_path: Path) -> Iterator[Bench]:
    planned_project(registry, tasks=WIDE)
    planned_project(registry, project_id=43, tasks=WIDE)
    (tmp_path / "flags").mkdir()
    with executor.client() as pas:
        made = Bench(registry, pas, tmp_path / "flags", staging=str(executor.data_dir))
        yield made
        # The executor has lanes too: what a test leaves running keeps the next one waiting.
        for run_id in made.started:
            if pas.run_status(run_id) is not None:
                pas.terminate(run_id, "the test is over")


def running(bench: Bench, project_id: int = 42) -> str:
    run_id = bench.start(project_id)
    bench.tick()
    assert bench.states(run_id) == ("executing", {"running"})
    return run_id


def test_what_runs_is_paused_and_stays_so_until_a_person_resumes_it(bench: Bench) -> None:
    """Otherwise agents go on spending while everybody believes that they stand still, or go on by themselves later."""
    run_id = running(bench)
    bench.turn("on")
    bench.look()
    assert bench.states(run_id) == ("paused", {"paused"})
    bench.turn("off")
    bench.look()
    assert bench.states(run_id)[0] == "paused"
    assert bench.resume() == actions.Resumed(runs=1, cards=0)
    assert bench.states(run_id)[0] == "executing"
    assert bench.resume() == actions.Resumed(runs=0, cards=0)


def test_nothing_starts_and_nothing_goes_out_while_it_is_on(bench: Bench) -> None:
    """Otherwise the switch stops what runs while new work takes its place."""
    waiting = bench.start()
    bench.turn("on")
    with pytest.raises(Conflict, match="killswitch_on"):
        bench.start(43)
    assert bench.tick().announced == 0
    assert bench.pas.run_status(waiting) is None
    bench.turn("off")
    assert bench.tick().announced == 1


def test_a_projects_switch_leaves_the_others_alone(bench: Bench) -> None:
    """Otherwise one runaway project stops the portfolio."""
    mine, theirs = running(bench, 42), running(bench, 43)
    bench.turn("on", "project", "42")
    bench.look()
    assert (bench.states(mine)[0], bench.states(theirs)[0]) == ("paused", "executing")
    with pytest.raises(Conflict, match="killswitch_on"):
        bench.start(42)
    assert bench.start(43)


def test_a_lanes_switch_pauses_its_cards_only(bench: Bench) -> None:
    """Otherwise one sick lane stops every project that touches it."""
    run_id = running(bench)
    with bench.registry.reading() as session:
        lanes = {task: lane for task, lane in session.execute(select(JobCard.task_id, JobCard.lane_id)) if task in WIDE}
    sick = lanes["a"]
    bench.turn("on", "lane", str(sick))
    bench.look()
    found = {task.task_id: task.status for task in bench.pas.run_status(run_id).tasks}
    assert found == {task: "paused" if lane == sick else "running" for task, lane in lanes.items()}
    bench.turn("off", "lane", str(sick))
    assert bench.resume().cards == sum(lane == sick for lane in lanes.values())
    assert bench.states(run_id)[1] == {"running"}


def test_what_does_not_say_that_it_paused_is_ended_after_a_minute(bench: Bench) -> None:
    """Otherwise an executor that does not answer spends on."""
    run_id = running(bench)
    deaf = Deaf(bench.pas)
    bench.turn("on")
    bench.look(deaf)
    bench.now += timedelta(seconds=59)
    assert bench.look(deaf).ended == 0
    assert bench.states(run_id)[0] == "executing"
    bench.now += timedelta(seconds=1)
    assert bench.look(deaf).ended == 1
    assert bench.states(run_id)[0] == "terminated"
    assert bench.look(deaf).ended == 0


def test_a_card_that_does_not_say_that_it_paused_is_ended_after_a_minute(bench: Bench) -> None:
    """Otherwise a lane goes on spending at an executor that cannot pause single tasks."""
    run_id = running(bench)
    with bench.registry.reading() as session:
        lane = session.scalar(select(JobCard.lane_id).where(JobCard.run_id == run_id, JobCard.task_id == "a"))
    deaf = Deaf(bench.pas)
    bench.turn("on", "lane", str(lane))
    bench.look(deaf)
    bench.now += timedelta(seconds=60)
    assert bench.look(deaf).ended >= 1
    found = {task.task_id: task.status for task in bench.pas.run_status(run_id).tasks}
    assert found["a"] in {"cancelled", "failed"}


def test_what_paused_in_time_is_not_ended(bench: Bench) -> None:
    """Otherwise every stop longer than a minute throws work away."""
    run_id = running(bench)
    bench.turn("on")
    bench.look()
    bench.now += timedelta(hours=1)
    assert bench.look().ended == 0
    assert bench.states(run_id)[0] == "paused"


def test_each_pause_is_asked_once_however_often_it_is_looked(bench: Bench) -> None:
    """Otherwise a stop of an hour is ten thousand calls."""
    running(bench)
    bench.turn("on")
    for _ in range(3):
        bench.look()
    assert bench.effects("pause_run") == ["done"]
    with bench.registry.reading() as session:
        assert len(session.scalars(select(Hold.id)).all()) == 1


def test_the_flag_file_pauses_too_and_is_in_the_history(bench: Bench) -> None:
    """Otherwise who cannot reach the database cannot stop what runs, and nobody sees later that it was stopped."""
    run_id = running(bench)
    files.raise_flag(bench.data_dir, "fire")
    bench.look()
    assert bench.states(run_id)[0] == "paused"
    files.lower_flag(bench.data_dir)
    bench.look()
    with bench.registry.reading() as session:
        row = session.execute(select(KillSwitch.subject, KillSwitch.reason, KillSwitch.turned_off_at)).one()
    assert (row.subject, row.reason, row.turned_off_at) == ("flag file", "fire", bench.now)
    assert bench.states(run_id)[0] == "paused"


def test_a_second_stop_pauses_what_was_resumed_after_the_first(bench: Bench) -> None:
    """Otherwise a switch works once per run."""
    run_id = running(bench)
    for _ in range(2):
        bench.turn("on")
        bench.look()
        assert bench.states(run_id)[0] == "paused"
        bench.turn("off")
        bench.resume()
        assert bench.states(run_id)[0] == "executing"


def test_resuming_leaves_alone_what_is_still_stopped(bench: Bench) -> None:
    """Otherwise letting one project go on lets all go on."""
    mine, theirs = running(bench, 42), running(bench, 43)
    bench.turn("on", "project", "42")
    bench.turn("on", "project", "43")
    bench.look()
    bench.turn("off", "project", "43")
    assert bench.resume().runs == 1
    assert (bench.states(mine)[0], bench.states(theirs)[0]) == ("paused", "executing")


@dataclass
class Watched:
    """A thread that looks after the switch, and how long things take."""

    bench: Bench
    settings: Settings

    def seconds_until(self, condition: Callable[[], bool], *, at_most_s: float = 5.0) -> float:
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < at_most_s, "it did not happen"
            time.sleep(0.02)
        return time.monotonic() - begun


@pytest.fixture
def watched(bench: Bench, registry_url: str) -> Iterator[Watched]:
    """As `plms serve` does it: a step every quarter of a second in a thread."""
    settings = load_settings({"PLMS_DATA_DIR": str(bench.data_dir), "PLMS_DATABASE_URL": registry_url})
    own = Registry.open(registry_url)
    watch = StopWatch(settings, own, SystemClock(), lambda: bench.pas)
    ending = threading.Event()

    def keep() -> None:
        while not ending.wait(0.25):
            watch.step()

    thread = threading.Thread(target=keep)
    bench.now = SystemClock().now()
    thread.start()
    yield Watched(bench, settings)
    ending.set()
    thread.join()
    watch.close()
    own.close()


@pytest.mark.live
@pytest.mark.parametrize("how", ["row", "file", "unreadable"])
def test_within_two_seconds_everything_that_runs_is_paused(watched: Watched, how: str) -> None:
    """Otherwise the switch is a promise: by row, by file, and while the registry cannot be read."""
    bench = watched.bench
    runs = [running(bench, 42), running(bench, 43)]
    time.sleep(1.0)  # the watch has seen them
    if how == "row":
        bench.turn("on")
    elif how == "file":
        files.raise_flag(bench.data_dir, "fire")
    else:
        with bench.registry.writing() as session:
            session.execute(text("ALTER TABLE kill_switches RENAME TO gone"))
    try:
        took_s = watched.seconds_until(lambda: all(bench.states(run)[0] == "paused" for run in runs))
        assert took_s < 2.0
    finally:
        if how == "unreadable":
            with bench.registry.writing() as session:
                session.execute(text("ALTER TABLE gone RENAME TO kill_switches"))
    if how == "unreadable":
        watched.seconds_until(lambda: len(_holds(bench)) == 2)
        with bench.registry.reading() as session:
            assert "cannot be read" in session.execute(select(KillSwitch.reason)).scalar_one()
        assert all(bench.states(run)[0] == "paused" for run in runs)
        assert bench.resume().runs == 2


def _holds(bench: Bench) -> list[str]:
    with bench.registry.reading() as session:
        return list(session.scalars(select(Hold.subject_id).where(Hold.lifted_at.is_(None))))


def test_nothing_starts_from_the_moment_on_in_which_the_file_of_the_registry_is_gone(
    settings: Settings, sqlite_registry: Registry
) -> None:
    """A process keeps a removed file open: what it starts in the second before its watch notices is in nobody's books."""
    watch = StopWatch(settings, sqlite_registry, SystemClock(), lambda: pytest.fail("nobody is to be asked"))
    file = settings.data_dir / "registry.db"
    assert watch.reason() is None
    file.rename(file.with_name("registry.away"))
    assert watch.reason() == UNREADABLE
    file.with_name("registry.away").rename(file)
    assert watch.reason() is None
    watch.close()


def test_a_registry_that_does_not_answer_is_away_but_a_slow_one_is_not(
    settings: Settings, sqlite_registry: Registry
) -> None:
    """Otherwise a database that is busy for a second stops the portfolio, or one that hangs stops nothing."""
    now_s = [0.0]
    paused: list[str] = []

    def pause(run_id: str, _why: str) -> SimpleNamespace:
        paused.append(run_id)
        return SimpleNamespace(status="paused")

    pas: Any = SimpleNamespace(pause=pause)
    watch = StopWatch(
        settings,
        sqlite_registry,
        SystemClock(),
        lambda: pas,
        monotonic_s=lambda: now_s[0],
    )
    watch._remembered = [Working("r", "r")]
    gate = threading.Event()
    original = switch_store.that_are_on
    try:
        switch_store.that_are_on = lambda session: (gate.wait(20) and original(session)) or []
        watch.step()
        now_s[0] = 2.0
        watch.step()
        assert paused == []
        now_s[0] = 5.5
        watch.step()
        assert paused == ["r"]
    finally:
        gate.set()
        switch_store.that_are_on = original
        watch.close()


def test_a_run_that_was_on_its_way_when_the_switch_was_turned_on_is_paused_too(bench: Bench) -> None:
    """Otherwise whatever the executor took a moment later works through the whole stop."""
    run_id = running(bench)
    bench.turn("on")
    with bench.registry.writing() as session:
        session.execute(update(ProjectRun).values(status="QUEUED"))
    bench.look()
    assert bench.effects("pause_run") == []
    with bench.registry.writing() as session:
        session.execute(update(ProjectRun).values(status="RUNNING"))
    bench.look()
    assert bench.states(run_id)[0] == "paused"


def test_the_executor_is_given_no_more_runs_than_it_bears(bench: Bench) -> None:
    """Otherwise a hundred projects that start at once are a hundred and one runs at an executor that bears a hundred."""
    runs = [bench.start(42), bench.start(43)]

    def tick(pas: Any) -> int:
        return dispatch_due(
            bench.registry, clock=bench.clock, pas=pas, holder="here", data_dir=bench.staging,
            policy=DispatchPolicy(max_runs=1),
        ).announced  # fmt: skip

    class Away(Deaf):
        def submit_run(self, *_: object) -> Any:
            raise PasUnavailable("it may have arrived")

    assert tick(Away(bench.pas)) == 0
    bench.now += timedelta(minutes=5)
    # The one that the executor may have heard of is told again, and counts.
    assert tick(bench.pas) == 1
    assert tick(bench.pas) == 0
    known = [run_id for run_id in runs if bench.pas.run_status(run_id) is not None]
    assert len(known) == 1
    with bench.registry.writing() as session:
        ended = {"status": "FAIL", "completed_at": bench.now}
        session.execute(update(ProjectRun).where(ProjectRun.run_id == known[0]).values(ended))
    assert tick(bench.pas) == 1


def test_what_a_person_holds_stays_paused_when_the_switch_is_let_go(bench: Bench) -> None:
    """Resuming after a kill switch let runs work on whose project its owner had paused."""
    run_id = running(bench)
    bench.turn("on")
    bench.look()
    given: dict[str, Any] = {"clock": bench.clock, "ids": lambda: str(uuid4()), "actor": OWNER}
    pause_project(bench.registry, 42, reason="wait", **given)
    bench.tick()
    bench.turn("off")
    assert bench.resume() == actions.Resumed(runs=0, cards=0)
    assert bench.states(run_id)[0] == "paused"
    resume_project(bench.registry, 42, **given)
    bench.tick()
    assert bench.states(run_id)[0] == "executing"


@dataclass
class Slow:
    """An executor that a pause reaches after something else has happened; who sent it may be gone by then."""

    pas: Any
    meanwhile: Callable[[], object]
    is_killed: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pas, name)

    def pause(self, run_id: str, reason: str = "") -> Any:
        self.meanwhile()
        answer = self.pas.pause(run_id, reason)
        if self.is_killed:
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_pause_that_arrives_after_its_project_was_resumed_does_not_last(bench: Bench, is_killed: bool) -> None:
    """It was on its way when the owner said "go on": the run stood still for ever, and the books said that it runs."""
    run_id = running(bench)
    given: dict[str, Any] = {"clock": bench.clock, "ids": lambda: str(uuid4()), "actor": OWNER}

    def tell(pas: Any, holder: str) -> None:
        actions.tell(bench.registry, clock=bench.clock, pas=pas, holder=holder)

    def resumed() -> None:
        resume_project(bench.registry, 42, **given)
        tell(bench.pas, "other")

    pause_project(bench.registry, 42, reason="wait", **given)
    with suppress(KeyboardInterrupt):
        tell(Slow(bench.pas, resumed, is_killed), "slow")
    assert bench.states(run_id)[0] == "paused"
    # One that lives sees what happened; of one that died nobody hears, until it can have nothing in its hand any more.
    bench.now += timedelta(seconds=61 if is_killed else 0)
    tell(bench.pas, "other")
    assert bench.states(run_id)[0] == "executing"
    assert "pending" not in bench.effects("pause_run")
