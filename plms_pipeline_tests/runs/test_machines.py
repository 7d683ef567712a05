"""Acceptance: every path of the project, run and task machines, against a model of its own; what ended never changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Project, ProjectRun, RunTask, StateTransition
from plms_pipeline.runs import lifecycle
from plms_pipeline.runs.actions import decide_project as deciding
from plms_pipeline.runs.actions import decide_verdict
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline.runs.actions.project_life import cancel_project, pause_project, resume_project
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.store import transitions
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs import model
from plms_pipeline_tests.runs.desk import ANN, BEN, Desk
from plms_pipeline_tests.runs.worked import AT, Watch, Worked, ended
from plms_pipeline_tests.runs.worlds import WORLD

SUBJECTS = ("run", "task", "project")
PROVIDER = "openai/gpt-4"
# `make prove-simulation` lives thousands of days of the same actions, some of them wherever changes land.
LIVES = 10


class Walker:
    """A run, a task and a project in a registry, moved through the store that everything in the product moves them by."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.run_id = registry, str(uuid4())
        with registry.writing() as session:
            project = Project(name="made", status="planning", created_at=AT)
            session.add(project)
            session.flush()
            self.project_id = int(project.id)
            session.execute(
                insert(ProjectRun).values(
                    run_id=self.run_id, project_id=self.project_id, status="QUEUED", created_at=AT, source="plms"
                )
            )
            session.execute(
                insert(RunTask).values(
                    run_id=self.run_id, task_id="t", lane_id=6100, provider="p", status="QUEUED", queued_at=AT
                )
            )
            for subject in SUBJECTS:
                transitions.record_birth(
                    session, subject, self.name(subject), model.FIRST[subject], at=AT, actor="test"
                )

    def name(self, subject: str) -> str:
        names = {"run": self.run_id, "task": f"{self.run_id}/t", "project": str(self.project_id)}
        return names[subject]

    def move(self, subject: str, expected: str, new: str) -> bool:
        given: dict[str, Any] = {"expected": expected, "new": new, "at": AT, "actor": "test"}
        with self.registry.writing() as session:
            if subject == "run":
                return transitions.move_run(session, self.run_id, **given)
            if subject == "task":
                return transitions.move_task(session, self.run_id, "t", **given)
            return transitions.move_project(session, self.project_id, **given)

    def states(self) -> dict[str, str]:
        """Of all three, in one question."""
        asked = (
            select(ProjectRun.status, RunTask.status, Project.status)
            .join(RunTask, RunTask.run_id == ProjectRun.run_id)
            .join(Project, Project.id == ProjectRun.project_id)
            .where(ProjectRun.run_id == self.run_id)
        )
        with self.registry.reading() as session:
            run, task, project = session.execute(asked).one()
        return {"run": run, "task": task, "project": project}

    def state(self, subject: str) -> str:
        column = {"run": ProjectRun.status, "task": RunTask.status, "project": Project.status}[subject]
        key = {
            "run": ProjectRun.run_id == self.run_id, "task": RunTask.run_id == self.run_id,
            "project": Project.id == self.project_id,
        }[subject]  # fmt: skip
        with self.registry.reading() as session:
            return str(session.scalars(select(column).where(key)).one())

    def life(self, subject: str) -> list[str]:
        return life_of(self.registry, subject, self.name(subject))


def life_of(registry: Registry, subject: str, name: str) -> list[str]:
    """The states of a subject as they were recorded; each step must begin where the last one ended."""
    with registry.reading() as session:
        rows = session.execute(
            select(
                StateTransition.sequence,
                StateTransition.from_state,
                StateTransition.to_state,
                StateTransition.is_terminal,
            )
            .where(StateTransition.subject_type == subject, StateTransition.subject_id == name)
            .order_by(StateTransition.sequence)
        ).all()
    states = [row[2] for row in rows]
    # A task's first state may be told by its `queued_at` alone.
    untold = subject == "task" and (not rows or rows[0][1] is not None)
    born = ["QUEUED"] if untold else [None]
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert [row[1] for row in rows] == [*born, *states][: len(rows)]
    assert [row[3] for row in rows] == [state in model.ENDS[subject] for state in states]
    return ["QUEUED", *states] if untold else states


