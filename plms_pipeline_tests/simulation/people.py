"""What people do in the simulated world: plan, start, hold, stop, decide, and set clocks.

Each is the real action behind terminal, HTTP and Dagster jobs; who does it may lose the line at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import insert

from plms_pipeline.access.actors import Actor
from plms_pipeline.letters.actions.deciding import mark_permanent, quarantine, reset_retries
from plms_pipeline.portfolio.actions.guards import end_dead_leases, enforce, finish
from plms_pipeline.portfolio.actions.lanes import set_cap
from plms_pipeline.portfolio.actions.switches import turn_off, turn_on
from plms_pipeline.portfolio.guarding import Refusal
from plms_pipeline.registry.tables import Project, ProjectPolicy, TaskEstimate, TaskPlan
from plms_pipeline.runs.actions.cancel import cancel_run
from plms_pipeline.runs.actions.decide_project import change_budget
from plms_pipeline.runs.actions.project_life import cancel_project, pause_project, resume_project
from plms_pipeline.runs.actions.start import StartPolicy, start_run
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.runs.stopping.actions import resume as resume_stopped
from plms_pipeline_tests.simulation.executor import CAPABILITIES, PROVIDERS
from plms_pipeline_tests.simulation.rules import holds
from plms_pipeline_tests.simulation.world import Process, Room

OWNER = Actor("owner", is_verified=True)
# The two lanes without gates: what a gate measures is a child process, and is tested where gates are.
LANES = (6100, 6101)
CAPS = (2, 3, 1)
ON = "SELECT scope, subject FROM kill_switches WHERE turned_off_at IS NULL AND NOT (scope = 'global' AND subject <> '')"
KEY_KNOWN_S = 80_000.0
PASSPORT = PassportWorld("a" * 40, "3.11.9", "Linux-x86_64", PROVIDERS, CAPABILITIES)
SHAPES: tuple[dict[str, tuple[str, ...]], ...] = (
    {"a": ()}, {"a": (), "b": ()}, {"a": (), "b": ("a",)}, {"a": (), "b": ("a",), "c": ("a",)},
    {"a": (), "b": (), "c": ()},
)  # fmt: skip
_TABLES: tuple[Any, ...] = (Project, ProjectPolicy, TaskEstimate, TaskPlan)
_PROJECT, _POLICY, _ESTIMATE, _PLAN = (insert(table.__table__) for table in _TABLES)
FORECAST = {"cost_usd": {"expected": 0.1, "low": 0.02, "median": 0.08, "high": 0.3}}


def _person(room: Room, number: int = 0) -> Process:
    return room.processes.setdefault(("person", number), Process("person", number))


def plan(room: Room) -> None:
    """Somebody's project is approved."""
    rng, number, now = room.rng, len(room.projects) + 1, room.clock.now()
    with room.registry.writing() as session:
        budget, most = rng.choice((None, Decimal("0.7"), Decimal(2), Decimal(50))), rng.choice((1, 1, 2))
        session.execute(
            _PROJECT,
            {
                "id": number,
                "name": f"project {number}",
                "status": "approved",
                "created_at": now,
                "budget_cost_usd_max": budget,
            },
        )
        policy = {"owner": "owner", "max_active_runs": most, "max_attempts": rng.choice((1, 1, 2)), "updated_at": now}
        session.execute(_POLICY, {"project_id": number, **policy})
        for index, (task, needs) in enumerate(rng.choice(SHAPES).items()):
            # One lane is the popular one.
            place = int(rng.random() < 0.25)
            estimate = {
                "project_id": number, "task_name": f"task {task}", "order_index": index, "tmd_lane": LANES[place],
                "task_kind": "feature", "complexity": "simple", "estimated_tokens": 1500,
            }  # fmt: skip
            made: Any = session.execute(_ESTIMATE, estimate)
            planned = {"provider": tuple(PROVIDERS)[place], "depends_on_json": list(needs), "forecast_json": FORECAST}
            (row,) = made.inserted_primary_key
            session.execute(_PLAN, {"task_estimate_id": row, "project_id": number, "task_key": task, **planned})
    room.projects.append(number)


