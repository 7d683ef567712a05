"""One control room with everything that may happen to it, driven by one seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import PlmsError
from plms_pipeline.intake.actions.inbox import accept_event
from plms_pipeline.kpis.actions.world import World, world_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectPolicy, TaskEstimate, TaskPlan
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline.runs.actions.project_life import cancel_project, pause_project, resume_project
from plms_pipeline.runs.actions.reconcile import reconcile_runs
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.simulation.executor import CAPABILITIES, PROVIDERS, Executor, Faults
from plms_pipeline_tests.simulation.seam import Crash, Seam, SeamCalls, SeamRegistry

BEGIN = datetime(2026, 3, 1, 6, tzinfo=UTC)
OWNER = Actor("owner", is_verified=True)
PAS = Actor("pas", is_verified=True)
# The two lanes without gates: what a gate measures is a child process, and is tested where gates are.
LANES = (6100, 6101)
PASSPORT = PassportWorld("a" * 40, "3.11.9", "Linux-x86_64", PROVIDERS, CAPABILITIES)
STORMY = Faults(away=0.03, ambiguous=0.03, failed=0.1, lost=0.1, duplicate=0.15, late=0.1, forged=0.02, outlier=0.03)
CALM = Faults()
SHAPES: tuple[dict[str, tuple[str, ...]], ...] = (
    {"a": ()}, {"a": (), "b": ()}, {"a": (), "b": ("a",)}, {"a": (), "b": ("a",), "c": ("a",)},
)  # fmt: skip


@dataclass
class Clock:
    """The simulated clock; it may jump back a little, as clocks do."""

    at: datetime = BEGIN

    def now(self) -> datetime:
        return self.at


@dataclass
class Room:
    """The control room, its executor, and the chance that rules them."""

    folder: Path
    rng: Random
    registry: Registry
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    seam: Seam = field(default_factory=Seam)
    trace: list[str] = field(default_factory=list)
    crashes: int = 0
    processes: int = 0
    projects: list[int] = field(default_factory=list)
    starts: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.executor = Executor(self.clock.now, Random(self.rng.random()))
        self.ids_rng = Random(self.rng.random())
        self.seen = SeamRegistry.over(self.registry, self.seam)
        self.pas: Any = SeamCalls(self.executor, self.seam)

    @classmethod
    def open(cls, template: Path, folder: Path, seed: int) -> Room:
        """A new room over a copy of a migrated registry."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, folder / "registry.db")
        # On a folder in memory: what a killed process leaves behind is the same, and nobody pulls the plug of this disk.
        settings = load_settings({"PLMS_DATA_DIR": str(folder), "PLMS_REPORTS_DIR": str(folder / "reports")})
        registry = Registry.open(settings.database_url)
        return cls(folder, Random(seed), registry, settings)

    def new_id(self) -> str:
        """The next id of this world's own."""
        return str(UUID(int=self.ids_rng.getrandbits(128), version=4))

    @property
    def world(self) -> World:
        """What settlement reaches the world through."""
        return world_of(
            registry=self.seen, settings=self.settings, clock=self.clock, new_id=self.new_id, elapsed=self._elapsed,
            sleep=lambda _seconds: None,
        )  # fmt: skip

    def passes(self, **span: float) -> None:
        """Time goes on, and the executor works."""
        self.clock.at += timedelta(**span)
        self.executor.work()

    def act(self, name: str, action: Callable[[], object], *, may_die: bool = True) -> object:
        """Do one thing as a process that may die of it; what it is refused is not wrong."""
        dies = may_die and self.rng.random() < 0.12
        self.seam.die_after(self.rng.randrange(12) if dies else None)
        outcome: object = None
        try:
            outcome = action()
            said = "done"
        except Crash:
            self.crashes += 1
            self.processes += 1
            said = "died"
        except PlmsError as error:
            said = error.code
        finally:
            self.seam.die_after(None)
        self.trace.append(f"{self.clock.at.isoformat()} {name} {said} {outcome if said == 'done' else ''}")
        return outcome

    def holder(self) -> str:
        """The name of one of the processes that share the work; one that died comes back under another."""
        return f"host:{self.processes}:{self.rng.randrange(2)}"

    # -- what people do

    def plan(self) -> None:
        """Somebody's project is approved."""
        shape = self.rng.choice(SHAPES)
        number = len(self.projects) + 1
        budget = Decimal(str(self.rng.choice((None, 0.4, 2, 50)) or 0)) or None
        now = self.clock.now()
        with self.registry.writing() as session:
            session.execute(
                insert(Project).values(
                    id=number, name=f"project {number}", status="approved", budget_cost_usd_max=budget, created_at=now,
                )
            )  # fmt: skip
            session.execute(
                insert(ProjectPolicy).values(
                    project_id=number, owner="owner", max_active_runs=self.rng.choice((1, 1, 2)),
                    max_attempts=self.rng.choice((1, 2)), updated_at=now,
                )
            )  # fmt: skip
            for index, (task, needs) in enumerate(shape.items()):
                lane = self.rng.choice(LANES)
                session.execute(
                    insert(TaskEstimate).values(
                        project_id=number, task_name=f"task {task}", order_index=index, tmd_lane=lane, task_kind="feature",
                        complexity="simple", estimated_tokens=1500,
                    )
                )  # fmt: skip
                estimate = session.scalars(select(func.max(TaskEstimate.id))).one()
                session.execute(
                    insert(TaskPlan).values(
                        task_estimate_id=estimate, project_id=number, task_key=task,
                        provider=self.rng.choice(tuple(PROVIDERS)), depends_on_json=list(needs), forecast_json=FORECAST,
                    )
                )  # fmt: skip
        self.projects.append(number)

    def start(self) -> None:
        """Somebody starts a run, or repeats a start with its key."""
        if not self.projects:
            return
        if self.starts and self.rng.random() < 0.2:
            project, key = self.rng.choice(self.starts[-10:])
        else:
            project, key = self.rng.choice(self.projects[-4:]), self.new_id()
            self.starts.append((project, key))
        kind = "rehearsal" if self.rng.random() < 0.1 else "baseline"
        kind = "baseline" if (project, key) in self.starts[:-1] else kind
        self.act(
            f"start {project}",
            lambda: start_run(
                self.seen,
                clock=self.clock,
                ids=self.new_id,
                actor=OWNER,
                world=PASSPORT,
                stopped=self.stopped(),
                request=StartRequest(project, key, run_kind=kind, write_sandbox=kind == "rehearsal"),
            ).body.get("run_id"),
        )

    def stopped(self) -> str | None:
        """The reason of the kill switch."""
        return None

    def decide(self) -> None:
        """Somebody holds, resumes or cancels something."""
        if not self.projects:
            return
        project = self.rng.choice(self.projects[-4:])
        given: dict[str, Any] = {"clock": self.clock, "ids": self.new_id, "actor": OWNER}
        what = self.rng.choices(("pause", "resume", "cancel", "cancel_run"), (3, 5, 1, 2))[0]
        if what == "pause":
            self.act("pause", lambda: pause_project(self.seen, project, reason="wait", **given) and None)
        elif what == "resume":
            self.act("resume", lambda: resume_project(self.seen, project, **given) and None)
        elif what == "cancel":
            self.act("cancel", lambda: cancel_project(self.seen, project, reason="enough", **given) and None)
        else:
            runs = self.open_runs()
            if runs:
                run = self.rng.choice(runs)
                self.act(
                    "cancel_run",
                    lambda: cancel_run(self.seen, clock=self.clock, actor=OWNER, run_id=run, reason="enough") and None,
                )

    def open_runs(self) -> list[str]:
        """Runs that have not ended, oldest first."""
        with self.registry.reading() as session:
            found = session.execute(
                text("SELECT run_id FROM project_runs WHERE status IN ('QUEUED', 'RUNNING') ORDER BY id")
            )
            return [row[0] for row in found]

    def pending(self) -> int:
        """Events that nobody has settled."""
        with self.registry.reading() as session:
            return int(session.execute(text("SELECT count(*) FROM inbox_events WHERE state = 'pending'")).scalar_one())

    # -- what the processes do

    def dispatch(self) -> None:
        """A tick of a dispatcher."""
        holder = self.holder()
        self.act(
            "dispatch",
            lambda: dispatch_due(self.seen, clock=self.clock, pas=self.pas, holder=holder, data_dir=str(self.folder)),
        )

    def deliver(self) -> None:
        """Events arrive, in any order."""
        due = [event for event in self.executor.events if event[0] <= self.clock.now()]
        self.rng.shuffle(due)
        for event in due[: self.rng.randrange(1, 4)]:
            self._arrive(event)

    def _arrive(self, event: tuple[datetime, dict[str, Any]], *, may_die: bool = True) -> None:
        """One event is delivered; the executor keeps it until it hears that it was taken."""
        body = json.dumps(event[1]).encode()
        taken: list[bool] = []

        def accept() -> None:
            accept_event(self.seen, self.clock, endpoint="task_completed", body=body, actor=PAS, event_id=None)
            taken.append(True)

        self.act("deliver", accept, may_die=may_die)
        if taken:
            self.executor.events.remove(event)

    def settle(self) -> None:
        """A settlement."""
        holder = self.holder()
        self.act("settle", lambda: settle_due(self.world, holder=holder))

    def reconcile(self) -> None:
        """Runs under way are compared with the executor's status."""
        self.act(
            "reconcile",
            lambda: reconcile_runs(
                self.seen, settings=self.settings, clock=self.clock, pas=self.pas, elapsed=self._elapsed
            ),
        )

    def jump(self) -> None:
        """The clock is set back."""
        self.clock.at -= timedelta(seconds=self.rng.uniform(0, 5))

    def _elapsed(self) -> float:
        return 0.0

    def calm(self) -> None:
        """Faults cease, holds are lifted, and everybody works until nothing is left to do."""
        self.executor.faults = CALM
        given: dict[str, Any] = {"clock": self.clock, "ids": self.new_id, "actor": OWNER}
        for project in self.projects[-12:]:
            with suppress(PlmsError):
                resume_project(self.registry, project, **given)
        for _ in range(ROUNDS):
            self.passes(hours=2)
            while due := [event for event in self.executor.events if event[0] <= self.clock.now()]:
                for event in due:
                    self._arrive(event, may_die=False)
            for step in (self.dispatch, self.settle, self.reconcile, self.settle, self.dispatch):
                step()
            if not self.open_runs() and not self.executor.events and not self.pending():
                break
        self.executor.faults = STORMY


ROUNDS = 40
FORECAST = {"cost_usd": {"expected": 0.1, "low": 0.02, "median": 0.08, "high": 0.3}}
