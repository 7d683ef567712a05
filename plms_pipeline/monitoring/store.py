"""What do the books hold at an instant? Read-only counts for the report."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lane, Project, ProjectRun, TaskReceipt


def totals(session: Session, *, as_of: datetime) -> dict[str, Any]:
    """Counts of receipts by source, with the first and last UTC day, and of projects, as they stood at `as_of`.

    A project that was brought in later with its history counts from its first run: when its row was made says only when
    it was imported.
    """
    has_run = select(ProjectRun.id).where(
        ProjectRun.project_id == Project.id, or_(ProjectRun.started_at <= as_of, ProjectRun.completed_at <= as_of)
    )
    by_source = session.execute(
        select(
            TaskReceipt.source,
            func.count(),
            func.min(TaskReceipt.completed_on),
            func.max(TaskReceipt.completed_on),
        )
        .where(TaskReceipt.completed_at <= as_of)
        .group_by(TaskReceipt.source)
        .order_by(TaskReceipt.source)
    ).all()
    return {
        "receipts": sum(row[1] for row in by_source),
        "receipts_by_source": {row[0]: row[1] for row in by_source},
        "first_day": min((row[2].isoformat() for row in by_source), default=None),
        "last_day": max((row[3].isoformat() for row in by_source), default=None),
        "projects": session.scalar(
            select(func.count()).select_from(Project).where(or_(Project.created_at <= as_of, has_run.exists()))
        ),
    }


def lane_names(session: Session) -> dict[int, str]:
    """Lane id → name."""
    return {row.lane_id: row.name for row in session.execute(select(Lane.lane_id, Lane.name))}
