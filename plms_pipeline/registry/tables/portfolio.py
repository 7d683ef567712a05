"""Who may run how much at once: slots, shares, rates, kill switches, and what the lanes did each minute.

A slot is a row that its holder has until a terminal event gives it back: counting rows is how a cap holds for any number of
processes, and the rows that remain are the log from which it can be proven afterwards.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import (
    PREEMPTION_STATES,
    REVIEW_FIELDS,
    REVIEW_STATES,
    RUN_KINDS,
    SLOT_STATES,
    SWITCH_SCOPES,
    one_of,
)
from plms_pipeline.registry.types import Json, Usd, UtcDateTime


class Slot(Base):
    """One place of a resource (`lane:4200`, `launcher`) that a subject (a card, a start) holds. It counts until RELEASED."""

    __tablename__ = "slots"
    __table_args__ = (
        CheckConstraint(one_of("state", SLOT_STATES), name="state_is_known"),
        CheckConstraint("(state = 'RELEASED') = (released_at IS NOT NULL)", name="a_released_slot_has_a_moment"),
        CheckConstraint("released_at >= taken_at", name="released_after_taken"),
        Index("ix_slots_resource_state", "resource", "state"),
        Index("ix_slots_resource_released_at", "resource", "released_at"),
        Index("ix_slots_project_id_taken_at", "project_id", "taken_at"),
        Index("ix_slots_state_expires_at", "state", "expires_at"),
    )

    slot_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    resource: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    run_id: Mapped[str | None] = mapped_column(String(64))
    holder: Mapped[str] = mapped_column(String(255))
    cap_then: Mapped[int] = mapped_column(Integer)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    renewed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default="HELD", server_default="HELD")
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    release_reason: Mapped[str | None] = mapped_column(Text)


Index(
    "ux_slots_one_open_per_subject",
    Slot.resource,
    Slot.subject,
    unique=True,
    sqlite_where=Slot.state != "RELEASED",
    postgresql_where=Slot.state != "RELEASED",
)


class RateBucket(Base):
    """A token bucket: `tokens` were in it at `refilled_at`."""

    __tablename__ = "rate_buckets"
    __table_args__ = (CheckConstraint("tokens >= 0", name="tokens_are_not_negative"),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tokens: Mapped[float] = mapped_column(Float)
    refilled_at: Mapped[datetime] = mapped_column(UtcDateTime)


class KillSwitch(Base):
    """One time that everything which spends was stopped in a scope; on until `turned_off_at`."""

    __tablename__ = "kill_switches"
    __table_args__ = (CheckConstraint(one_of("scope", SWITCH_SCOPES), name="scope_is_known"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    scope: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(64), default="", server_default="")
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))
    turned_on_at: Mapped[datetime] = mapped_column(UtcDateTime)
    turned_off_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    turned_off_by: Mapped[str | None] = mapped_column(String(255))


Index(
    "ux_kill_switches_one_on_per_subject",
    KillSwitch.scope,
    KillSwitch.subject,
    unique=True,
    sqlite_where=KillSwitch.turned_off_at.is_(None),
    postgresql_where=KillSwitch.turned_off_at.is_(None),
)


class ProjectShare(Base):
    """How much of a contested lane a project may expect, and by when it wants to be done."""

    __tablename__ = "project_shares"
    __table_args__ = (CheckConstraint("weight > 0", name="weight_is_positive"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    weight: Mapped[float] = mapped_column(Float, default=1.0, server_default="1")
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class QueuedCard(Base):
    """A card that may go out: its run works and its dependencies have succeeded. The row goes when the card does.

    `is_paused`: the executor has it and put it aside for another project; it goes on when its turn comes.
    `holds_slot`: it was on its way to the executor when its dispatcher died or the line broke; it goes again in its own slot.
    """

    __tablename__ = "lane_queue"
    __table_args__ = (
        CheckConstraint(one_of("run_kind", RUN_KINDS), name="run_kind_is_known"),
        Index("ix_lane_queue_turn", "lane_id", "holds_slot", "project_id", "run_kind", "not_before", "rank"),
        Index("ix_lane_queue_run_id", "run_id"),
    )

    card_key: Mapped[str] = mapped_column(ForeignKey("job_cards.card_key"), primary_key=True)
    lane_id: Mapped[int] = mapped_column(Integer)
    project_id: Mapped[int] = mapped_column(Integer)
    run_id: Mapped[str] = mapped_column(String(64))
    run_kind: Mapped[str] = mapped_column(String(16))
    ready_at: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime)
    rank: Mapped[float] = mapped_column(Float)
    expected_ms: Mapped[float | None] = mapped_column(Float)
    reserve_usd: Mapped[Decimal | None] = mapped_column(Usd)
    holds_slot: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    is_paused: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class Preemption(Base):
    """One time that a running task was put aside for another project: never twice for the same card.

    asked → paused (its slot is free) → resuming (it has a slot again) → over.
    """

    __tablename__ = "preemptions"
    __table_args__ = (
        CheckConstraint(one_of("state", PREEMPTION_STATES), name="state_is_known"),
        CheckConstraint("(state = 'over') = (over_at IS NOT NULL)", name="what_is_over_has_a_moment"),
        Index("ix_preemptions_lane_id_state", "lane_id", "state"),
    )

    card_key: Mapped[str] = mapped_column(ForeignKey("job_cards.card_key"), primary_key=True)
    lane_id: Mapped[int] = mapped_column(Integer)
    project_id: Mapped[int] = mapped_column(Integer)
    run_id: Mapped[str] = mapped_column(String(64))
    for_project_id: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16), default="asked", server_default="asked")
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    over_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)


class LaneFairness(Base):
    """What the scheduler remembers of a lane between two rounds: what projects are owed, as of `at`."""

    __tablename__ = "lane_fairness"

    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    book_json: Mapped[Any] = mapped_column(Json, nullable=False)


class LaneMinute(Base):
    """What one lane did in one minute (UTC): slot time, queue, ends. Slot time never exceeds `cap_ms`."""

    __tablename__ = "lane_minutes"
    __table_args__ = (
        CheckConstraint("busy_ms >= 0 AND cap_ms >= 0 AND started >= 0 AND ended >= 0 AND failed >= 0",
                        name="counts_are_not_negative"),
    )  # fmt: skip

    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"), primary_key=True, autoincrement=False)
    minute: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    cap_ms: Mapped[int] = mapped_column(BigInteger)
    busy_ms: Mapped[int] = mapped_column(BigInteger)
    queued_max: Mapped[int] = mapped_column(Integer)
    waited_ms: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    started: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    ended: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    out_of_memory: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    timeouts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    duration_ms: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class LaneReview(Base):
    """One recommended change of a lane with its evidence, and what became of it."""

    __tablename__ = "lane_reviews"
    __table_args__ = (
        CheckConstraint(one_of("field", REVIEW_FIELDS), name="field_is_known"),
        CheckConstraint(one_of("state", REVIEW_STATES), name="state_is_known"),
        UniqueConstraint("lane_id", "week_of", "field", "subject"),
    )

    review_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    week_of: Mapped[str] = mapped_column(String(10))
    field: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(64), default="", server_default="")
    current_json: Mapped[Any] = mapped_column(Json, nullable=False)
    recommended_json: Mapped[Any] = mapped_column(Json, nullable=False)
    rule: Mapped[str] = mapped_column(String(64))
    evidence_json: Mapped[Any] = mapped_column(Json, nullable=False)
    state: Mapped[str] = mapped_column(String(16), default="proposed", server_default="proposed")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision_id: Mapped[str | None] = mapped_column(String(64))
