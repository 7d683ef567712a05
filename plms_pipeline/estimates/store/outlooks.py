"""Which model of estimates serves, what did it last say, and what is known of tasks? Every function takes an open session."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.estimates.receipts import Kinds
from plms_pipeline.registry.tables import Champion, EstimateOutlook, ReceiptDay, RunTask, TaskReceipt

FAMILY: Final = "estimates"
FETCH_ROWS: Final = 20_000
_PROMOTED: Final = (
    select(Champion.promotion_id, Champion.candidate_id, Champion.model_sha256)
    .where(Champion.family == FAMILY)
    .order_by(Champion.sequence.desc())
    .limit(1)
)


class Promoted(NamedTuple):
    """The newest promotion or rollback."""

    promotion_id: str
    candidate_id: str
    model_sha256: str


class Stored(NamedTuple):
    """An outlook as it was written."""

    as_of: datetime
    sha256: str
    document: str
    changes: int


def promoted(session: Session) -> Promoted | None:
    """Which model of estimates serves; None: none was ever promoted."""
    row = session.execute(_PROMOTED).one_or_none()
    return None if row is None else Promoted(*row)


def outlook_of(session: Session, promotion_id: str) -> Stored | None:
    """What the model of a promotion last said."""
    row = session.execute(
        select(EstimateOutlook.as_of, EstimateOutlook.sha256, EstimateOutlook.document, EstimateOutlook.changes).where(
            EstimateOutlook.promotion_id == promotion_id
        )
    ).one_or_none()
    return None if row is None else Stored(*row)


def changes(session: Session) -> int:
    """How often days of receipts have changed, all together: it only grows."""
    return int(session.scalar(select(func.coalesce(func.sum(ReceiptDay.changed_seq), 0))) or 0)


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
