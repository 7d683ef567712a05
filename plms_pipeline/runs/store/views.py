"""What do the read endpoints of a project ask the books?

Few statements each, all of them from an index of the project or its runs: nothing loads a whole project, and sums are made by
the database. The statements are built once: putting one together takes longer than running it, and these are asked again and
again. Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    KpiReceipt,
    Lane,
    Project,
    ProjectArtifact,
    ProjectRun,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.runs.starting import moves_project
from plms_pipeline.runs.store.planned import planned_cells

_KINDS = tuple(
    (kind, sandbox) for kind in ("baseline", "rehearsal", "replay", "hotfix") for sandbox in (False, True)
    if moves_project(kind, write_sandbox=sandbox)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project's own row, as far as a view shows it."""

    id: int
    status: str
    budget_usd: Decimal | None
    budget_tokens: int | None
    min_echo_cos: float
    estimated_tokens: int | None
    estimated_minutes: int | None
    estimated_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class LaneError:
    """How far successful tasks of a lane lay from their estimates: sums over `n` of them, in the measure's unit."""

    lane_id: int
    lane_name: str
    n: int
    error: float
    estimated: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The newest run that is a project's own work."""

    run_id: str
    status: str
    validation: str


IS_WORK: Final[ColumnElement[bool]] = or_(
    *(and_(ProjectRun.run_kind == kind, ProjectRun.write_sandbox.is_(sandbox)) for kind, sandbox in _KINDS)
)
_ZERO: Final = Decimal(0)
THIS: Final[BindParameter[Any]] = bindparam("project_id")
WORK: Final = and_(ProjectRun.project_id == THIS, IS_WORK)
RUN: Final[BindParameter[Any]] = bindparam("run_id")
_LANE: Final[BindParameter[Any]] = bindparam("lane_id")

