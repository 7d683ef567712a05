"""What do the views that are looked at all the time ask the books?

Status and metrics: few statements each, all of them from an index of the project or its newest run. What they answer
stays as the database gave it (`registry.prepared`) until somebody needs its values, so that whoever asked the same before can
see that nothing has changed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Text, and_, cast, exists, func, select, type_coerce
from sqlalchemy.orm import aliased

from plms_pipeline.registry.prepared import Asking, Prepared, Row, Rows
from plms_pipeline.registry.tables import Hold, KpiReceipt, Lane, Project, ProjectRun, RunTask, TaskEstimate, TaskPlan
from plms_pipeline.registry.tables import TaskReceipt as Receipt
from plms_pipeline.runs.store import views
from plms_pipeline.runs.store.views import IS_WORK, RUN, THIS, WORK, LaneError, ProjectFacts, RunFacts

MOST_GATES: Final = 50
_NEWEST: Final = aliased(ProjectRun)
_HELD: Final = exists().where(
    Hold.subject_type == "project", Hold.lifted_at.is_(None),
    Hold.subject_id == cast(Project.id, Hold.subject_id.type),
).correlate(Project)  # fmt: skip
# A project's own columns, whether it is paused, and its newest run: one row, or none.
_HEAD: Final = Prepared(
    select(
        Project.id, Project.status, Project.budget_cost_usd_max, Project.budget_tokens_max, Project.min_echo_cos,
        Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd, _HELD,
        _NEWEST.run_id, _NEWEST.status, _NEWEST.validation,
    )
    .outerjoin(
        _NEWEST,
        _NEWEST.id == select(func.max(ProjectRun.id)).where(WORK).scalar_subquery(),
    )
    .where(Project.id == THIS)
)  # fmt: skip
_ACTUALS: Final = Prepared(views.ACTUALS)
_BREAKDOWN: Final = Prepared(views.BREAKDOWN)
_CELLS: Final = Prepared(views.CELLS)
_LANE_ERRORS: Final = Prepared(
    select(
        Receipt.lane_id, Lane.name, func.count(), func.sum(func.abs(Receipt.tokens - TaskEstimate.estimated_tokens)),
        func.sum(TaskEstimate.estimated_tokens),
    )
    .select_from(ProjectRun)
    .join(Receipt, Receipt.run_id == ProjectRun.run_id)
    .join(TaskPlan, and_(TaskPlan.project_id == ProjectRun.project_id, TaskPlan.task_key == Receipt.task_id))
    .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
    .join(Lane, Lane.lane_id == Receipt.lane_id)
    .where(
        ProjectRun.project_id == THIS, ProjectRun.source == "plms", IS_WORK, Receipt.status == "SUCCESS",
        Receipt.tokens.is_not(None), TaskEstimate.estimated_tokens > 0,
    )
    .group_by(Receipt.lane_id, Lane.name)
    .order_by(Receipt.lane_id)
)  # fmt: skip
_BY_STATUS: Final = Prepared(
    select(RunTask.status, func.count()).where(RunTask.run_id == RUN).group_by(RunTask.status).order_by(RunTask.status)
)
_RUNNING: Final = Prepared(
    select(RunTask.task_id).where(RunTask.run_id == RUN, RunTask.status == "RUNNING").order_by(RunTask.id).limit(1)
)
_GATES: Final = Prepared(
    select(
        KpiReceipt.task_id, KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value,
        type_coerce(KpiReceipt.kpi_threshold, Text),
    )
    .where(KpiReceipt.run_id == RUN, ~KpiReceipt.pass_, KpiReceipt.blocks)
    .order_by(KpiReceipt.id)
    .limit(MOST_GATES)
)  # fmt: skip


class StatusRows(NamedTuple):
    """What the status of a project is made of."""

    dialect: str
    head: Rows
    actuals: Rows
    by_status: Rows
    running: Rows
    gates: Rows
    planned: Rows


class MetricsRows(NamedTuple):
    """What the metrics of a project are made of; what nobody asked for is empty."""

    dialect: str
    head: Rows
    actuals: Rows
    cells: Rows
    errors: Rows
    gates: Rows
    breakdown: Rows


class Head(NamedTuple):
    """A project's own row, whether it is paused, and the newest run that is its own work."""

    project: ProjectFacts
    is_held: bool
    run: RunFacts | None


def status_rows(ask: Asking, project_id: int) -> StatusRows | None:
    """What the status of a project is made of; None when there is no such project."""
    head = ask.rows(_HEAD, project_id=project_id)
    if not head:
        return None
    run_id = _run_of(head)
    return StatusRows(
        ask.dialect,
        head,
        ask.rows(_ACTUALS, project_id=project_id),
        ask.rows(_BY_STATUS, run_id=run_id) if run_id else (),
        ask.rows(_RUNNING, run_id=run_id) if run_id else (),
        ask.rows(_GATES, run_id=run_id) if run_id else (),
        () if run_id else ask.rows(_CELLS, project_id=project_id),
    )


def metrics_rows(ask: Asking, project_id: int, *, with_ci: bool, with_breakdown: bool) -> MetricsRows | None:
    """What the metrics of a project are made of; None when there is no such project."""
    head = ask.rows(_HEAD, project_id=project_id)
    if not head:
        return None
    run_id = _run_of(head) if with_ci else None
    return MetricsRows(
        ask.dialect,
        head,
        ask.rows(_ACTUALS, project_id=project_id),
        ask.rows(_CELLS, project_id=project_id) if with_ci else (),
        ask.rows(_LANE_ERRORS, project_id=project_id) if with_ci else (),
        ask.rows(_GATES, run_id=run_id) if run_id else (),
        ask.rows(_BREAKDOWN, project_id=project_id) if with_breakdown else (),
    )


def head_of(rows: StatusRows | MetricsRows) -> Head:
    """The first row of a view."""
    (row,) = _HEAD.typed(rows.head, rows.dialect)
    run = None if row[9] is None else RunFacts(row[9], row[10], row[11])
    return Head(ProjectFacts(*row[:8]), bool(row[8]), run)


def actuals_of(rows: StatusRows | MetricsRows) -> Row:
    """(tokens, duration_ms, USD, mean echo) of everything that a project's own work took."""
    return _ACTUALS.typed(rows.actuals, rows.dialect)[0]


def breakdown_of(rows: MetricsRows) -> Row | None:
    """(tokens, input, output, cached, reasoning, kWh) of everything that a project's own work took, if asked for."""
    found = _BREAKDOWN.typed(rows.breakdown, rows.dialect)
    return found[0] if found else None


def errors_of(rows: MetricsRows) -> list[LaneError]:
    """Per lane, how far the tokens of successful tasks lay from their estimates."""
    found = _LANE_ERRORS.typed(rows.errors, rows.dialect)
    return [LaneError(lane, name, n, float(error), float(estimated)) for lane, name, n, error, estimated in found]


def _run_of(head: Rows) -> str | None:
    run_id: str | None = head[0][9]
    return run_id