def test_the_product_knows_the_machines_of_the_design_and_no_others() -> None:
    """An edge that nobody decided is a way to complete a project that failed."""
    for subject in SUBJECTS:
        edges = {(old, new) for old, successors in lifecycle.MACHINES[subject].items() for new in successors}  # type: ignore[index]
        assert edges == model.EDGES[subject]
        assert lifecycle.TERMINAL[subject] == model.ENDS[subject]  # type: ignore[index]
    assert lifecycle.STARTABLE == model.STARTABLE


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_path_can_be_walked_and_nothing_leaves_its_end(subject: str, registry: Registry) -> None:
    """All of them, one by one, on both databases; at each end every further step is refused and changes nothing."""
    every = list(model.paths(subject))
    assert {edge for path in every for edge in pairwise(path)} == model.EDGES[subject]
    # On PostgreSQL a sample of the project's many paths is enough: the rules are the same code.
    step = 1 if registry.dialect == "sqlite" or len(every) < 20 else max(1, len(every) // 15)
    for path in every[::step]:
        walker = Walker(registry)
        for old, new in pairwise(path):
            assert walker.move(subject, old, new)
        assert walker.life(subject) == list(path)
        end = path[-1]
        for state in model.STATES[subject]:
            with pytest.raises(ValueError, match="never goes from"):
                walker.move(subject, end, state)
        assert walker.state(subject) == end
        if subject != "project":
            table = "project_runs" if subject == "run" else "run_tasks"
            with pytest.raises(DBAPIError), registry.writing() as session:
                session.execute(
                    text(f"UPDATE {table} SET status = 'QUEUED' WHERE run_id = :run"), {"run": walker.run_id}
                )


class Steps(RuleBasedStateMachine):
    """Any caller asks for any step, also from a state that is long past; the model says what must come of it."""

    registry: Registry
    moved = 0

    @initialize()
    def begin(self) -> None:
        self.walker = Walker(self.registry)
        self.lives = {subject: [model.FIRST[subject]] for subject in SUBJECTS}

    @rule(subject=st.sampled_from(SUBJECTS), data=st.data())
    def step(self, subject: str, data: st.DataObject) -> None:
        states = st.sampled_from(model.STATES[subject])
        expected = data.draw(st.one_of(st.just(self.lives[subject][-1]), states))
        likely = sorted(new for old, new in model.EDGES[subject] if old == expected)
        new = data.draw(st.one_of(st.sampled_from(likely), states) if likely else states)
        if (expected, new) not in model.EDGES[subject]:
            with pytest.raises(ValueError, match="never goes from"):
                self.walker.move(subject, expected, new)
        else:
            moves = expected == self.lives[subject][-1]
            assert self.walker.move(subject, expected, new) is moves
            if moves:
                self.lives[subject].append(new)
                type(self).moved += 1

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "lives"):
            return
        assert self.walker.states() == {subject: life[-1] for subject, life in self.lives.items()}

    def teardown(self) -> None:
        """Whole lives at the end: rows of a life are only ever added."""
        for subject, life in getattr(self, "lives", {}).items():
            assert self.walker.life(subject) == life


@pytest.mark.live
def test_any_order_of_steps_does_what_the_model_says(sqlite_registry: Registry) -> None:
    """Two processes that both believe to know the state must not both be right."""
    machine = type("StepsHere", (Steps,), {"registry": sqlite_registry})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
    assert machine.moved > 0, "nothing ever moved"