def start(room: Room) -> None:
    """Somebody starts a run, or repeats a start with its key."""
    if not room.projects:
        return
    rng = room.rng
    # Within the 24 hours for which a key is known.
    known_keys = [each for each in room.starts[-6:] if room.clock.generous_s - each[3] < KEY_KNOWN_S]
    if known_keys and rng.random() < 0.25:
        project, key, kind, _ = rng.choice(known_keys)
    else:
        project, key = rng.choice(room.projects[-3:]), room.new_id()
        kind = rng.choices(("baseline", "rehearsal", "hotfix"), (8, 1, 1))[0]
        room.starts.append((project, key, kind, room.clock.generous_s))
    request = StartRequest(project, key, run_kind=kind, write_sandbox=kind == "rehearsal")

    def action() -> str:
        found = start_run(
            room.seen, clock=room.clock, ids=room.new_id, actor=OWNER, world=PASSPORT, stopped=room.flag, request=request,
            policy=StartPolicy(launcher=room.launcher),
        ).run_id  # fmt: skip
        known, since = room.answered.setdefault(key, (found, room.clock.generous_s))
        # Who slept for longer than keys are known begins another run, as everybody is told.
        is_fresh = room.clock.generous_s - since < KEY_KNOWN_S
        holds("a key starts one run", known == found or not is_fresh, f"key {key}: {known} and {found}")
        return found

    room.act(f"start {project}", _person(room), action)


def life(room: Room) -> None:
    """Somebody holds, resumes or cancels a project or a run."""
    if not room.projects:
        return
    rng, project = room.rng, room.rng.choice(room.projects[-3:])
    given: dict[str, Any] = {"clock": room.clock, "ids": room.new_id, "actor": OWNER}
    what = rng.choices(("pause", "resume", "cancel", "cancel_run"), (3, 5, 1, 4))[0]
    does: dict[str, Callable[[], object]] = {
        "pause": lambda: pause_project(room.seen, project, reason="wait", **given).is_new,
        "resume": lambda: resume_project(room.seen, project, **given).is_new,
        "cancel": lambda: cancel_project(room.seen, project, clock=room.clock, actor=OWNER, reason="enough").is_new,
    }
    if what != "cancel_run":
        room.act(f"{what} {project}", _person(room), does[what])
        return
    # One of those that people look at: at work, or just asked for.
    runs = room.journal.ask(
        "SELECT run_id FROM project_runs WHERE status IN ('QUEUED', 'RUNNING') ORDER BY status DESC, id DESC LIMIT 3"
    )
    if runs:
        _cancel_run(room, str(rng.choice(runs)[0]))


def _cancel_run(room: Room, run: str) -> None:
    room.cancelled.add(run)
    room.act(
        f"cancel {run}", _person(room),
        lambda: cancel_run(room.seen, clock=room.clock, actor=OWNER, run_id=run, reason="enough").has_ended,
    )  # fmt: skip


def switch(room: Room) -> None:
    """Somebody pulls a kill switch, raises the flag, or lets things go on again."""
    rng = room.rng
    given: dict[str, Any] = {"clock": room.clock, "ids": room.new_id, "actor": OWNER, "reason": "look at it"}
    on = room.journal.ask(ON)
    if on and rng.random() < 0.7:
        scope, subject = rng.choice(on)
        off = partial(turn_off, room.seen, scope=scope, subject=subject, **given)
        room.act("switch off", _person(room), off)
        return
    if room.flag is not None:
        room.flag = None
        room.act("resume stopped", _person(room), lambda: resume_stopped(room.seen, **given))
        return
    if rng.random() < 0.2:
        room.flag = "the flag is up"
        return
    if not on and rng.random() < 0.4:
        room.act("resume stopped", _person(room), lambda: resume_stopped(room.seen, **given))
        return
    scope = rng.choice(("global", "lane", "project"))
    subject = {"global": "", "lane": str(rng.choice(LANES)), "project": str(len(room.projects))}[scope]
    room.act(
        f"switch on {scope} {subject}", _person(room),
        lambda: turn_on(room.seen, scope=scope, subject=subject, **given).changed,
    )  # fmt: skip


def manage(room: Room) -> None:
    """Somebody changes a cap or a budget, or decides about a dead letter."""
    rng = room.rng
    given: dict[str, Any] = {"clock": room.clock, "ids": room.new_id, "actor": OWNER, "reason": "as agreed"}
    what = rng.choices(("cap", "budget", "letter"), (1, 1, 2))[0]
    if what == "cap":
        lane, cap = rng.choice(LANES), rng.choice(CAPS)
        room.act(f"cap {lane} {cap}", _person(room), lambda: set_cap(room.seen, lane_id=lane, cap=cap, **given).after)
    elif what == "budget" and room.projects:
        raise_budget(room, rng.choice(room.projects[-3:]), rng.choice((1, 5)))
    else:
        _decide_letter(room)


def _decide_letter(room: Room) -> None:
    letters = room.journal.ask(
        "SELECT letter_id FROM dead_letters WHERE state <> 'done' ORDER BY last_failed_at DESC, letter_id LIMIT 4"
    )
    if not letters:
        return
    given: dict[str, Any] = {"clock": room.clock, "actor": OWNER, "reason": "as agreed"}
    names = [str(name) for (name,) in letters]
    if room.rng.random() < 0.6:
        # What all of them failed of is over: they are due again, together.
        for name in names:
            again = partial(reset_retries, room.seen, name, is_transient=True, **given)
            room.act(f"letter {name[:8]} again", _person(room), again)
        return
    name = room.rng.choice(names)
    does: tuple[Callable[[], object], ...] = (
        lambda: mark_permanent(room.seen, name, **given).state,
        lambda: len(quarantine(room.seen, name=name, **given)),
    )
    room.act(f"letter {name[:8]}", _person(room), room.rng.choice(does))


