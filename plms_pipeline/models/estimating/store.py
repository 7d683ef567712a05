"""What is known of tasks before they are done?"""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.models.estimating.book import Kinds
from plms_pipeline.registry.tables import RunTask, TaskReceipt

FETCH_ROWS: Final = 20_000


def kinds_since(session: Session, first: date) -> Kinds:
    """Kind and complexity of every task with a receipt that was completed on a UTC day or later."""
    query = (
        select(RunTask.run_id, RunTask.task_id, RunTask.task_kind, RunTask.complexity)
        .join(TaskReceipt, (TaskReceipt.run_id == RunTask.run_id) & (TaskReceipt.task_id == RunTask.task_id))
        .where(TaskReceipt.completed_on >= first)
        .execution_options(yield_per=FETCH_ROWS)
    )
    return {
        (run, task): (kind or "", complexity or "")
        for part in session.execute(query).partitions(FETCH_ROWS)
        for run, task, kind, complexity in part
    }