class Lives(RuleBasedStateMachine):
    """A project through the real actions: planned, approved, started, handed over, completed, held, cancelled, overridden."""

    template: Path
    folder: Path
    executor: ReferencePas
    pas: Any
    done = 0

    @initialize(lane=st.sampled_from([6100, 4202]), attempts=st.sampled_from([1, 2]))
    def begin(self, lane: int, attempts: int) -> None:
        home = self.folder / uuid4().hex
        home.mkdir()
        shutil.copyfile(self.template, home / "registry.db")
        chosen = load_settings({"PLMS_DATA_DIR": str(home), "PLMS_REPORTS_DIR": str(home / "reports")})
        self.registry = Registry.open(chosen.database_url)
        self.clock = Watch()
        self.worked = Worked(self.registry, chosen, self.clock)
        self.desk = Desk(self.registry, clock=self.clock)  # type: ignore[arg-type]  # a clock that the test moves
        tasks = [
            {"key": "a", "name": "first", "lane": lane},
            {"key": "b", "name": "then", "lane": lane, "depends_on": ["a"]},
        ]
        view = self.desk.planned(
            provider=PROVIDER, tasks=tasks, budget={"usd": 1000.0}, max_attempts=attempts, max_active_runs=2
        )
        self.project_id = view.id
        self.desk.estimated(view.id)
        self.is_held = False
        self.seen: dict[tuple[str, str], list[str]] = {}
        self.told: list[tuple[dict[str, Any], str]] = []

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()

    def state(self) -> str:
        with self.registry.reading() as session:
            return str(session.scalars(select(Project.status).where(Project.id == self.project_id)).one())

    def runs(self) -> list[Any]:
        with self.registry.reading() as session:
            return list(
                session.execute(
                    select(ProjectRun.run_id, ProjectRun.status, ProjectRun.validation, ProjectRun.validation_pass_override)
                    .order_by(ProjectRun.id)
                )
            )  # fmt: skip

    def asked(self, action: Any, *, admitted: bool) -> None:
        """Ask for something that must succeed exactly when the model admits it."""
        self.clock.passes(seconds=1)
        refused = None
        try:
            action()
        except PlmsError as error:
            refused = f"{error.code} {error.message}"
        assert (refused is None) == admitted, refused or "done although the model refuses it"
        type(self).done += admitted

    @rule()
    def submit(self) -> None:
        self.asked(
            lambda: deciding.submit_project(
                self.registry, self.project_id, clock=self.clock, ids=self.desk.ids, actor=ANN
            ),
            admitted=self.state() == "planning",
        )  # fmt: skip

    @rule()
    def approve(self) -> None:
        self.asked(lambda: self.desk.approve(self.project_id, BEN), admitted=self.state() == "pending_approval")

    @rule()
    def reject(self) -> None:
        self.asked(
            lambda: deciding.reject_project(
                self.registry, self.project_id, clock=self.clock, ids=self.desk.ids, actor=BEN, reason="not yet"
            ),
            admitted=self.state() == "pending_approval",
        )  # fmt: skip

    @rule(kind=st.sampled_from(["baseline", "hotfix", "rehearsal"]))
    def start(self, kind: str) -> None:
        self.asked(
            lambda: start_run(
                self.registry, clock=self.clock, ids=lambda: str(uuid4()), actor=ANN, world=WORLD, stopped=None,
                request=StartRequest(self.project_id, str(uuid4()), run_kind=kind, write_sandbox=kind == "rehearsal"),
            ),
            admitted=self.state() in model.STARTABLE and not self.is_held,
        )  # fmt: skip

    @rule()
    def hand_over(self) -> None:
        self.clock.passes(seconds=1)
        dispatch_due(self.registry, clock=self.clock, pas=self.pas, holder="here", data_dir=str(self.executor.data_dir))

    @rule(data=st.data(), ok=st.booleans())
    def complete(self, data: st.DataObject, ok: bool) -> None:
        """The executor says that an attempt ended; also of one that it should not work on any more."""
        with self.registry.reading() as session:
            cards = session.execute(
                select(JobCard.run_id, JobCard.task_id, JobCard.attempt, JobCard.lane_id)
                .where(JobCard.state == "SUBMITTED")
                .order_by(JobCard.created_at, JobCard.run_id, JobCard.task_id)
            ).all()
        if cards:
            self.clock.passes(seconds=1)
            run_id, task_id, attempt, lane = data.draw(st.sampled_from([tuple(card) for card in cards]))
            event = ended(
                run_id, task_id, ok=ok, attempt=attempt, at=self.clock.now(), lane=lane, provider=PROVIDER, cost=0.01
            )
            self.told.append((event, uuid4().hex))
            self.worked.tell(event, event_id=self.told[-1][1])

    @precondition(lambda self: getattr(self, "told", []))
    @rule(data=st.data(), anew=st.booleans())
    def deliver_again(self, data: st.DataObject, anew: bool) -> None:
        event, event_id = data.draw(st.sampled_from(self.told))
        self.worked.tell(event, event_id=uuid4().hex if anew else event_id)

    @rule()
    def settle(self) -> None:
        self.clock.passes(seconds=1)
        while settle_due(self.worked.world, holder="here").did_something:
            pass

    @rule(data=st.data())
    def call_off(self, data: st.DataObject) -> None:
        runs = self.runs()
        if runs:
            run_id, status, *_ = data.draw(st.sampled_from([tuple(run) for run in runs]))
            self.asked(
                lambda: cancel_run(self.registry, clock=self.clock, actor=ANN, run_id=run_id, reason="enough"),
                admitted=status not in model.ENDS["run"],
            )

    @rule(hold=st.booleans())
    def hold_or_go_on(self, hold: bool) -> None:
        action: Any = pause_project if hold else resume_project
        why = {"reason": "wait"} if hold else {}
        is_open = self.state() not in model.ENDS["project"]
        self.asked(
            lambda: action(self.registry, self.project_id, clock=self.clock, ids=self.desk.ids, actor=ANN, **why),
            admitted=is_open,
        )
        if is_open:
            self.is_held = hold

    @precondition(lambda self: len(getattr(self, "seen", {})) > 3)
    @rule()
    def cancel(self) -> None:
        state = self.state()
        self.asked(
            lambda: cancel_project(self.registry, self.project_id, clock=self.clock, actor=ANN, reason="no money"),
            admitted=state != "completed",
        )  # fmt: skip
        self.is_held = self.is_held and state == "cancelled"

    @rule(data=st.data(), approve=st.booleans())
    def override(self, data: st.DataObject, approve: bool) -> None:
        """The owner asks, another decides; only a failed verdict of work that ended well can be let pass, and only once."""
        runs = [tuple(run) for run in self.runs()]
        if not runs:
            return
        run_id, status, validation, overridden = data.draw(st.sampled_from(runs))
        given: dict[str, Any] = {"clock": self.clock, "ids": self.desk.ids, "read_log": lambda _path: None}

        def both() -> None:
            decide_verdict.request_kpi_override(self.registry, run_id, actor=ANN, reason="please", teach=False, **given)
            decide_verdict.decide_kpi_override(
                self.registry, run_id, actor=BEN, approve=approve, reason="seen", **given
            )

        self.asked(both, admitted=status == "SUCCESS" and validation == "failed" and overridden is None)

    @rule(table=st.sampled_from(["project_runs", "run_tasks"]))
    def tamper(self, table: str) -> None:
        """Somebody edits an ended row by hand: the database refuses, whoever it is."""
        with suppress(DBAPIError), self.registry.writing() as session:
            done = session.execute(
                text(f"UPDATE {table} SET status = 'RUNNING' WHERE status IN ('SUCCESS', 'FAIL', 'SKIPPED')")
            )
            assert done.rowcount == 0  # type: ignore[attr-defined]  # of an UPDATE there is one

    @invariant()
    def every_life_is_one_of_the_model(self) -> None:
        if not hasattr(self, "registry"):
            return
        with self.registry.reading() as session:
            tasks = session.execute(select(RunTask.run_id, RunTask.task_id, RunTask.status)).all()
        now = {("project", str(self.project_id)): self.state()}
        now |= {("run", run[0]): run[1] for run in self.runs()}
        now |= {("task", f"{run}/{task}"): status for run, task, status in tasks}
        for (subject, name), status in now.items():
            life = life_of(self.registry, subject, name)
            before = self.seen.get((subject, name), life[:1])
            assert model.is_a_life(subject, life), (subject, name, life)
            assert life[: len(before)] == before, "a life was rewritten"
            assert life[-1] == status
            if before[-1] in model.ENDS[subject]:
                assert life == before, "what had ended went on"
            self.seen[subject, name] = life

    @invariant()
    def ends_agree_with_each_other(self) -> None:
        if not hasattr(self, "registry"):
            return
        with self.registry.reading() as session:
            tasks = session.execute(select(RunTask.run_id, RunTask.status)).all()
            kinds = {row[0]: row[1] for row in session.execute(select(ProjectRun.run_id, ProjectRun.run_kind))}
        runs = self.runs()
        for run_id, status, validation, _ in runs:
            mine = {state for run, state in tasks if run == run_id}
            if status == "SUCCESS":
                assert mine == {"SUCCESS"}
                assert validation in ("passed", "failed", "ungated")
            if status in model.ENDS["run"]:
                assert mine <= model.ENDS["task"], "a run ended before its tasks"
            if status == "QUEUED":
                assert mine <= {"QUEUED", "SKIPPED"}
        work = [run for run in runs if kinds[run[0]] != "rehearsal"]
        if self.state() == "completed":
            good = [run for run in work if run[1] == "SUCCESS" and (run[2] != "failed" or run[3])]
            assert good, "a project completed without good work"
        if self.state() in ("validating", "needs_review", "completed"):
            assert work, "a rehearsal moved its project"


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module, so slow that it ends nothing by itself."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


@pytest.mark.live
def test_a_project_lives_through_the_real_actions_as_the_model_says(
    executor: ReferencePas, migrated_sqlite: Path, tmp_path: Path
) -> None:
    """Whatever is asked in whatever order: lives are those of the model, and what ended never changes."""
    with executor.client() as pas:
        machine = type(
            "LivesHere", (Lives,), {"template": migrated_sqlite, "folder": tmp_path, "executor": executor, "pas": pas}
        )
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=LIVES,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                # Shrinking lives of real files and a real executor would take an hour; the steps are printed as they are.
                phases=[Phase.explicit, Phase.generate],
                database=None,
            ),
        )
        assert machine.done > 0, "nothing that was asked was admitted"
