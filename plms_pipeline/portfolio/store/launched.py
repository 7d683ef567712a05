"""Which runs that the launcher's policy let start have ended, and what did they take?"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import ProjectRun, TaskReceipt
from plms_pipeline.registry.tables.vocabulary import TERMINAL_STATES


def ended(session: Session, run_ids: Collection[str]) -> dict[str, Decimal]:
    """Run → what its receipts say that it took, in USD, for those that have ended. Reads only."""
    spent = func.coalesce(func.sum(TaskReceipt.cost_usd), Decimal(0))
    rows = session.execute(
        select(ProjectRun.run_id, spent)
        .outerjoin(TaskReceipt, TaskReceipt.run_id == ProjectRun.run_id)
        .where(ProjectRun.run_id.in_(run_ids), ProjectRun.status.in_(TERMINAL_STATES))
        .group_by(ProjectRun.run_id)
    )
    return {run_id: usd or Decimal(0) for run_id, usd in rows}
