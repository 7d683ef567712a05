"""What was handed to the executor for a run: job cards, other names of the run, and the providers as they were seen.

A card is one attempt at one task; its key is derived from run, task and attempt, so that handing it over twice hands it over
once. The executor's view of a card is copied here only as far as somebody decides by it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import CARD_STATES, LINEAGES, one_of
from plms_pipeline.registry.types import Json, Usd, UtcDateTime


class JobCard(Base):
    """One attempt at one task, as submitted (or to be submitted) to the executor."""

    __tablename__ = "job_cards"
    __table_args__ = (
        UniqueConstraint("run_id", "task_id", "attempt"),
        CheckConstraint(one_of("state", CARD_STATES), name="state_is_known"),
        CheckConstraint("attempt >= 1", name="attempts_count_from_one"),
        CheckConstraint("budget_usd >= 0", name="money_is_not_negative"),
        CheckConstraint("priority >= 0 AND priority <= 1", name="priority_is_a_fraction"),
        Index("ix_job_cards_state_created_at", "state", "created_at"),
        Index("ix_job_cards_lane_id_state", "lane_id", "state"),
    )

    card_key: Mapped[str] = mapped_column(String(36), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"))
    task_id: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    provider: Mapped[str] = mapped_column(String(255))
    priority: Mapped[float] = mapped_column(Float, default=0.5, server_default="0.5")
    budget_usd: Mapped[Decimal | None] = mapped_column(Usd)
    depends_on_json: Mapped[Any] = mapped_column(Json, nullable=True)
    payload_json: Mapped[Any] = mapped_column(Json, nullable=True)
    state: Mapped[str] = mapped_column(String(16), default="WAITING", server_default="WAITING")
    pas_task_id: Mapped[str | None] = mapped_column(String(64))
    submissions: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    submitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_holder: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunAlias(Base):
    """Another name of a run, such as the id that an executor minted for it."""

    __tablename__ = "run_aliases"

    alias: Mapped[str] = mapped_column(String(255), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"), index=True)
    vocabulary: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunLineage(Base):
    """Which run this one repeats, and why."""

    __tablename__ = "run_lineage"
    __table_args__ = (
        CheckConstraint(one_of("relation", LINEAGES), name="relation_is_known"),
        CheckConstraint("run_id <> parent_run_id", name="no_run_is_its_own_parent"),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"), primary_key=True)
    parent_run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"), index=True)
    relation: Mapped[str] = mapped_column(String(16))


class ProviderSnapshot(Base):
    """The providers' versions as the executor stated them at one moment of a run, against the passport's."""

    __tablename__ = "provider_snapshots"
    __table_args__ = (UniqueConstraint("run_id", "moment"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"))
    moment: Mapped[str] = mapped_column(String(32))
    state_json: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    matches: Mapped[bool] = mapped_column(Boolean)
    mismatch: Mapped[str | None] = mapped_column(Text)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
