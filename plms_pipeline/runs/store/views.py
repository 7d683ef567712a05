"""What do the read endpoints of a project ask the books?

Few statements each, all of them from an index of the project or its runs: nothing loads a whole project, and sums are made by
the database. The statements are built once: putting one together takes longer than running it, and these are asked again and
again. Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased

from plms_pipeline.registry.tables import (
    Hold,
    KpiReceipt,
    Lane,
    Project,
    ProjectArtifact,
    ProjectRun,
    RunTask,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.runs.starting import moves_project

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


def _is_work() -> ColumnElement[bool]:
    return or_(*(and_(ProjectRun.run_kind == kind, ProjectRun.write_sandbox.is_(sandbox)) for kind, sandbox in _KINDS))


_ZERO: Final = Decimal(0)
_THIS: Final[BindParameter[Any]] = bindparam("project_id")
_WORK: Final = and_(ProjectRun.project_id == _THIS, _is_work())
_RUN: Final[BindParameter[Any]] = bindparam("run_id")
_LANE: Final[BindParameter[Any]] = bindparam("lane_id")

_FACTS: Final = select(
    Project.id, Project.status, Project.budget_cost_usd_max, Project.budget_tokens_max, Project.min_echo_cos,
    Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd,
).where(Project.id == _THIS)  # fmt: skip
_IS_HELD: Final = select(
    exists().where(
        Hold.subject_type == "project", Hold.subject_id == bindparam("project_text"), Hold.lifted_at.is_(None)
    )
)
_ACTUALS: Final = (
    select(
        func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.duration_ms), func.sum(TaskReceipt.cost_usd),
        func.avg(TaskReceipt.echo_cos),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(_WORK)
)  # fmt: skip
_BREAKDOWN: Final = (
    select(
        func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.tokens_input), func.sum(TaskReceipt.tokens_output),
        func.sum(TaskReceipt.tokens_cached), func.sum(TaskReceipt.tokens_reasoning), func.sum(TaskReceipt.energy_kwh),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(_WORK)
)  # fmt: skip
_CHILD: Final = aliased(TaskEstimate)
_CELLS: Final = (
    select(TaskEstimate.tmd_lane, TaskPlan.provider, func.count(), func.min(type_coerce(TaskPlan.forecast_json, Text)))
    .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .where(
        TaskPlan.project_id == _THIS, TaskEstimate.tmd_lane.is_not(None),
        ~exists().where(_CHILD.parent_task_id == TaskEstimate.id),
    )
    .group_by(TaskEstimate.tmd_lane, TaskPlan.provider)
    .order_by(TaskEstimate.tmd_lane, TaskPlan.provider)
)  # fmt: skip
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
        ProjectRun.project_id.in_(bindparam("project_ids", expanding=True)), ProjectRun.source == "plms", _is_work(),
        TaskReceipt.status == "SUCCESS", TaskReceipt.tokens.is_not(None), TaskEstimate.estimated_tokens > 0,
    )
    .group_by(ProjectRun.project_id, TaskReceipt.lane_id, Lane.name)
    .order_by(TaskReceipt.lane_id)
)  # fmt: skip
_ERRORS_IN_LANE: Final = _LANE_ERRORS.where(TaskReceipt.lane_id == _LANE)
_LANE_NAME: Final = select(Lane.name).where(Lane.lane_id == _LANE)
_MAIN_LANE: Final = (
    select(TaskEstimate.tmd_lane)
    .where(TaskEstimate.project_id == _THIS, TaskEstimate.tmd_lane.is_not(None))
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
_NEWEST_WORK: Final = (
    select(ProjectRun.run_id, ProjectRun.status, ProjectRun.validation)
    .where(_WORK)
    .order_by(ProjectRun.id.desc())
    .limit(1)
)
_BY_STATUS: Final = select(RunTask.status, func.count()).where(RunTask.run_id == _RUN).group_by(RunTask.status)
_RUNNING_TASK: Final = (
    select(RunTask.task_id).where(RunTask.run_id == _RUN, RunTask.status == "RUNNING").order_by(RunTask.id).limit(1)
)
_FAILED_GATES: Final = (
    select(KpiReceipt.task_id, KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value, KpiReceipt.kpi_threshold)
    .where(KpiReceipt.run_id == _RUN, ~KpiReceipt.pass_, KpiReceipt.blocks)
    .order_by(KpiReceipt.id)
    .limit(bindparam("most"))
)
_RECEIPTS: Final = (
    select(
        TaskReceipt.id, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskEstimate.task_name,
        TaskReceipt.lane_id, TaskReceipt.provider, TaskReceipt.tokens, TaskReceipt.duration_ms, TaskReceipt.cost_usd,
        TaskReceipt.status, TaskReceipt.completed_at, TaskReceipt.artifacts_path,
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .outerjoin(TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == TaskReceipt.task_id))
    .outerjoin(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .where(ProjectRun.project_id == _THIS, TaskReceipt.id > bindparam("after"))
    .order_by(TaskReceipt.id)
    .limit(bindparam("most"))
)  # fmt: skip
_ARTIFACTS: Final = (
    select(
        ProjectArtifact.id, ProjectArtifact.run_id, ProjectArtifact.artifact_path, ProjectArtifact.artifact_kind,
        ProjectArtifact.size_bytes, ProjectArtifact.sha256,
    )
    .join(ProjectRun, ProjectRun.run_id == ProjectArtifact.run_id)
    .where(ProjectRun.project_id == _THIS, ProjectArtifact.id > bindparam("after"))
    .order_by(ProjectArtifact.id)
    .limit(bindparam("most"))
)  # fmt: skip
_SPENT: Final = (
    select(func.coalesce(func.sum(TaskReceipt.cost_usd), _ZERO))
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(ProjectRun.project_id == _THIS)
)
_ACTIVITY: Final = (
    select(
        func.coalesce(func.sum(case((TaskReceipt.completed_at > bindparam("since"), TaskReceipt.cost_usd))), _ZERO),
        func.coalesce(func.sum(TaskReceipt.cost_usd), _ZERO),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .where(ProjectRun.project_id == _THIS, ProjectRun.status == "RUNNING")
)
_SINCE: Final = select(func.min(ProjectRun.started_at)).where(
    ProjectRun.project_id == _THIS, ProjectRun.status == "RUNNING"
)
_OPEN_TASKS: Final = select(RunTask.task_id).where(RunTask.run_id == _RUN, RunTask.status.in_(("QUEUED", "RUNNING")))
_FORECASTS: Final = select(TaskPlan.task_key, TaskPlan.forecast_json).where(TaskPlan.project_id == _THIS)
_OUTCOMES: Final = (
    select(
        TaskReceipt.lane_id, Lane.name, func.count(),
        func.sum(case((or_(TaskReceipt.status == "FAIL", TaskReceipt.attempt > 1), 1), else_=0)),
    )
    .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
    .join(Lane, Lane.lane_id == TaskReceipt.lane_id)
    .where(_WORK)
    .group_by(TaskReceipt.lane_id, Lane.name)
)  # fmt: skip
_GATES_FAILED: Final = (
    select(KpiReceipt.lane_id, func.count(), func.sum(case((KpiReceipt.pass_, 0), else_=1)))
    .join(ProjectRun, ProjectRun.run_id == KpiReceipt.run_id)
    .where(_WORK, KpiReceipt.blocks)
    .group_by(KpiReceipt.lane_id)
)


def _asked(session: Session, statement: Executable, **values: Any) -> CursorResult[*tuple[Any, ...]]:
    # On the connection: columns need none of what a session does for entities.
    return session.connection().execute(statement, values)


def facts(session: Session, project_id: int) -> ProjectFacts | None:
    """A project, or None."""
    row = _asked(session, _FACTS, project_id=project_id).one_or_none()
    return None if row is None else ProjectFacts(*row)


def is_held(session: Session, project_id: int) -> bool:
    """Whether a project is paused."""
    return bool(_asked(session, _IS_HELD, project_text=str(project_id)).scalar())


def actuals(session: Session, project_id: int) -> Sequence[Any]:
    """(tokens, duration_ms, USD, mean echo) of everything that a project's own work took."""
    return _asked(session, _ACTUALS, project_id=project_id).one()


