"""Receipts: the book of record of what each task took, and the days they fall on.

Append-only: a trigger refuses UPDATE and DELETE. A correction arrives as another attempt or as a decision, never as an edit.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import BASES, RECEIPT_STATES, one_of
from plms_pipeline.registry.types import Usd, UtcDateTime


class TaskReceipt(Base):
    """What one attempt at one task took. Any measure may be unknown (NULL), none may be negative."""

    __tablename__ = "task_receipts"
    __table_args__ = (
        UniqueConstraint("run_id", "task_id", "attempt"),
        CheckConstraint(one_of("status", RECEIPT_STATES), name="status_is_terminal"),
        CheckConstraint("cost_usd >= 0", name="money_is_not_negative"),
        CheckConstraint("duration_ms >= 0", name="duration_is_not_negative"),
        CheckConstraint(
            "tokens >= 0 AND tokens_input >= 0 AND tokens_output >= 0 AND tokens_cached >= 0 AND tokens_reasoning >= 0",
            name="tokens_are_not_negative",
        ),
        CheckConstraint("attempt >= 1", name="attempts_count_from_one"),
        CheckConstraint("completed_at >= started_at", name="completed_after_started"),
        CheckConstraint("test_pass_rate >= 0 AND test_pass_rate <= 1", name="test_pass_rate_is_a_fraction"),
        Index("ix_task_receipts_completed_on", "completed_on", "completed_at", "natural_key"),
        Index("ix_task_receipts_lane_id_provider_completed_at", "lane_id", "provider", "completed_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"))
    task_id: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    provider: Mapped[str] = mapped_column(String(255))
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    tokens_input: Mapped[int | None] = mapped_column(BigInteger)
    tokens_output: Mapped[int | None] = mapped_column(BigInteger)
    tokens_cached: Mapped[int | None] = mapped_column(BigInteger)
    tokens_reasoning: Mapped[int | None] = mapped_column(BigInteger)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    cost_usd: Mapped[Decimal | None] = mapped_column(Usd)
    energy_kwh: Mapped[float | None] = mapped_column(Float)
    echo_cos: Mapped[float | None] = mapped_column(Float)
    test_pass_rate: Mapped[float | None] = mapped_column(Float)
    api_calls: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_on: Mapped[date] = mapped_column(Date)
    time_precision: Mapped[str] = mapped_column(String(8), default="ms", server_default="ms")
    natural_key: Mapped[str] = mapped_column(String(512))
    artifacts_path: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(String(64))
    source_file_sha256: Mapped[str | None] = mapped_column(String(64))
    row_sha256: Mapped[str] = mapped_column(String(64))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReceiptDay(Base):
    """One UTC day of receipts and which of its changes the file and the summaries already hold.

    A writer of receipts (or of anything that moves a receipt in or out of a basis) adds one to `changed_seq` in its own
    transaction. The file is stale while `written_seq < changed_seq`, the summaries while `summarised_seq < changed_seq`:
    a change that lands while a day is being rewritten is never lost.
    """

    __tablename__ = "receipt_days"
    __table_args__ = (
        CheckConstraint(
            "written_seq <= changed_seq AND summarised_seq <= changed_seq", name="nothing_ahead_of_the_book"
        ),
    )

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    changed_seq: Mapped[int] = mapped_column(BigInteger, default=1, server_default="1")
    written_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    summarised_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    n_receipts: Mapped[int | None] = mapped_column(Integer)
    rows_sha256: Mapped[str | None] = mapped_column(String(64))
    file_sha256: Mapped[str | None] = mapped_column(String(64))
    path: Mapped[str | None] = mapped_column(Text)
    written_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DaySummary(Base):
    """The summary of one (day, lane, provider, measure, basis): what the priors are folded from."""

    __tablename__ = "day_summaries"
    __table_args__ = (
        CheckConstraint(one_of("basis", BASES), name="basis_is_known"),
        CheckConstraint("n >= 0", name="n_is_not_negative"),
    )

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"), primary_key=True)
    provider: Mapped[str] = mapped_column(String(255), primary_key=True)
    measure: Mapped[str] = mapped_column(String(16), primary_key=True)
    basis: Mapped[str] = mapped_column(String(8), primary_key=True)
    n: Mapped[int] = mapped_column(Integer)
    summary: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[str] = mapped_column(String(64))