def raise_budget(room: Room, project: int, by_usd: float) -> None:
    """The owner of a project gives it more money."""
    found = room.journal.ask("SELECT budget_cost_usd_max FROM projects WHERE id = ?", project)
    if not found or found[0][0] is None:
        return
    amount = Decimal(int(found[0][0])) / 1_000_000 + Decimal(str(by_usd))
    room.act(
        f"budget {project} {amount}", _person(room),
        lambda: change_budget(
            room.seen, project, clock=room.clock, ids=room.new_id, actor=OWNER, reason="more to do", budget_usd=amount,
            budget_tokens=None, auth_disabled=True,
        ) and None,
    )  # fmt: skip


def launch(room: Room) -> None:
    """Somebody starts something outside of projects under the launcher's guards, ends it, or dies over it."""
    process = room.process("launcher")
    if process is None:
        return
    lease: str | None = process.memory.get("lease")
    if lease is None:

        def begin() -> object:
            found = enforce(
                room.seen, clock=room.clock, ids=room.new_id, policy=room.launcher, flag=lambda: room.flag, actor=OWNER,
                holder=process.name, cost_usd=Decimal(str(round(room.rng.uniform(0.1, 2.5), 2))), is_dead=room.is_dead,
            )  # fmt: skip
            if isinstance(found, Refusal):
                return found.guard
            process.memory["lease"] = found.lease_id
            return found.lease_id

        room.act("launch", process, begin)
        return

    def end() -> object:
        spent = Decimal(str(round(room.rng.uniform(0, 3), 2)))
        process.memory.pop("lease")
        return finish(room.seen, lease, clock=room.clock, actor=OWNER, spent_usd=spent)

    room.act("finish launch", process, end)


def end_launches(room: Room) -> None:
    """The leases of launchers that died, or took too long, are ended."""
    process = room.process("d")
    if process is not None:
        room.act(
            "end launches", process,
            lambda: end_dead_leases(room.seen, clock=room.clock, is_dead=room.is_dead),
        )  # fmt: skip


def set_clock(room: Room) -> None:
    """Somebody, or a time server, sets the clock: mostly by little, sometimes by an hour, ahead and back again.

    It never goes after the executor's by as much as makes receipts come from the future: those are not believed.
    """
    far = room.rng.random() < 0.2
    room.clock.is_set(room.rng.uniform(0, 3600) if far else room.rng.uniform(-120, 120))


def let_go(room: Room) -> None:
    """In a calm: switches off, holds lifted, everything resumed, budgets raised where they are too small for what waits."""
    given: dict[str, Any] = {"clock": room.clock, "ids": room.new_id, "actor": OWNER}
    room.flag = None
    for scope, subject in room.journal.ask(ON):
        off = partial(turn_off, room.seen, scope=scope, subject=subject, reason="over", **given)
        room.act("switch off", _person(room), off)
    room.act("resume stopped", _person(room), lambda: resume_stopped(room.seen, reason="over", **given))
    give_room(room, 8)
    held = "SELECT DISTINCT subject_id FROM holds WHERE subject_type = 'project' AND lifted_at IS NULL"
    for (project,) in room.journal.ask(held):
        room.act(f"resume {project}", _person(room), partial(resume_project, room.seen, int(project), **given))


def give_room(room: Room, cap: int) -> None:
    """The platform team sets the caps of all lanes."""
    given: dict[str, Any] = {"clock": room.clock, "ids": room.new_id, "actor": OWNER, "reason": "as agreed"}
    for lane in LANES:
        room.act(f"cap {lane} {cap}", _person(room), partial(set_cap, room.seen, lane_id=lane, cap=cap, **given))


def pay(room: Room) -> None:
    """Owners of projects whose queued cards do not fit into what is left give them more; where the project is over, and its
    budget stands, they call off the run: a rehearsal that was asked for before.
    """
    for project, run, status in room.journal.ask(
        "SELECT q.project_id, max(q.run_id), p.status FROM lane_queue q JOIN projects p ON p.id = q.project_id"
        " JOIN ledger_accounts a ON a.account = 'project:' || q.project_id"
        " WHERE a.settled_usd + a.reserved_usd + coalesce(q.reserve_usd, 0) > p.budget_cost_usd_max GROUP BY q.project_id"
    ):
        if status == "completed":
            _cancel_run(room, str(run))
        else:
            raise_budget(room, int(project), 5)