def breakdown(session: Session, project_id: int) -> Sequence[Any]:
    """(tokens, input, output, cached, reasoning, kWh) of everything that a project's own work took."""
    return _asked(session, _BREAKDOWN, project_id=project_id).one()


def cells(session: Session, project_id: int) -> list[tuple[int, str, int, str | None]]:
    """(lane, provider, tasks, forecast of one task as JSON text) of each (lane, provider) of a plan.

    Tasks of one (lane, provider) are estimated alike; where their texts differ (a corrected lane) one of them stands for all.
    """
    rows = _asked(session, _CELLS, project_id=project_id)
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


def newest_work(session: Session, project_id: int) -> RunFacts | None:
    """The newest run of a project's own work."""
    row = _asked(session, _NEWEST_WORK, project_id=project_id).one_or_none()
    return None if row is None else RunFacts(*row)


def tasks_by_status(session: Session, run_id: str) -> dict[str, int]:
    """How many tasks of a run are in each state."""
    return {row[0]: row[1] for row in _asked(session, _BY_STATUS, run_id=run_id)}


def running_task(session: Session, run_id: str) -> str | None:
    """A task that runs, the first of the plan."""
    task: str | None = _asked(session, _RUNNING_TASK, run_id=run_id).scalar()
    return task


def failed_gates(session: Session, run_id: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """Blocking gates of a run that failed."""
    return [
        {"task_id": task, "lane_id": lane, "kpi_name": name, "kpi_value": value, "kpi_threshold": threshold}
        for task, lane, name, value, threshold in _asked(session, _FAILED_GATES, run_id=run_id, most=limit)
    ]


def receipts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, task, attempt, name, lane, provider, tokens, ms, USD, status, end, artifacts path) in order of id."""
    return _asked(session, _RECEIPTS, project_id=project_id, after=after, most=limit).all()


def artifacts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, path, kind, bytes, SHA-256) of a project's files, in order of id."""
    return _asked(session, _ARTIFACTS, project_id=project_id, after=after, most=limit).all()


