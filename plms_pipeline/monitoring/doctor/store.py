"""How new is the newest thing in the books, and what can alerts not look at?"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import AlertCheck, TaskReceipt


def newest_moments(session: Session) -> tuple[datetime | None, datetime | None]:
    """When the newest receipt was completed, and when the newest one was recorded; None in empty books."""
    # completed_on leads an index, completed_at alone does not.
    newest_day = select(func.max(TaskReceipt.completed_on)).scalar_subquery()
    completed = session.scalar(select(func.max(TaskReceipt.completed_at)).where(TaskReceipt.completed_on == newest_day))
    newest_row = select(func.max(TaskReceipt.id)).scalar_subquery()
    recorded = session.scalar(select(TaskReceipt.recorded_at).where(TaskReceipt.id == newest_row))
    return completed, recorded


def failing_sources(session: Session) -> list[tuple[str, str]]:
    """(source, why) of what alerts could not look at the last time."""
    rows = session.execute(
        select(AlertCheck.source, AlertCheck.error).where(AlertCheck.error.is_not(None)).order_by(AlertCheck.source)
    )
    return [(source, str(error)) for source, error in rows]
