"""The work of plans by (lane, provider), and what is believed of it: asked for one project and for all, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, func, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, aliased

from plms_pipeline.registry.tables import EstimateVersion, IntervalCorrection, TaskEstimate, TaskPlan

# Whether a row is of the projects that are asked about, given its column `project_id`.
Belongs = Callable[[InstrumentedAttribute[Any]], ColumnElement[bool]]


def planned_cells(belongs: Belongs, *by: InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    """(…by, lane, provider, tasks, forecast of one task as JSON text) of the tasks without children, in this order."""
    child = aliased(TaskEstimate)
    each = (*by, TaskEstimate.tmd_lane, TaskPlan.provider)
    # One look at the parents: asking for each task whether it has a child would look at all tasks for each of them.
    parents = select(child.parent_task_id).where(belongs(child.project_id), child.parent_task_id.is_not(None))
    return (
        select(*each, func.count(), func.min(type_coerce(TaskPlan.forecast_json, Text)))
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(belongs(TaskPlan.project_id), TaskEstimate.tmd_lane.is_not(None), TaskEstimate.id.not_in(parents))
        .group_by(*each)
        .order_by(*each)
    )


def spending_priors(belongs: Belongs) -> Select[*tuple[Any, ...]]:
    """(lane, provider, newest priors of what is spent, its interval's correction) of every cell of the plans."""
    cell = (
        select(TaskEstimate.tmd_lane.label("lane"), TaskPlan.provider.label("provider"))
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(belongs(TaskPlan.project_id), TaskEstimate.tmd_lane.is_not(None))
        .distinct()
        .subquery()
    )
    correction = (
        select(IntervalCorrection.value)
        .where(
            IntervalCorrection.lane_id == cell.c.lane, IntervalCorrection.measure == "cost_usd",
            IntervalCorrection.basis == "spend",
        )
        .order_by(IntervalCorrection.day.desc()).limit(1).scalar_subquery()
    )  # fmt: skip
    earlier = aliased(EstimateVersion)
    newest = (
        select(func.max(earlier.id))
        .where(
            earlier.project_id.is_(None), earlier.lane_id == cell.c.lane, earlier.provider_name == cell.c.provider,
            earlier.basis == "spend",
        )
        .scalar_subquery()
    )  # fmt: skip
    return (
        select(
            EstimateVersion.lane_id,
            EstimateVersion.provider_name,
            EstimateVersion.priors_json,
            func.coalesce(correction, 1.0),
        )
        .select_from(cell)
        .join(EstimateVersion, EstimateVersion.id == newest)
        .order_by(EstimateVersion.lane_id, EstimateVersion.provider_name)
    )