def spent_usd(session: Session, project_id: int) -> Decimal:
    """What all runs of a project cost, rehearsals included."""
    return _asked(session, _SPENT, project_id=project_id).scalar() or _ZERO


def activity(
    session: Session, project_id: int, *, now: datetime, window: timedelta
) -> tuple[datetime | None, Decimal, Decimal]:
    """(begin of the oldest run under way, spent in the trailing window, spent by runs under way)."""
    row = _asked(session, _ACTIVITY, project_id=project_id, since=now - window).one()
    return _asked(session, _SINCE, project_id=project_id).scalar(), row[0] or _ZERO, row[1] or _ZERO


def open_tasks(session: Session, run_id: str) -> list[str]:
    """Tasks of a run that have not ended."""
    return list(_asked(session, _OPEN_TASKS, run_id=run_id).scalars())


def forecasts(session: Session, project_id: int, tasks: Sequence[str] | None) -> list[Any]:
    """The forecasts of a project's tasks, or of some of them."""
    wanted = None if tasks is None else frozenset(tasks)
    rows = _asked(session, _FORECASTS, project_id=project_id)
    return [forecast for key, forecast in rows if wanted is None or key in wanted]


def lane_outcomes(session: Session, project_id: int) -> dict[int, tuple[str, int, int]]:
    """Lane → (name, receipts, those that failed or repeated) of a project's own work."""
    return {row[0]: (row[1], row[2], int(row[3])) for row in _asked(session, _OUTCOMES, project_id=project_id)}


def lane_gates_failed(session: Session, project_id: int) -> dict[int, tuple[int, int]]:
    """Lane → (blocking gates measured, those that failed) of a project's own work."""
    return {row[0]: (row[1], int(row[2])) for row in _asked(session, _GATES_FAILED, project_id=project_id)}
