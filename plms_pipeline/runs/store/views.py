"""What do the read endpoints of a project ask the books?

Few statements each, all of them from an index of the project or its runs: nothing loads a whole project, and sums are made by
the database. Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, exists, func, or_, select, type_coerce
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


def facts(session: Session, project_id: int) -> ProjectFacts | None:
    """A project, or None."""
    row = session.execute(
        select(
            Project.id, Project.status, Project.budget_cost_usd_max, Project.budget_tokens_max, Project.min_echo_cos,
            Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd,
        ).where(Project.id == project_id)
    ).one_or_none()  # fmt: skip
    return None if row is None else ProjectFacts(*row)


def is_held(session: Session, project_id: int) -> bool:
    """Whether a project is paused."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    Hold.subject_type == "project", Hold.subject_id == str(project_id), Hold.lifted_at.is_(None)
                )
            )
        )
    )


def actuals(session: Session, project_id: int) -> Sequence[Any]:
    """(tokens, duration_ms, USD, mean echo) of everything that a project's own work took."""
    return session.execute(
        select(
            func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.duration_ms), func.sum(TaskReceipt.cost_usd),
            func.avg(TaskReceipt.echo_cos),
        )
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id, _is_work())
    ).one()  # fmt: skip


def breakdown(session: Session, project_id: int) -> Sequence[Any]:
    """(tokens, input, output, cached, reasoning, kWh) of everything that a project's own work took."""
    return session.execute(
        select(
            func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.tokens_input), func.sum(TaskReceipt.tokens_output),
            func.sum(TaskReceipt.tokens_cached), func.sum(TaskReceipt.tokens_reasoning), func.sum(TaskReceipt.energy_kwh),
        )
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id, _is_work())
    ).one()  # fmt: skip


def cells(session: Session, project_id: int) -> list[tuple[int, str, int, str | None]]:
    """(lane, provider, tasks, forecast of one task as JSON text) of each (lane, provider) of a plan.

    Tasks of one (lane, provider) are estimated alike; where their texts differ (a corrected lane) one of them stands for all.
    """
    child = aliased(TaskEstimate)
    rows = session.execute(
        select(TaskEstimate.tmd_lane, TaskPlan.provider, func.count(), func.min(type_coerce(TaskPlan.forecast_json, Text)))
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(
            TaskPlan.project_id == project_id, TaskEstimate.tmd_lane.is_not(None),
            ~exists().where(child.parent_task_id == TaskEstimate.id),
        )
        .group_by(TaskEstimate.tmd_lane, TaskPlan.provider)
        .order_by(TaskEstimate.tmd_lane, TaskPlan.provider)
    )  # fmt: skip
    return [(row[0] or 0, row[1], row[2], row[3]) for row in rows]


def lane_errors(session: Session, project_ids: Sequence[int], lane_id: int | None = None) -> dict[int, list[LaneError]]:
    """Per project and lane, how far the tokens of successful tasks lay from their estimates."""
    off = func.abs(TaskReceipt.tokens - TaskEstimate.estimated_tokens)
    query = (
        select(
            ProjectRun.project_id, TaskReceipt.lane_id, Lane.name, func.count(), func.sum(off),
            func.sum(TaskEstimate.estimated_tokens),
        )
        .join(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
        .join(
            TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == TaskReceipt.task_id)
        )
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .join(Lane, Lane.lane_id == TaskReceipt.lane_id)
        .where(
            ProjectRun.project_id.in_(project_ids), ProjectRun.source == "plms", _is_work(), TaskReceipt.status == "SUCCESS",
            TaskReceipt.tokens.is_not(None), TaskEstimate.estimated_tokens > 0,
        )
        .group_by(ProjectRun.project_id, TaskReceipt.lane_id, Lane.name)
        .order_by(TaskReceipt.lane_id)
    )  # fmt: skip
    if lane_id is not None:
        query = query.where(TaskReceipt.lane_id == lane_id)
    found: dict[int, list[LaneError]] = {}
    for project_id, lane, name, n, error, estimated in session.execute(query):
        found.setdefault(project_id, []).append(LaneError(lane, name, n, float(error), float(estimated)))
    return found


def lane_name(session: Session, lane_id: int) -> str | None:
    """The name of a lane, or None."""
    return session.scalar(select(Lane.name).where(Lane.lane_id == lane_id))


def main_lane(session: Session, project_id: int) -> int | None:
    """The lane with most tasks of a plan, or None."""
    return session.scalar(
        select(TaskEstimate.tmd_lane)
        .where(TaskEstimate.project_id == project_id, TaskEstimate.tmd_lane.is_not(None))
        .group_by(TaskEstimate.tmd_lane)
        .order_by(func.count().desc(), TaskEstimate.tmd_lane)
        .limit(1)
    )


def newest_projects(session: Session, lane_id: int, *, limit: int) -> list[int]:
    """The projects of ours that started last and have work in a lane, oldest first."""
    ids = session.scalars(
        select(Project.id)
        .where(
            Project.source == "plms", Project.started_at.is_not(None),
            exists().where(TaskEstimate.project_id == Project.id, TaskEstimate.tmd_lane == lane_id),
        )
        .order_by(Project.started_at.desc(), Project.id.desc())
        .limit(limit)
    )  # fmt: skip
    return list(reversed(list(ids)))


