"""How is the portfolio: what runs and waits in each lane, and why does a task wait?

One answer for HTTP, terminal and metadata; the fields of the first two are the sources'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.portfolio.actions.lanes import MOST_NUMBER
from plms_pipeline.portfolio.queueing import Announcement, Facts, Reason, reason
from plms_pipeline.portfolio.store import queue, slots, standings, switches
from plms_pipeline.portfolio.store import status as store
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.portfolio.store.status import Only, WaitingTask
from plms_pipeline.portfolio.switch import reason_in
from plms_pipeline.registry.engine import Registry

MOST_TASKS: Final = 1000
LEVELS: Final = 5


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task that waits, and why. `place` counts from 1 within its project and lane; None until only its turn is missing."""

    task: WaitingTask
    reason: Reason
    place: int | None
    waited_s: float

    @property
    def shown(self) -> dict[str, Any]:
        """As HTTP and `--json` show it."""
        task = self.task
        return {
            "lane_id": task.lane_id, "project_id": task.project_id, "project": task.project_name, "run_id": task.run_id,
            "task_id": task.task_id, "attempt": task.attempt, "priority": level_of(task.priority), "place": self.place,
            "waited_s": round(self.waited_s, 1), "reason": self.reason.code, "detail": self.reason.text,
        }  # fmt: skip


def level_of(priority: float) -> int:
    """A card's priority (0…1) as the sources' level, 1 to 5; the ordinary 0.5 is their default, 3."""
    return 1 + round(min(1.0, max(0.0, priority)) * (LEVELS - 1))


def portfolio_status(registry: Registry, *, clock: Clock) -> dict[str, Any]:
    """What runs and what waits, in the sources' fields: `queued`, `running_by_lane`, totals, `lane_limits`."""
    with registry.reading() as session:
        lanes = store.lanes(session)
        running = store.running(session)
        waiting = store.waiting_by_priority(session)
    tasks: dict[int, list[str]] = {lane.lane_id: [] for lane in lanes}
    for lane_id, _, task_id in running:
        tasks.setdefault(lane_id, []).append(task_id)
    queued = Counter({f"priority_{level}": 0 for level in range(1, LEVELS + 1)})
    for priority, count in waiting:
        queued[f"priority_{level_of(priority)}"] += count
    return {
        "queued": dict(queued),
        "running_by_lane": {
            str(lane.lane_id): {
                "running": len(tasks[lane.lane_id]), "limit": _limit(lane),
                "utilization": round(len(tasks[lane.lane_id]) / _limit(lane), 4) if _limit(lane) else 0.0,
                "tasks": tasks[lane.lane_id],
            }
            for lane in lanes
        },
        "total_queued": sum(queued.values()),
        "total_running": len(running),
        "timestamp": clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "lane_limits": {str(lane.lane_id): _limit(lane) for lane in lanes},
    }  # fmt: skip


def lane_caps(registry: Registry) -> dict[str, Any]:
    """Every lane's cap and description, in the sources' fields."""
    with registry.reading() as session:
        lanes = store.lanes(session)
    return {
        "lanes": {str(lane.lane_id): _limit(lane) for lane in lanes},
        "description": {str(lane.lane_id): lane.description or lane.name for lane in lanes},
    }