_FACTS: Final = select(
    Project.id, Project.status, Project.budget_cost_usd_max, Project.budget_tokens_max, Project.min_echo_cos,
    Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd,
).where(Project.id == THIS)  # fmt: skip
ACTUALS: Final = (
    select(
        func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.duration_ms), func.sum(TaskReceipt.cost_usd),
        func.avg(TaskReceipt.echo_cos),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(WORK)
)  # fmt: skip
BREAKDOWN: Final = (
    select(
        func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.tokens_input), func.sum(TaskReceipt.tokens_output),
        func.sum(TaskReceipt.tokens_cached), func.sum(TaskReceipt.tokens_reasoning), func.sum(TaskReceipt.energy_kwh),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(WORK)
)  # fmt: skip
CELLS: Final = planned_cells(lambda project_id: project_id == THIS)
_LANE_ERRORS: Final = (
    select(
        ProjectRun.project_id, TaskReceipt.lane_id, Lane.name, func.count(),
        func.sum(func.abs(TaskReceipt.tokens - TaskEstimate.estimated_tokens)), func.sum(TaskEstimate.estimated_tokens),
    )
    .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
    .join(TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == TaskReceipt.task_id))
    .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .join(Lane, Lane.lane_id == TaskReceipt.lane_id)
    .where(
        ProjectRun.project_id.in_(bindparam("project_ids", expanding=True)), ProjectRun.source == "plms", IS_WORK,
        TaskReceipt.status == "SUCCESS", TaskReceipt.tokens.is_not(None), TaskEstimate.estimated_tokens > 0,
    )
    .group_by(ProjectRun.project_id, TaskReceipt.lane_id, Lane.name)
    .order_by(TaskReceipt.lane_id)
)  # fmt: skip
_ERRORS_IN_LANE: Final = _LANE_ERRORS.where(TaskReceipt.lane_id == _LANE)
_LANE_NAME: Final = select(Lane.name).where(Lane.lane_id == _LANE)
_MAIN_LANE: Final = (
    select(TaskEstimate.tmd_lane)
    .where(TaskEstimate.project_id == THIS, TaskEstimate.tmd_lane.is_not(None))
    .group_by(TaskEstimate.tmd_lane)
    .order_by(func.count().desc(), TaskEstimate.tmd_lane)
    .limit(1)
)
_NEWEST_PROJECTS: Final = (
    select(Project.id)
    .where(
        Project.source == "plms", Project.started_at.is_not(None),
        exists().where(TaskEstimate.project_id == Project.id, TaskEstimate.tmd_lane == _LANE),
    )
    .order_by(Project.started_at.desc(), Project.id.desc())
    .limit(bindparam("most"))
)  # fmt: skip
_RECEIPTS: Final = (
    select(
        TaskReceipt.id, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskEstimate.task_name,
        TaskReceipt.lane_id, TaskReceipt.provider, TaskReceipt.tokens, TaskReceipt.duration_ms, TaskReceipt.cost_usd,
        TaskReceipt.status, TaskReceipt.completed_at, TaskReceipt.artifacts_path,
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .outerjoin(TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == TaskReceipt.task_id))
    .outerjoin(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .where(ProjectRun.project_id == THIS, TaskReceipt.id > bindparam("after"))
    .order_by(TaskReceipt.id)
    .limit(bindparam("most"))
)  # fmt: skip
_ARTIFACTS: Final = (
    select(
        ProjectArtifact.id, ProjectArtifact.run_id, ProjectArtifact.artifact_path, ProjectArtifact.artifact_kind,
        ProjectArtifact.size_bytes, ProjectArtifact.sha256,
    )
    .join(ProjectRun, ProjectRun.run_id == ProjectArtifact.run_id)
    .where(ProjectRun.project_id == THIS, ProjectArtifact.id > bindparam("after"))
    .order_by(ProjectArtifact.id)
    .limit(bindparam("most"))
)  # fmt: skip
_OUTCOMES: Final = (
    select(
        TaskReceipt.lane_id, Lane.name, func.count(),
        func.sum(case((or_(TaskReceipt.status == "FAIL", TaskReceipt.attempt > 1), 1), else_=0)),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .join(Lane, Lane.lane_id == TaskReceipt.lane_id)
    .where(WORK)
    .group_by(TaskReceipt.lane_id, Lane.name)
)  # fmt: skip
_GATES_FAILED: Final = (
    select(KpiReceipt.lane_id, func.count(), func.sum(case((KpiReceipt.pass_, 0), else_=1)))
    .join(ProjectRun, ProjectRun.run_id == KpiReceipt.run_id)
    .where(WORK, KpiReceipt.blocks)
    .group_by(KpiReceipt.lane_id)
)


def _asked(session: Session, statement: Executable, **values: Any) -> CursorResult[*tuple[Any, ...]]:
    # On the connection: columns need none of what a session does for entities.
    return session.connection().execute(statement, values)


def facts(session: Session, project_id: int) -> ProjectFacts | None:
    """A project, or None."""
    row = _asked(session, _FACTS, project_id=project_id).one_or_none()
    return None if row is None else ProjectFacts(*row)


def cells(session: Session, project_id: int) -> list[tuple[int, str, int, str | None]]:
    """(lane, provider, tasks, forecast of one task as JSON text) of each (lane, provider) of a plan.

    Tasks of one (lane, provider) are estimated alike; where their texts differ (a corrected lane) one of them stands for all.
    """
    rows = _asked(session, CELLS, project_id=project_id)
    return [(row[0] or 0, row[1], row[2], row[3]) for row in rows]


def lane_errors(session: Session, project_ids: Sequence[int], lane_id: int | None = None) -> dict[int, list[LaneError]]:
    """Per project and lane, how far the tokens of successful tasks lay from their estimates."""
    if lane_id is None:
        rows = _asked(session, _LANE_ERRORS, project_ids=list(project_ids))
    else:
        rows = _asked(session, _ERRORS_IN_LANE, project_ids=list(project_ids), lane_id=lane_id)
    found: dict[int, list[LaneError]] = {}
    for project_id, lane, name, n, error, estimated in rows:
        found.setdefault(project_id, []).append(LaneError(lane, name, n, float(error), float(estimated)))
    return found


def lane_name(session: Session, lane_id: int) -> str | None:
    """The name of a lane, or None."""
    name: str | None = _asked(session, _LANE_NAME, lane_id=lane_id).scalar()
    return name


def main_lane(session: Session, project_id: int) -> int | None:
    """The lane with most tasks of a plan, or None."""
    lane: int | None = _asked(session, _MAIN_LANE, project_id=project_id).scalar()
    return lane


def newest_projects(session: Session, lane_id: int, *, limit: int) -> list[int]:
    """The projects of ours that started last and have work in a lane, oldest first."""
    ids = _asked(session, _NEWEST_PROJECTS, lane_id=lane_id, most=limit).scalars()
    return list(reversed(list(ids)))


def receipts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, task, attempt, name, lane, provider, tokens, ms, USD, status, end, artifacts path) in order of id."""
    return _asked(session, _RECEIPTS, project_id=project_id, after=after, most=limit).all()


def artifacts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, path, kind, bytes, SHA-256) of a project's files, in order of id."""
    return _asked(session, _ARTIFACTS, project_id=project_id, after=after, most=limit).all()


def lane_outcomes(session: Session, project_id: int) -> dict[int, tuple[str, int, int]]:
    """Lane → (name, receipts, those that failed or repeated) of a project's own work."""
    return {row[0]: (row[1], row[2], int(row[3])) for row in _asked(session, _OUTCOMES, project_id=project_id)}


def lane_gates_failed(session: Session, project_id: int) -> dict[int, tuple[int, int]]:
    """Lane → (blocking gates measured, those that failed) of a project's own work."""
    return {row[0]: (row[1], int(row[2])) for row in _asked(session, _GATES_FAILED, project_id=project_id)}
