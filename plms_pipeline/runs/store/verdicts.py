"""What do the books say about the verdict of a run and about the lane of a task?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    KpiReceipt,
    Lane,
    LaneOverride,
    ProjectRun,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)
from plms_pipeline.runs.verdicts import KpiRow, RunVerdict


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """One row of `lane_overrides`."""

    task_id: int
    task_description: str | None
    predicted_lane: int
    corrected_lane: int
    corrected_by: str
    corrected_at: datetime


def run_verdict(session: Session, run_id: str, *, lock: bool = False) -> RunVerdict | None:
    """The verdict of a run as it stands; with `lock`, nobody else changes the run until the transaction ends."""
    query = select(ProjectRun).where(ProjectRun.run_id == run_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        return None
    return RunVerdict(
        row.run_id, row.project_id, row.run_kind, row.status, row.validation, row.validation_pass_override,
        row.override_reason, row.overridden_by, row.overridden_at, row.override_teaches,
    )  # fmt: skip


def newest_real_run(session: Session, project_id: int) -> str | None:
    """The newest run of a project that is its work: a baseline or hotfix outside the sandbox."""
    return session.scalar(
        select(ProjectRun.run_id)
        .where(
            ProjectRun.project_id == project_id, ProjectRun.run_kind.in_(("baseline", "hotfix")),
            ProjectRun.write_sandbox.is_(False),
        )
        .order_by(ProjectRun.id.desc())
        .limit(1)
    )  # fmt: skip


def kpi_rows(session: Session, run_id: str) -> list[KpiRow]:
    """What the gates of a run measured: of each task the newest evaluation, by task and KPI."""
    rows = session.scalars(
        select(KpiReceipt)
        .where(KpiReceipt.run_id == run_id)
        .order_by(KpiReceipt.measured_at, KpiReceipt.id)
        .execution_options(populate_existing=True)
    )
    newest: dict[str | None, list[KpiReceipt]] = {}
    for row in rows:
        known = newest.get(row.task_id)
        if known is None or known[0].evaluation_id != row.evaluation_id:
            newest[row.task_id] = [row]
        else:
            known.append(row)
    found = [
        KpiRow(
            row.task_id, row.lane_id, row.kpi_name, row.kpi_value, row.kpi_threshold, row.pass_, row.blocks, row.reason,
            row.artifact_sha256, row.logs_path,
        )
        for group in newest.values()
        for row in group
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.task_id or "", one.kpi))


def override_verdict(
    session: Session, run_id: str, *, passes: bool, reason: str, actor: str, at: datetime, teaches: bool
) -> None:
    """Fill the override columns of the guide; a trigger marks the days of the run's receipts."""
    session.execute(
        update(ProjectRun)
        .where(ProjectRun.run_id == run_id)
        .values(
            validation_pass_override=passes, override_reason=reason, overridden_by=actor[:255], overridden_at=at,
            override_teaches=teaches,
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def lock_lane(session: Session, lane_id: int) -> None:
    """Let nobody else decide about a lane until the transaction ends."""
    session.execute(select(Lane.lane_id).where(Lane.lane_id == lane_id).with_for_update())


def days_of_lane(session: Session, lane_id: int) -> list[date]:
    """The UTC days on which a lane has receipts, in order."""
    query = select(TaskReceipt.completed_on).where(TaskReceipt.lane_id == lane_id).distinct()
    return sorted(session.scalars(query))


def override_lane(
    session: Session, task_id: int, *, predicted: int, corrected: int, description: str, actor: str, at: datetime,
    formula: str | None,
) -> None:  # fmt: skip
    """Move a planned task to another lane, and keep that a person did so."""
    session.add(
        LaneOverride(
            task_estimate_id=task_id, task_description=description, predicted_lane=predicted, corrected_lane=corrected,
            corrected_by=actor[:255], corrected_at=at,
        )
    )  # fmt: skip
    session.flush()
    session.execute(
        update(TaskEstimate)
        .where(TaskEstimate.id == task_id)
        .values(tmd_lane=corrected, kpi_formula=formula)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(TaskPlan)
        .where(TaskPlan.task_estimate_id == task_id)
        .values(lane_source="override", lane_confidence=None)
        .execution_options(synchronize_session=False)
    )


def overrides_of(session: Session, project_id: int) -> list[OverrideRow]:
    """The corrected lanes of a project's tasks, newest first."""
    rows = session.scalars(
        select(LaneOverride)
        .join(TaskEstimate, TaskEstimate.id == LaneOverride.task_estimate_id)
        .where(TaskEstimate.project_id == project_id)
        .order_by(LaneOverride.corrected_at.desc(), LaneOverride.id.desc())
    )
    return [
        OverrideRow(
            row.task_estimate_id, row.task_description, row.predicted_lane, row.corrected_lane, row.corrected_by,
            row.corrected_at,
        )
        for row in rows
    ]  # fmt: skip


def corrected_tasks(session: Session) -> list[tuple[str, str | None, str | None, int]]:
    """(name, description, kind, lane) of every task whose lane a person corrected, by the newest correction."""
    newest: Any = select(func.max(LaneOverride.id)).group_by(LaneOverride.task_estimate_id)
    rows = session.execute(
        select(
            TaskEstimate.task_name, TaskEstimate.task_description, TaskEstimate.task_kind, LaneOverride.corrected_lane
        )
        .join(TaskEstimate, TaskEstimate.id == LaneOverride.task_estimate_id)
        .where(LaneOverride.id.in_(newest))
        .order_by(LaneOverride.id)
    )
    return [(name, description, kind, lane) for name, description, kind, lane in rows]