def newest_work(session: Session, project_id: int) -> RunFacts | None:
    """The newest run of a project's own work."""
    row = session.execute(
        select(ProjectRun.run_id, ProjectRun.status, ProjectRun.validation)
        .where(ProjectRun.project_id == project_id, _is_work())
        .order_by(ProjectRun.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else RunFacts(*row)


def tasks_by_status(session: Session, run_id: str) -> dict[str, int]:
    """How many tasks of a run are in each state."""
    rows = session.execute(
        select(RunTask.status, func.count()).where(RunTask.run_id == run_id).group_by(RunTask.status)
    )
    return {row[0]: row[1] for row in rows}


def running_task(session: Session, run_id: str) -> str | None:
    """A task that runs, the first of the plan."""
    return session.scalar(
        select(RunTask.task_id)
        .where(RunTask.run_id == run_id, RunTask.status == "RUNNING")
        .order_by(RunTask.id)
        .limit(1)
    )


def failed_gates(session: Session, run_id: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """Blocking gates of a run that failed."""
    rows = session.execute(
        select(
            KpiReceipt.task_id, KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value, KpiReceipt.kpi_threshold
        )
        .where(KpiReceipt.run_id == run_id, ~KpiReceipt.pass_, KpiReceipt.blocks)
        .order_by(KpiReceipt.id)
        .limit(limit)
    )
    return [
        {"task_id": task, "lane_id": lane, "kpi_name": name, "kpi_value": value, "kpi_threshold": threshold}
        for task, lane, name, value, threshold in rows
    ]


def receipts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, task, attempt, name, lane, provider, tokens, ms, USD, status, end, artifacts path) in order of id."""
    return session.execute(
        select(
            TaskReceipt.id, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt, TaskEstimate.task_name,
            TaskReceipt.lane_id, TaskReceipt.provider, TaskReceipt.tokens, TaskReceipt.duration_ms, TaskReceipt.cost_usd,
            TaskReceipt.status, TaskReceipt.completed_at, TaskReceipt.artifacts_path,
        )
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .outerjoin(TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == TaskReceipt.task_id))
        .outerjoin(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(ProjectRun.project_id == project_id, TaskReceipt.id > after)
        .order_by(TaskReceipt.id)
        .limit(limit)
    ).all()  # fmt: skip


def artifacts(session: Session, project_id: int, *, after: int, limit: int) -> Sequence[Any]:
    """(id, run, path, kind, bytes, SHA-256) of a project's files, in order of id."""
    return session.execute(
        select(
            ProjectArtifact.id, ProjectArtifact.run_id, ProjectArtifact.artifact_path, ProjectArtifact.artifact_kind,
            ProjectArtifact.size_bytes, ProjectArtifact.sha256,
        )
        .join(ProjectRun, ProjectRun.run_id == ProjectArtifact.run_id)
        .where(ProjectRun.project_id == project_id, ProjectArtifact.id > after)
        .order_by(ProjectArtifact.id)
        .limit(limit)
    ).all()  # fmt: skip


def spent_usd(session: Session, project_id: int) -> Decimal:
    """What all runs of a project cost, rehearsals included."""
    return session.scalar(
        select(func.coalesce(func.sum(TaskReceipt.cost_usd), Decimal(0)))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id)
    ) or Decimal(0)


def activity(
    session: Session, project_id: int, *, now: datetime, window: timedelta
) -> tuple[datetime | None, Decimal, Decimal]:
    """(begin of the oldest run under way, spent in the trailing window, spent by runs under way)."""
    zero = Decimal(0)
    row = session.execute(
        select(
            func.coalesce(func.sum(case((TaskReceipt.completed_at > now - window, TaskReceipt.cost_usd))), zero),
            func.coalesce(func.sum(TaskReceipt.cost_usd), zero),
        )
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id, ProjectRun.status == "RUNNING")
    ).one()
    since = session.scalar(
        select(func.min(ProjectRun.started_at)).where(
            ProjectRun.project_id == project_id, ProjectRun.status == "RUNNING"
        )
    )
    return since, row[0] or zero, row[1] or zero


def open_tasks(session: Session, run_id: str) -> list[str]:
    """Tasks of a run that have not ended."""
    return list(
        session.scalars(
            select(RunTask.task_id).where(RunTask.run_id == run_id, RunTask.status.in_(("QUEUED", "RUNNING")))
        )
    )


def forecasts(session: Session, project_id: int, tasks: Sequence[str] | None) -> list[Any]:
    """The forecasts of a project's tasks, or of some of them."""
    query = select(TaskPlan.task_key, TaskPlan.forecast_json).where(TaskPlan.project_id == project_id)
    wanted = None if tasks is None else frozenset(tasks)
    return [forecast for key, forecast in session.execute(query) if wanted is None or key in wanted]


def lane_outcomes(session: Session, project_id: int) -> dict[int, tuple[str, int, int]]:
    """Lane → (name, receipts, those that failed or repeated) of a project's own work."""
    bad = case((or_(TaskReceipt.status == "FAIL", TaskReceipt.attempt > 1), 1), else_=0)
    rows = session.execute(
        select(TaskReceipt.lane_id, Lane.name, func.count(), func.sum(bad))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .join(Lane, Lane.lane_id == TaskReceipt.lane_id)
        .where(ProjectRun.project_id == project_id, _is_work())
        .group_by(TaskReceipt.lane_id, Lane.name)
    )
    return {row[0]: (row[1], row[2], int(row[3])) for row in rows}


def lane_gates_failed(session: Session, project_id: int) -> dict[int, tuple[int, int]]:
    """Lane → (blocking gates measured, those that failed) of a project's own work."""
    rows = session.execute(
        select(KpiReceipt.lane_id, func.count(), func.sum(case((KpiReceipt.pass_, 0), else_=1)))
        .join(ProjectRun, ProjectRun.run_id == KpiReceipt.run_id)
        .where(ProjectRun.project_id == project_id, _is_work(), KpiReceipt.blocks)
        .group_by(KpiReceipt.lane_id)
    )
    return {row[0]: (row[1], int(row[2])) for row in rows}
