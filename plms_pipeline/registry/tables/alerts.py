"""Who must know, what went to whom, and what was acknowledged or silenced.

One row of `alert_states` per rule and subject says where its state machine stands; `alert_events` is the log of what it did, in
which `event_key` makes the same step of two replicas one event; `deliveries` are the messages that are owed because of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Float, Index, Integer, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import (
    ALERT_EVENTS,
    ALERT_STATES,
    DELIVERY_KINDS,
    DELIVERY_STATES,
    SEVERITIES,
    one_of,
)
from plms_pipeline.registry.types import Json, UtcDateTime


class AlertState(Base):
    """Where one rule stands for one subject. What is open has an episode; a group is what was told in one message."""

    __tablename__ = "alert_states"
    __table_args__ = (
        CheckConstraint(one_of("state", ALERT_STATES), name="state_is_known"),
        CheckConstraint(one_of("severity", SEVERITIES), name="severity_is_known"),
        CheckConstraint(
            "state NOT IN ('firing', 'acked') OR (episode_id IS NOT NULL AND fired_at IS NOT NULL)",
            name="what_is_open_has_an_episode",
        ),
        CheckConstraint("state <> 'acked' OR acked_by IS NOT NULL", name="who_acknowledged_is_known"),
        Index("ix_alert_states_state", "state"),
        Index("ix_alert_states_group_id", "group_id"),
        Index("ix_alert_states_episode_id", "episode_id"),
    )

    rule: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default="ok", server_default="ok")
    severity: Mapped[str] = mapped_column(String(2))
    value: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str | None] = mapped_column(Text)
    project_id: Mapped[int | None] = mapped_column(Integer)
    # The moment of the reading that moved it last: an older one that comes late moves nothing.
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    crossed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    clear_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    episode_id: Mapped[str | None] = mapped_column(String(36))
    group_id: Mapped[str | None] = mapped_column(String(36))
    is_told: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    escalations: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    acked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acked_by: Mapped[str | None] = mapped_column(String(255))


class AlertEvent(Base):
    """One step of an episode. Append-only; `event_key` is the episode and the step, so that nobody adds it twice."""

    __tablename__ = "alert_events"
    __table_args__ = (
        CheckConstraint(one_of("kind", ALERT_EVENTS), name="kind_is_known"),
        CheckConstraint(one_of("severity", SEVERITIES), name="severity_is_known"),
        UniqueConstraint("event_key"),
        Index("ix_alert_events_episode_id", "episode_id"),
        Index("ix_alert_events_found_at", "found_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_key: Mapped[str] = mapped_column(String(64))
    episode_id: Mapped[str] = mapped_column(String(36))
    group_id: Mapped[str | None] = mapped_column(String(36))
    rule: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str] = mapped_column(String(2))
    value: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(255))


class Delivery(Base):
    """One message to one recipient over one channel: sent at least once under a key that never changes."""

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint(one_of("kind", DELIVERY_KINDS), name="kind_is_known"),
        CheckConstraint(one_of("state", DELIVERY_STATES), name="state_is_known"),
        CheckConstraint(one_of("severity", SEVERITIES), name="severity_is_known"),
        CheckConstraint("attempts >= 0", name="attempts_are_not_negative"),
        CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="what_is_ended_has_a_moment"),
        UniqueConstraint("delivery_key"),
        Index(
            "ix_deliveries_due", "channel", "due_at",
            sqlite_where=text("state = 'pending'"), postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_deliveries_group_id", "group_id"),
        Index("ix_deliveries_created_at", "created_at"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    delivery_key: Mapped[str] = mapped_column(String(36))
    kind: Mapped[str] = mapped_column(String(16))
    rule: Mapped[str] = mapped_column(String(64))
    severity: Mapped[str] = mapped_column(String(2))
    group_id: Mapped[str] = mapped_column(String(36))
    channel: Mapped[str] = mapped_column(String(64))
    recipient: Mapped[str] = mapped_column(Text)
    message_json: Mapped[Any] = mapped_column(Json, nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    lease_holder: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[str | None] = mapped_column(Text)
    last_error: Mapped[str | None] = mapped_column(Text)


class AlertSilence(Base):
    """A time in which a rule (`*`: each) says nothing about a subject (`*`: any); the decision stands beside it."""

    __tablename__ = "alert_silences"
    __table_args__ = (
        CheckConstraint("until > since", name="until_after_since"),
        CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="who_lifted_it_is_known"),
        Index("ix_alert_silences_until", "until"),
    )

    silence_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    rule: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(String(255))
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(255))


class AlertCheck(Base):
    """When a source of readings was last looked at, what went wrong, and what it remembers for its next look."""

    __tablename__ = "alert_checks"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    readings: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    memo_json: Mapped[Any] = mapped_column(Json, nullable=True)
