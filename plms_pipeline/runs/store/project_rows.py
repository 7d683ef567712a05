"""Which columns make a project as it is shown, and what is made of a row of them?

One list of columns for whoever looks at one project, at a page of them, or at a project inside of its own transaction. JSON
stays text until somebody needs it: the rows of a question that is asked again and again are compared before they are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Text, bindparam, cast, select, type_coerce

from plms_pipeline.registry.prepared import Asking, Prepared, Rows
from plms_pipeline.registry.tables import Hold, Lane, Project, ProjectForecast, ProjectPolicy, TaskEstimate, TaskPlan
from plms_pipeline.runs.project_view import ProjectView, TaskView

# Why a project is paused: the reason of the newest hold on it.
PAUSED: Final = (
    select(Hold.reason)
    .where(
        Hold.subject_type == "project", Hold.lifted_at.is_(None),
        Hold.subject_id == cast(Project.id, Hold.subject_id.type),
    )
    .order_by(Hold.id.desc())
    .limit(1)
    .correlate(Project)
    .scalar_subquery()
)  # fmt: skip
PROJECTS: Final[Any] = select(
    Project.id, Project.name, Project.description, type_coerce(Project.tags, Text), Project.status, PAUSED,
    ProjectPolicy.owner, Project.created_by, Project.source, Project.budget_tokens_max, Project.budget_cost_usd_max,
    Project.breach_policy, Project.min_echo_cos, type_coerce(Project.quality_slo_gates, Text),
    ProjectPolicy.max_active_runs, ProjectPolicy.max_attempts, Project.estimated_tokens,
    Project.estimated_duration_minutes, Project.estimated_cost_usd, Project.actual_tokens,
    Project.actual_duration_minutes, Project.actual_cost_usd, Project.created_at, Project.approved_at,
    Project.started_at, Project.completed_at,
).outerjoin(ProjectPolicy, ProjectPolicy.project_id == Project.id).order_by(Project.id)  # fmt: skip
TASKS: Final[Any] = (
    select(
        TaskEstimate.id, TaskPlan.task_key, TaskEstimate.task_name, TaskEstimate.task_description,
        TaskEstimate.task_kind, TaskEstimate.parent_task_id, TaskEstimate.tmd_lane, Lane.name, TaskPlan.lane_source,
        TaskPlan.lane_confidence, TaskEstimate.store_hint, TaskEstimate.complexity, TaskPlan.provider,
        type_coerce(TaskPlan.depends_on_json, Text), type_coerce(TaskPlan.command_json, Text),
        TaskEstimate.kpi_formula, type_coerce(TaskPlan.payload_json, Text), TaskEstimate.estimated_tokens,
        TaskEstimate.estimated_duration_minutes, TaskEstimate.estimated_cost_usd,
        type_coerce(TaskPlan.forecast_json, Text), TaskEstimate.status, TaskEstimate.project_id,
    )
    .join(TaskPlan, TaskPlan.task_estimate_id == TaskEstimate.id)
    .join(Lane, Lane.lane_id == TaskEstimate.tmd_lane)
)  # fmt: skip
IN_ORDER: Final = (TaskEstimate.order_index, TaskEstimate.id)
FORECASTS: Final[Any] = select(type_coerce(ProjectForecast.forecast_json, Text))

_ONE: Final = Prepared(PROJECTS.where(Project.id == bindparam("project_id")))
_PAGE: Final = Prepared(
    PROJECTS.where(Project.id > bindparam("after"), Project.source == bindparam("source")).limit(bindparam("most"))
)
_TASKS: Final = Prepared(TASKS.where(TaskEstimate.project_id == bindparam("project_id")).order_by(*IN_ORDER))
_FORECAST: Final = Prepared(FORECASTS.where(ProjectForecast.project_id == bindparam("project_id")))


class ProjectRows(NamedTuple):
    """What the books say of one project, or of a page of them, then without tasks and forecast."""

    dialect: str
    projects: Rows
    tasks: Rows = ()
    forecast: Rows = ()

    @property
    def views(self) -> list[ProjectView]:
        """The projects; the tasks and the forecast are those of the first."""
        tasks = tuple(task_of(row) for row in _TASKS.typed(self.tasks, self.dialect))
        forecast = json.loads(self.forecast[0][0]) if self.forecast else None
        return [project_of(row, tasks, forecast) for row in _ONE.typed(self.projects, self.dialect)]


def one_project(ask: Asking, project_id: int) -> ProjectRows:
    """A project with its tasks; without rows when there is none."""
    found = ask.rows(_ONE, project_id=project_id)
    if not found:
        return ProjectRows(ask.dialect, found)
    tasks, forecast = (ask.rows(asked, project_id=project_id) for asked in (_TASKS, _FORECAST))
    return ProjectRows(ask.dialect, found, tasks, forecast)


def page_of_projects(ask: Asking, *, source: str, after: int, limit: int) -> ProjectRows:
    """Projects without their tasks that came from one source, in order of id."""
    return ProjectRows(ask.dialect, ask.rows(_PAGE, source=source, after=after, most=limit))


def project_of(
    row: Any, tasks: tuple[TaskView, ...] = (), forecast: Mapping[str, Any] | None = None
) -> ProjectView:  # fmt: skip
    """A row of `PROJECTS`, with what stands in rows of other tables."""
    (
        number, name, description, tags, status, paused, owner, created_by, source, tokens_max, usd_max, breach,
        min_echo_cos, gates, max_runs, max_attempts, tokens, minutes, usd, took_tokens, took_minutes, took_usd,
        created_at, approved_at, started_at, completed_at,
    ) = row  # fmt: skip
    return ProjectView(
        number, name, description, tuple(json.loads(tags or "null") or ()), status, paused, owner or created_by, created_by,
        source, tokens_max, usd_max, breach, min_echo_cos, json.loads(gates or "null") or {},
        1 if max_runs is None else max_runs, 1 if max_attempts is None else max_attempts, tokens, minutes,
        usd, took_tokens, took_minutes, took_usd, created_at, approved_at, started_at, completed_at, tasks, forecast,
    )  # fmt: skip


def task_of(row: Any) -> TaskView:
    """A row of `TASKS`."""
    (
        number, key, name, description, kind, parent, lane, lane_name, lane_source, confidence, store_hint, complexity,
        provider, depends_on, command, formula, payload, tokens, minutes, usd, forecast, status, _project,
    ) = row  # fmt: skip
    words = json.loads(command or "null")
    return TaskView(
        number, key, name, description, kind, parent, lane or 0, lane_name, lane_source, confidence, store_hint,
        complexity, provider, tuple(json.loads(depends_on or "null") or ()), None if words is None else tuple(words),
        formula, (json.loads(payload or "null") or {}).get("own_formula"), tokens, minutes, usd,
        json.loads(forecast or "null"), status,
    )  # fmt: skip
