"""Which rows make a project, and how are they found again?

Every function takes an open session and never commits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Text, insert, select, text, type_coerce, update
from sqlalchemy.orm import Session

from plms_pipeline.intake.store.importing import insert_into
from plms_pipeline.registry.tables import (
    Hold,
    LaneGate,
    Project,
    ProjectForecast,
    ProjectPolicy,
    TaskEstimate,
    TaskPlan,
)
from plms_pipeline.runs.plan import PlannedTask, ProjectPlan
from plms_pipeline.runs.project_view import ProjectView, TaskView
from plms_pipeline.runs.store.project_rows import FORECASTS, IN_ORDER, PROJECTS, TASKS, project_of
from plms_pipeline.runs.store.project_rows import task_of as task_row

SOURCE = "plms"


def insert_project(
    session: Session,
    plan: ProjectPlan,
    *,
    at: datetime,
    actor: str,
    project_id: int | None = None,
    key: str | None = None,
) -> int:
    """Insert a project with its tasks; its id.

    Args:
        project_id: the id that it must have; None: the next one.
        key: what the source calls it, unique; None: nothing.
    """
    project = Project(
        name=plan.name, description=plan.description, tags=list(plan.tags), status="planning", source=SOURCE,
        external_key=key, budget_tokens_max=plan.budget_tokens, budget_cost_usd_max=plan.budget_usd,
        breach_policy=plan.breach_policy, min_echo_cos=plan.min_echo_cos, quality_slo_gates=dict(plan.gates),
        created_at=at, created_by=actor[:255],
    )  # fmt: skip
    if project_id is not None:
        project.id = project_id
    session.add(project)
    session.flush()
    if project_id is not None:
        _pass_ids(session)
    session.add(
        ProjectPolicy(
            project_id=project.id, owner=(plan.owner or actor)[:255], max_active_runs=plan.max_active_runs,
            max_attempts=plan.max_attempts, updated_at=at,
        )
    )  # fmt: skip
    rows = [_estimate_of(project.id, place, task) for place, task in enumerate(plan.tasks)]
    statement = insert(TaskEstimate).returning(TaskEstimate.id, sort_by_parameter_order=True)
    ids = list(session.scalars(statement, rows))
    plans = [_plan_of(project.id, number, task) for number, task in zip(ids, plan.tasks, strict=True)]
    session.execute(insert(TaskPlan), plans)
    return int(project.id)


def _pass_ids(session: Session) -> None:
    """Let the next id be larger than every id that was given by hand; SQLite does so by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT setval(pg_get_serial_sequence('projects', 'id'), (SELECT max(id) FROM projects))"))


def _estimate_of(project_id: int, place: int, task: PlannedTask) -> dict[str, Any]:
    return {
        "project_id": project_id, "task_name": task.name, "task_description": task.description,
        "task_kind": task.kind, "order_index": place, "tmd_lane": task.lane_id, "store_hint": task.store_hint,
        "kpi_formula": task.kpi_formula, "complexity": task.complexity, "status": "pending",
    }  # fmt: skip


def _plan_of(project_id: int, task_estimate_id: int, task: PlannedTask) -> dict[str, Any]:
    return {
        "task_estimate_id": task_estimate_id, "project_id": project_id, "task_key": task.key, "provider": task.provider,
        "depends_on_json": list(task.depends_on), "command_json": None if task.command is None else list(task.command),
        "payload_json": {"own_formula": task.own_formula}, "lane_source": task.lane_source,
        "lane_confidence": task.lane_confidence,
    }  # fmt: skip


