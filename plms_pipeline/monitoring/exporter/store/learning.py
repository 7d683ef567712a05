"""How far did what was estimated lie from what it took, and how large is the book?"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, select, text
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import TaskEstimate, TaskPlan, TaskReceipt

# Of the newest receipts; a week of a busy installation has far more, and their mean error is the same.
NEWEST: Final = 20_000


def token_errors(session: Session, since: datetime) -> dict[str, float]:
    """Lane → sum of |taken - estimated| by sum of estimated tokens, of successful attempts of ours that completed since."""
    newest = (
        select(
            TaskReceipt.project_id, TaskReceipt.task_id, TaskReceipt.lane_id, TaskReceipt.tokens,
        )
        .where(
            TaskReceipt.source == "plms", TaskReceipt.status == "SUCCESS", TaskReceipt.tokens.is_not(None),
            TaskReceipt.completed_on >= since.date(), TaskReceipt.completed_at >= since,
        )
        .order_by(TaskReceipt.id.desc())
        .limit(NEWEST)
        .subquery()
    )  # fmt: skip
    estimated = TaskEstimate.estimated_tokens
    rows = session.execute(
        select(newest.c.lane_id, func.sum(func.abs(newest.c.tokens - estimated)), func.sum(estimated))
        .join(TaskPlan, and_(TaskPlan.project_id == newest.c.project_id, TaskPlan.task_key == newest.c.task_id))
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .where(estimated > 0)
        .group_by(newest.c.lane_id)
    )
    return {str(lane): float(error) / float(total) for lane, error, total in rows}


def size_bytes(session: Session) -> int:
    """How large the database is."""
    asked = "SELECT pg_database_size(current_database())"
    if session.get_bind().dialect.name == "sqlite":
        asked = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    return int(session.scalar(text(asked)) or 0)
