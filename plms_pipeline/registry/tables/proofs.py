"""The nightly proof: how far the books were proven, and the partial indexes that hold every violating row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.estimates import EstimateVersion
from plms_pipeline.registry.tables.kpis import KpiReceipt
from plms_pipeline.registry.tables.plans import Rehearsal
from plms_pipeline.registry.tables.projects import LaneOverride, Project, TaskEstimate
from plms_pipeline.registry.tables.receipts import DaySummary, ReceiptDay, TaskReceipt
from plms_pipeline.registry.tables.runs import ProjectRun, RunTask
from plms_pipeline.registry.types import UtcDateTime
from plms_pipeline.registry.violations import VIOLATIONS


class ProofMark(Base):
    """How far the last clean night got: `table:<name>` with its newest id and row count, `day:<date>` with its change.

    `mark` is the id or `receipt_days.changed_seq` that was proven; `n` the rows counted by then. Written only by a clean
    night, in one transaction, so a broken night leaves the marks where they were and its window is proven again.
    """

    __tablename__ = "proof_marks"

    subject: Mapped[str] = mapped_column(String(128), primary_key=True)
    mark: Mapped[int] = mapped_column(BigInteger)
    n: Mapped[int] = mapped_column(BigInteger)
    proven_at: Mapped[datetime] = mapped_column(UtcDateTime)


_PROVEN = (
    DaySummary, EstimateVersion, KpiReceipt, LaneOverride, Project, ProjectRun, ReceiptDay, Rehearsal, RunTask,
    TaskEstimate, TaskReceipt,
)  # fmt: skip


def _declare_indexes() -> None:
    keys = {model.__tablename__: model.__mapper__.primary_key for model in _PROVEN}
    for violation in VIOLATIONS.values():
        Index(
            violation.index,
            *keys[violation.table],
            sqlite_where=text(violation.on("sqlite")),
            postgresql_where=text(violation.on("postgresql")),
        )


_declare_indexes()