def lock_project(session: Session, project_id: int) -> None:
    """Let nobody else change a project until the transaction ends."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())


def view_of(session: Session, project_id: int, *, with_tasks: bool = True) -> ProjectView | None:
    """A project as it stands, or None."""
    found = _views(session, [Project.id == project_id], limit=1)
    if not found or not with_tasks:
        return found[0] if found else None
    view = found[0]
    text_of = session.scalar(FORECASTS.where(ProjectForecast.project_id == project_id))
    forecast = None if text_of is None else json.loads(text_of)
    return ProjectView(**{**_fields(view), "tasks": tuple(tasks_of(session, project_id)), "forecast": forecast})


def paused_views(
    session: Session, *, tags: Sequence[str], after: int, limit: int, source: str | None
) -> list[ProjectView]:
    """Projects on hold, without their tasks, in order of id."""
    held = session.scalars(select(Hold.subject_id).where(Hold.subject_type == "project", Hold.lifted_at.is_(None)))
    ids = [int(subject) for subject in held if subject.isascii() and subject.isdecimal()]
    return _views(session, [*_where(tags, after, source), Project.id.in_(ids)], limit=limit)


def views(
    session: Session, *, status: str | None, tags: Sequence[str], after: int, limit: int, source: str | None
) -> list[ProjectView]:
    """Projects without their tasks, in order of id.

    Args:
        status, source: only those; None: all.
        tags: only those that have every one of these.
        after: only ids above this one.
    """
    where = _where(tags, after, source)
    if status is not None:
        where.append(Project.status == status)
    return _views(session, where, limit=limit)


def _where(tags: Sequence[str], after: int, source: str | None) -> list[Any]:
    where: list[Any] = [Project.id > after]
    if source is not None:
        where.append(Project.source == source)
    # The canonical text of a JSON list holds each tag as a JSON string, so a tag never matches a part of another.
    where += [
        type_coerce(Project.tags, Text).contains(json.dumps(tag, ensure_ascii=False), autoescape=True) for tag in tags
    ]
    return where


def _views(session: Session, where: Sequence[Any], *, limit: int) -> list[ProjectView]:
    return [project_of(row) for row in session.execute(PROJECTS.where(*where).limit(limit))]


def _fields(view: ProjectView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in ProjectView.__dataclass_fields__}


def tasks_of(session: Session, project_id: int) -> list[TaskView]:
    """The planned tasks of a project, in an order in which they can be done."""
    rows = session.execute(TASKS.where(TaskEstimate.project_id == project_id).order_by(*IN_ORDER))
    return [task_row(row) for row in rows]


def task_of(session: Session, task_id: int) -> tuple[int, TaskView] | None:
    """(project id, task) of one planned task, or None."""
    row = session.execute(TASKS.where(TaskEstimate.id == task_id)).one_or_none()
    return None if row is None else (row[-1], task_row(row))


def store_estimates(
    session: Session,
    project_id: int,
    tasks: Sequence[Mapping[str, Any]],
    *,
    tokens: int | None,
    minutes: int | None,
    cost_usd: Decimal | None,
    forecast: Mapping[str, Any],
    at: datetime,
) -> None:
    """Keep what the tasks and the project were estimated to take.

    Args:
        tasks: per task `id`, `tokens`, `minutes`, `cost_usd` and `forecast`.
        tokens, minutes, cost_usd, forecast: of the project.
        at: when it was estimated.
    """
    if tasks:
        session.execute(
            update(TaskEstimate),
            [
                {"id": task["id"], "estimated_tokens": task["tokens"], "estimated_duration_minutes": task["minutes"],
                 "estimated_cost_usd": task["cost_usd"]}
                for task in tasks
            ],
        )  # fmt: skip
        session.execute(
            update(TaskPlan), [{"task_estimate_id": task["id"], "forecast_json": task["forecast"]} for task in tasks]
        )
    values = {
        "estimated_tokens": tokens, "estimated_duration_minutes": minutes, "estimated_cost_usd": cost_usd,
    }  # fmt: skip
    session.execute(_update_project(project_id, values))
    kept = {"forecast_json": dict(forecast), "estimated_at": at}
    statement = insert_into(session, ProjectForecast).values(project_id=project_id, **kept)
    session.execute(statement.on_conflict_do_update(index_elements=["project_id"], set_=kept))


def store_task_estimate(
    session: Session, task_id: int, tokens: int, minutes: int, cost_usd: Decimal, forecast: Mapping[str, Any]
) -> None:
    """Keep what one task is estimated to take."""
    values = {"estimated_tokens": tokens, "estimated_duration_minutes": minutes, "estimated_cost_usd": cost_usd}
    session.execute(update(TaskEstimate), [{"id": task_id, **values}])
    session.execute(update(TaskPlan), [{"task_estimate_id": task_id, "forecast_json": dict(forecast)}])


def change_project(session: Session, project_id: int, **values: Any) -> None:
    """Change columns of a project other than its status."""
    session.execute(_update_project(project_id, values))


def _update_project(project_id: int, values: Mapping[str, Any]) -> Any:
    return (
        update(Project)
        .where(Project.id == project_id)
        .values(dict(values))
        .execution_options(synchronize_session=False)
    )


def change_formulas(session: Session, formulas: Mapping[int, str | None]) -> None:
    """Keep the gates that hold for tasks, by the task's id."""
    if formulas:
        session.execute(
            update(TaskEstimate), [{"id": task_id, "kpi_formula": formula} for task_id, formula in formulas.items()]
        )


def place_hold(session: Session, project_id: int, *, reason: str, actor: str, at: datetime) -> None:
    """Pause a project."""
    session.add(
        Hold(subject_type="project", subject_id=str(project_id), reason=reason, placed_by=actor[:255], placed_at=at)
    )
    session.flush()


def lift_holds(session: Session, project_id: int, *, actor: str, at: datetime) -> int:
    """Lift every open hold of a project; how many there were."""
    changed: Any = session.execute(
        update(Hold)
        .where(Hold.subject_type == "project", Hold.subject_id == str(project_id), Hold.lifted_at.is_(None))
        .values(lifted_by=actor[:255], lifted_at=at)
        .execution_options(synchronize_session=False)
    )
    return int(changed.rowcount)


def id_of_key(session: Session, key: str) -> int | None:
    """The project of ours that carries a key."""
    return session.scalar(select(Project.id).where(Project.source == SOURCE, Project.external_key == key))


def id_is_taken(session: Session, project_id: int) -> bool:
    """Whether any project has an id."""
    return session.scalar(select(Project.id).where(Project.id == project_id)) is not None


def gate_rows(session: Session) -> list[LaneGate]:
    """Every active gate, by lane and KPI."""
    return list(session.scalars(select(LaneGate).where(LaneGate.active).order_by(LaneGate.lane_id, LaneGate.kpi_name)))