def require_known(
    registry: Registry, *, lane_id: int | None = None, project_id: int | None = None, run_id: str | None = None
) -> None:
    """Refuse to look at the queue of what does not exist: it would look as if nothing waited there.

    Raises:
        NotFound: there is no such lane, project or run (`lane_not_found`, `project_not_found`, `run_not_found`).
    """
    asked = (
        ("lane", lane_id, "`plms lanes list` and GET /api/portfolio/lanes"),
        ("project", project_id, "`plms project list` and GET /api/projects"),
    )
    with registry.reading() as session:
        for kind, number, where in asked:
            # A number that no column holds is nobody's, and a database would fail on it.
            if number is not None and not (
                0 <= number <= MOST_NUMBER and switches.has_subject(session, kind, str(number))
            ):
                raise NotFound(f"There is no {kind} {number}; {where} show those that exist.", code=f"{kind}_not_found")
        if run_id is not None and not queue.has_run(session, run_id):
            raise NotFound(
                f"There is no run {run_id[:80]!r}; give the whole id, as `plms run list --json` and GET /api/runs show it.",
                code="run_not_found",
            )


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane with its limit and what holds its slots, whosever it is, and how much of what was asked for waits there."""

    lane_id: int
    taken: int
    limit: int
    waiting: int


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """How many of the tasks that were asked for run and wait, and the lanes that concern them."""

    running: int
    waiting: int
    lanes: tuple[LaneLoad, ...]


def queue_totals(
    registry: Registry, *, lane_id: int | None = None, project_id: int | None = None, run_id: str | None = None
) -> QueueTotals:
    """What runs and waits of a lane, a project or a run, however long the list of it is.

    Asked for everything, every lane is told in which anything may run, runs or waits; else those in which any of it does.
    """
    only = Only(lane_id, project_id, run_id)
    with registry.reading() as session:
        lanes, taken = store.lanes(session), slots.open_counts(session)
        running, waiting = store.running_by_lane(session, only), store.waiting_by_lane(session, only)
    loads = [
        LaneLoad(lane.lane_id, taken.get(lane_resource(lane.lane_id), 0), _limit(lane), waiting.get(lane.lane_id, 0))
        for lane in lanes
    ]
    wanted = {*running, *waiting, *([] if lane_id is None else [lane_id])}
    if only == Only():
        wanted |= {load.lane_id for load in loads if load.limit or load.taken}
    return QueueTotals(
        sum(running.values()), sum(waiting.values()), tuple(load for load in loads if load.lane_id in wanted)
    )


def queue_of(
    registry: Registry,
    *,
    clock: Clock,
    flag: str | None = None,
    lane_id: int | None = None,
    project_id: int | None = None,
    run_id: str | None = None,
    limit: int = 100,
    max_runs: int | None = None,
) -> list[QueuedTask]:
    """Tasks that wait, each with the first obstacle in its way.

    Args:
        flag: the reason of the kill switch's flag file, or None.
        limit: at most so many, and never more than 1000.
        max_runs: how many runs of all projects the executor is given at once; None: as many as there are.

    Raises:
        BadInput: a number that no lane or project can have.
    """
    _require_numbers(lane_id, project_id)
    now = clock.now()
    with registry.reading() as session:
        tasks = store.waiting_tasks(session, Only(lane_id, project_id, run_id), limit=min(limit, MOST_TASKS))
        announcements = _announcements(session, tasks, max_runs)
        done = store.succeeded(session, {task.run_id for task in tasks if task.depends_on and task.rank is None})
        held, on = store.holds(session), switches.that_are_on(session)
        taken = slots.open_counts(session)
        caps = {lane.lane_id: _limit(lane) for lane in store.lanes(session)}
        books = {lane: standings.book_of(session, lane) for lane in {task.lane_id for task in tasks}}
    places: Counter[tuple[int, int]] = Counter()
    found = []
    for task in tasks:
        place = None
        if task.rank is not None:
            places[task.lane_id, task.project_id] += 1
            place = places[task.lane_id, task.project_id]
        book, refused = books[task.lane_id]
        standing = book.standings.get(task.project_id)
        facts = Facts(
            run_status=task.run_status,
            switch=flag or reason_in(on, project_id=task.project_id, lane_id=task.lane_id),
            hold=_hold(held, task),
            missing=() if task.rank is not None else tuple(
                name for name in task.depends_on if (task.run_id, name) not in done
            ),
            not_before=task.not_before, last_error=task.last_error, holds_slot=task.holds_slot,
            held=taken.get(lane_resource(task.lane_id), 0), cap=caps.get(task.lane_id, 0),
            refused=refused.get(task.project_id), before=(place or 1) - 1,
            owed_ms=standing.owed_ms if standing else 0.0,
            aside_for=None if task.aside_for is None else str(task.aside_for),
            announcement=announcements.get(task.run_id, Announcement()),
        )  # fmt: skip
        found.append(QueuedTask(task, reason(facts, now=now), place, _seconds(task.ready_at or task.created_at, now)))
    return found


def _require_numbers(lane_id: int | None, project_id: int | None) -> None:
    for kind, number, shown in (("lane", lane_id, "lanes"), ("project", project_id, "project")):
        if number is not None and not 0 <= number <= MOST_NUMBER:
            raise BadInput(
                f"{number} is no {kind}'s number: those lie between 0 and {MOST_NUMBER:,}; `plms {shown} list` shows them.",
                code=f"bad_{kind}",
            )


def _announcements(session: Session, tasks: Sequence[WaitingTask], max_runs: int | None) -> dict[str, Announcement]:
    """Run → what is known about its announcement, for the runs that the executor has not taken."""
    queued = {task.run_id: task.project_id for task in tasks if task.run_status != "RUNNING"}
    if not queued:
        return {}
    out, starts = store.runs_out(session), store.starts(session, queued)
    most = store.most_active_runs(session, set(queued.values()))
    found = {}
    for run_id, project in queued.items():
        start = starts.get(run_id)
        about = Announcement(out.get(project, 0), most.get(project, 1), sum(out.values()), max_runs)
        if start is not None:
            about = replace(about, tries=start.tries, due_at=start.due_at, last_error=start.last_error)
        found[run_id] = about
    return found


def _hold(held: dict[tuple[str, str], str], task: WaitingTask) -> str | None:
    subjects = (("project", str(task.project_id)), ("run", task.run_id), ("lane", str(task.lane_id)))
    return next((held[subject] for subject in subjects if subject in held), None)


def _limit(lane: store.LaneRow) -> int:
    return lane.cap if lane.is_active else 0


def _seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
