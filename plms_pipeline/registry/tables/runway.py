"""How a project's money stood, when it was over its budget and what was done about it, and what providers charge.

The history is thinned with age (it is told, never decided by); episodes and prices stay for ever.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Date, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import BREACH_POLICIES, BREACH_STATES, RUNWAY_STATES, one_of
from plms_pipeline.registry.types import Json, Usd, UtcDateTime


class BudgetCheck(Base):
    """When the money of a project was looked at last, and the digest of what was seen: only what differs is history."""

    __tablename__ = "budget_checks"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_sha256: Mapped[str] = mapped_column(String(64), default="", server_default="")


class RunwaySnapshot(Base):
    """How the money of a project stood at one look. NULL: unknown."""

    __tablename__ = "runway_snapshots"
    __table_args__ = (
        UniqueConstraint("project_id", "at"),
        CheckConstraint(one_of("status", RUNWAY_STATES), name="status_is_known"),
        CheckConstraint("spent_usd >= 0 AND reserved_usd >= 0 AND budget_usd >= 0", name="money_is_not_negative"),
        CheckConstraint("minutes_left >= 0", name="time_is_not_negative"),
        Index("ix_runway_snapshots_at", "at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    spent_usd: Mapped[Decimal] = mapped_column(Usd)
    reserved_usd: Mapped[Decimal] = mapped_column(Usd)
    budget_usd: Mapped[Decimal | None] = mapped_column(Usd)
    burn_usd_per_min: Mapped[float | None] = mapped_column(Float)
    minutes_left: Mapped[float | None] = mapped_column(Float)
    minutes_low: Mapped[float | None] = mapped_column(Float)
    minutes_high: Mapped[float | None] = mapped_column(Float)
    final_usd: Mapped[float | None] = mapped_column(Float)
    final_low: Mapped[float | None] = mapped_column(Float)
    final_high: Mapped[float | None] = mapped_column(Float)
    overrun_usd: Mapped[float | None] = mapped_column(Float)
    tasks_left: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(16))


class BreachEpisode(Base):
    """One time that a project was going to pass its budget by more than a quarter, and what its policy did.

    open → over, when the overrun is small again; `answer` is what a person decided: go_on or stop.
    """

    __tablename__ = "breach_episodes"
    __table_args__ = (
        CheckConstraint(one_of("policy", BREACH_POLICIES), name="policy_is_known"),
        CheckConstraint(one_of("state", BREACH_STATES), name="state_is_known"),
        CheckConstraint("(state = 'over') = (over_at IS NOT NULL)", name="what_is_over_has_a_moment"),
        Index("ix_breach_episodes_state", "state"),
    )

    episode_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    policy: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="open", server_default="open")
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    budget_usd: Mapped[Decimal] = mapped_column(Usd)
    seen_json: Mapped[Any] = mapped_column(Json, nullable=False)
    runs_told: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    decision_id: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(String(16))
    answered_by: Mapped[str | None] = mapped_column(String(255))
    over_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    over_reason: Mapped[str | None] = mapped_column(Text)


Index(
    "ux_breach_episodes_one_open_per_project",
    BreachEpisode.project_id,
    unique=True,
    sqlite_where=BreachEpisode.state == "open",
    postgresql_where=BreachEpisode.state == "open",
)


class PriceChange(Base):
    """What a provider charges from a UTC day on, in USD per million tokens. Append-only; the newest row of a day holds."""

    __tablename__ = "price_changes"
    __table_args__ = (
        CheckConstraint("input_usd_per_mtok >= 0 AND output_usd_per_mtok >= 0", name="prices_are_not_negative"),
        Index("ix_price_changes_provider_from_on", "provider", "from_on"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    provider: Mapped[str] = mapped_column(String(255))
    from_on: Mapped[date] = mapped_column(Date)
    input_usd_per_mtok: Mapped[Decimal] = mapped_column(Usd)
    output_usd_per_mtok: Mapped[Decimal] = mapped_column(Usd)
    decision_id: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PriceFactor(Base):
    """By how much a change of prices multiplies what receipts of a lane took before it. Append-only.

    NULL: no receipt there knows both its tokens and its price, so nothing can be told.
    """

    __tablename__ = "price_factors"
    __table_args__ = (CheckConstraint("factor >= 0", name="factor_is_not_negative"),)

    change_id: Mapped[int] = mapped_column(ForeignKey("price_changes.id"), primary_key=True, autoincrement=False)
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"), primary_key=True, autoincrement=False)
    receipts: Mapped[int] = mapped_column(Integer)
    with_tokens: Mapped[int] = mapped_column(Integer)
    factor: Mapped[float | None] = mapped_column(Float)
