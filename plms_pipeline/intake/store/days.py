"""Which days of receipts are stale, what do they hold, and what was written of them?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.intake.daycolumns import NAMES
from plms_pipeline.intake.store.importing import insert_into
from plms_pipeline.registry.tables import ProjectRun, ReceiptDay, RunTask, TaskReceipt

FETCH_ROWS: Final = 20_000
# Where a column of the day file is not one of task_receipts.
_ELSEWHERE: Final[dict[str, Any]] = {
    "run_kind": ProjectRun.run_kind,
    "run_status": ProjectRun.status,
    "validation": ProjectRun.validation,
    "verdict_by": ProjectRun.verdict_by,
    "write_sandbox": ProjectRun.write_sandbox,
    "passport_sha256": ProjectRun.passport_sha256,
    "validation_pass_override": ProjectRun.validation_pass_override,
    "override_teaches": ProjectRun.override_teaches,
    "task_kind": RunTask.task_kind,
    "complexity": RunTask.complexity,
}


@dataclass(frozen=True, slots=True)
class DayState:
    """A day as the registry knows it: the change it stands at, and what its file was when last written."""

    day: date
    changed_seq: int = 0
    written_seq: int = 0
    rows_sha256: str | None = None
    file_sha256: str | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether something changed since the file was written, or no file was ever written."""
        return self.written_seq < self.changed_seq or self.file_sha256 is None


def _state(row: ReceiptDay) -> DayState:
    return DayState(row.day, row.changed_seq, row.written_seq, row.rows_sha256, row.file_sha256)


def day_states(session: Session) -> list[DayState]:
    """Every day that ever had a receipt, in order."""
    return [_state(row) for row in session.scalars(select(ReceiptDay).order_by(ReceiptDay.day))]


def day_state(session: Session, day: date) -> DayState:
    """One day; a day without receipts stands at change 0."""
    row = session.get(ReceiptDay, day)
    return _state(row) if row else DayState(day)


def day_rows(session: Session, day: date) -> Iterator[Sequence[Sequence[Any]]]:
    """The receipts of a UTC day with their run's policy columns, in chunks of rows in the order of `NAMES`."""
    columns = [_ELSEWHERE[name] if name in _ELSEWHERE else getattr(TaskReceipt, name) for name in NAMES]
    query = (
        select(*columns)
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .outerjoin(RunTask, (RunTask.run_id == TaskReceipt.run_id) & (RunTask.task_id == TaskReceipt.task_id))
        .where(TaskReceipt.completed_on == day)
        .order_by(TaskReceipt.completed_at)
    )
    result = session.execute(query.execution_options(yield_per=FETCH_ROWS))
    yield from cast("Iterator[Sequence[Sequence[Any]]]", result.partitions(FETCH_ROWS))


def mark_written(
    session: Session,
    day: date,
    seq: int,
    *,
    n_receipts: int,
    rows_sha256: str,
    file_sha256: str,
    path: str,
    at: datetime,
) -> bool:
    """Note that the file holds the day as of change `seq`; False when a newer state was noted already."""
    facts = {
        "written_seq": seq, "n_receipts": n_receipts, "rows_sha256": rows_sha256, "file_sha256": file_sha256,
        "path": path, "written_at": at,
    }  # fmt: skip
    statement = insert_into(session, ReceiptDay).values(day=day, changed_seq=seq, summarised_seq=0, **facts)
    statement = statement.on_conflict_do_update(index_elements=["day"], set_=facts, where=ReceiptDay.written_seq <= seq)
    # RETURNING, because a driver's row count for INSERT is not the same on both databases.
    return session.execute(statement.returning(ReceiptDay.day)).first() is not None
