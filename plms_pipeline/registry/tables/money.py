"""The purse: what was reserved, what it took, and what is left, to the micro-dollar.

Entries are append-only and are the record; an account's sums are kept beside them so that an admission reads one row, and an
invariant compares the two.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import LEDGER_KINDS, one_of
from plms_pipeline.registry.types import Usd, UtcDateTime


class LedgerAccount(Base):
    """A budget: `project:42`, `portfolio:2026-03-01`, `launcher:2026-03-01`. No limit: nothing is refused."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        CheckConstraint("settled_usd >= 0 AND reserved_usd >= 0", name="sums_are_not_negative"),
        CheckConstraint("limit_usd >= 0", name="limit_is_not_negative"),
    )

    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    limit_usd: Mapped[Decimal | None] = mapped_column(Usd)
    settled_usd: Mapped[Decimal] = mapped_column(Usd, default=Decimal(0), server_default="0")
    reserved_usd: Mapped[Decimal] = mapped_column(Usd, default=Decimal(0), server_default="0")
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LedgerEntry(Base):
    """One movement of money. Append-only; `entry_key` makes a repeated movement the same one."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint(one_of("kind", LEDGER_KINDS), name="kind_is_known"),
        CheckConstraint("amount_usd >= 0", name="amount_is_not_negative"),
        UniqueConstraint("entry_key"),
        Index("ix_ledger_entries_account_id", "account", "id"),
        Index("ix_ledger_entries_subject", "subject"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    entry_key: Mapped[str] = mapped_column(String(255))
    account: Mapped[str] = mapped_column(ForeignKey("ledger_accounts.account"))
    kind: Mapped[str] = mapped_column(String(16))
    amount_usd: Mapped[Decimal] = mapped_column(Usd)
    subject: Mapped[str] = mapped_column(String(128))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    run_id: Mapped[str | None] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
