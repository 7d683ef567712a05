"""What runs and what waits in each lane, and what stands in the way of a task?

Every function takes an open session and only reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.store.slots import LANE
from plms_pipeline.registry.tables import (
    Hold,
    JobCard,
    Lane,
    OutboxEvent,
    Preemption,
    Project,
    ProjectPolicy,
    ProjectRun,
    QueuedCard,
    RunTask,
    Slot,
)

# The effect by which `runs` tells the executor of a run.
START: Final = "start_run"
_ASIDE: Final = and_(Preemption.card_key == JobCard.card_key, Preemption.state == "paused")
# What was put aside for others waits as well as what has not gone out.
_WAITS: Final = and_(
    or_(JobCard.state == "WAITING", Preemption.card_key.is_not(None)), ProjectRun.status.in_(("QUEUED", "RUNNING"))
)


@dataclass(frozen=True, slots=True)
class Only:
    """Which tasks are asked for; None: whatever it is."""

    lane_id: int | None = None
    project_id: int | None = None
    run_id: str | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """On cards and their runs."""
        wanted = (
            (JobCard.lane_id, self.lane_id), (ProjectRun.project_id, self.project_id), (JobCard.run_id, self.run_id)
        )  # fmt: skip
        return [column == value for column, value in wanted if value is not None]


@dataclass(frozen=True, slots=True)
class Start:
    """How a run that waits to be taken stands: how often the executor was told, when it is next, and what went wrong."""

    tries: int
    due_at: datetime
    last_error: str | None


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane as it is configured."""

    lane_id: int
    name: str
    cap: int
    description: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A task that has not gone out. `queued_rank` is None until nothing but its turn keeps it waiting."""

    card_key: str
    lane_id: int
    project_id: int
    project_name: str
    run_id: str
    run_status: str
    task_id: str
    attempt: int
    priority: float
    depends_on: tuple[str, ...]
    last_error: str | None
    created_at: datetime
    ready_at: datetime | None
    not_before: datetime | None
    rank: float | None
    holds_slot: bool
    aside_for: int | None = None


def lanes(session: Session) -> list[LaneRow]:
    """Every lane, by number."""
    rows = session.execute(
        select(Lane.lane_id, Lane.name, Lane.cap, Lane.description, Lane.active).order_by(Lane.lane_id)
    )
    return [LaneRow(*row) for row in rows]


def running(session: Session) -> list[tuple[int, str, str]]:
    """(lane, run, task) of everything that holds a slot, the longest first."""
    rows = session.execute(
        select(Slot.resource, JobCard.run_id, JobCard.task_id)
        .join(JobCard, JobCard.card_key == Slot.subject)
        .where(Slot.state != "RELEASED", Slot.resource.startswith(LANE))
        .order_by(Slot.taken_at, Slot.slot_id)
    )
    return [(int(resource.removeprefix(LANE)), run_id, task_id) for resource, run_id, task_id in rows]


def waiting_by_priority(session: Session) -> list[tuple[float, int]]:
    """(priority, cards that wait), of runs that have not ended."""
    rows = session.execute(
        select(JobCard.priority, func.count())
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .outerjoin(Preemption, _ASIDE)
        .where(_WAITS)
        .group_by(JobCard.priority)
    )
    return [(priority, count) for priority, count in rows]


def waiting_by_lane(session: Session, only: Only) -> dict[int, int]:
    """Lane → cards that wait in it."""
    query = (
        select(JobCard.lane_id, func.count())
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .outerjoin(Preemption, _ASIDE)
        .where(_WAITS)
        .group_by(JobCard.lane_id)
    )
    rows = session.execute(query.where(*only.conditions))
    return {row[0]: row[1] for row in rows}


def running_by_lane(session: Session, only: Only) -> dict[int, int]:
    """Lane → cards that hold a slot of it."""
    query = (
        select(JobCard.lane_id, func.count())
        .join(Slot, Slot.subject == JobCard.card_key)
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .where(Slot.state != "RELEASED", Slot.resource.startswith(LANE))
        .group_by(JobCard.lane_id)
    )
    rows = session.execute(query.where(*only.conditions))
    return {row[0]: row[1] for row in rows}


def starts(session: Session, run_ids: Collection[str]) -> dict[str, Start]:
    """Run → how its announcement to the executor stands, for those that have one to come."""
    found: dict[str, Start] = {}
    ordered = sorted(run_ids)
    for begin in range(0, len(ordered), 900):
        rows = session.execute(
            select(OutboxEvent.subject_id, OutboxEvent.attempts, OutboxEvent.due_at, OutboxEvent.last_error).where(
                OutboxEvent.kind == START, OutboxEvent.subject_id.in_(ordered[begin : begin + 900])
            )
        )
        found |= {run_id: Start(tries, due_at, error) for run_id, tries, due_at, error in rows}
    return found


def runs_out(session: Session) -> dict[int, int]:
    """Project → its runs that the executor has, or was told of."""
    told = (
        select(OutboxEvent.id)
        .where(OutboxEvent.subject_id == ProjectRun.run_id, OutboxEvent.kind == START, OutboxEvent.attempts > 0)
        .exists()
    )
    rows = session.execute(
        select(ProjectRun.project_id, func.sum(case((or_(ProjectRun.status == "RUNNING", told), 1), else_=0)))
        .where(ProjectRun.source == "plms", ProjectRun.status.in_(("QUEUED", "RUNNING")))
        .group_by(ProjectRun.project_id)
    )
    return {project: int(count) for project, count in rows}


def most_active_runs(session: Session, project_ids: Collection[int]) -> dict[int, int]:
    """Project → how many of its runs may be at work at once, where its policy says so."""
    found: dict[int, int] = {}
    ordered = sorted(project_ids)
    for begin in range(0, len(ordered), 900):
        rows = session.execute(
            select(ProjectPolicy.project_id, ProjectPolicy.max_active_runs).where(
                ProjectPolicy.project_id.in_(ordered[begin : begin + 900])
            )
        )
        found |= {row[0]: row[1] for row in rows}
    return found


def waiting_tasks(session: Session, only: Only, *, limit: int) -> list[WaitingTask]:
    """Tasks that have not gone out, those whose turn may be soon first."""
    query = (
        select(
            JobCard.card_key, JobCard.lane_id, ProjectRun.project_id, Project.name, JobCard.run_id, ProjectRun.status,
            JobCard.task_id, JobCard.attempt, JobCard.priority, JobCard.depends_on_json, JobCard.last_error,
            JobCard.created_at, QueuedCard.ready_at, QueuedCard.not_before, QueuedCard.rank, QueuedCard.holds_slot,
            Preemption.for_project_id.label("aside_for"),
        )
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .join(Project, Project.id == ProjectRun.project_id)
        .outerjoin(QueuedCard, QueuedCard.card_key == JobCard.card_key)
        .outerjoin(Preemption, _ASIDE)
        .where(_WAITS)
        .order_by(
            JobCard.lane_id, QueuedCard.rank.is_(None), QueuedCard.is_paused.desc(), QueuedCard.rank.desc(),
            JobCard.created_at, JobCard.task_id,
        )
        .limit(limit)
    )  # fmt: skip
    found = []
    for row in session.execute(query.where(*only.conditions)):
        facts = dict(row._mapping)
        facts |= {"depends_on": tuple(facts.pop("depends_on_json") or ()), "holds_slot": bool(facts["holds_slot"])}
        facts |= {"project_name": facts.pop("name"), "run_status": facts.pop("status")}
        found.append(WaitingTask(**facts))
    return found


def succeeded(session: Session, run_ids: set[str]) -> set[tuple[str, str]]:
    """(run, task) of the tasks that succeeded."""
    found: set[tuple[str, str]] = set()
    ordered = sorted(run_ids)
    for start in range(0, len(ordered), 900):
        rows = session.execute(
            select(RunTask.run_id, RunTask.task_id).where(
                and_(RunTask.run_id.in_(ordered[start : start + 900]), RunTask.status == "SUCCESS")
            )
        )
        found |= {(run_id, task_id) for run_id, task_id in rows}
    return found


def holds(session: Session) -> dict[tuple[str, str], str]:
    """(kind of subject, its id) → why it is paused."""
    rows = session.execute(select(Hold.subject_type, Hold.subject_id, Hold.reason).where(Hold.lifted_at.is_(None)))
    return {(kind, subject): why for kind, subject, why in rows}
