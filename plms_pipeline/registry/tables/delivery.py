"""What came in, what must go out, and what was answered: the rows that make effects exactly once.

An event is durable before it is acknowledged; an effect on the outside is a row before it happens; the answer of a start is
written in the transaction of the run that it started.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import ANSWER_STATES, INBOX_STATES, OUTBOX_STATES, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class InboxEvent(Base):
    """One event that the executor delivered, by its event id; settled once however often it comes."""

    __tablename__ = "inbox_events"
    __table_args__ = (
        UniqueConstraint("event_id"),
        CheckConstraint(one_of("state", INBOX_STATES), name="state_is_known"),
        Index("ix_inbox_events_state_received_at", "state", "received_at"),
        Index("ix_inbox_events_run_id", "run_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(128))
    endpoint: Mapped[str] = mapped_column(String(64))
    body_sha256: Mapped[str] = mapped_column(String(64))
    body_json: Mapped[Any] = mapped_column(Json, nullable=False)
    # No foreign key: an event may name a run that we never started, and is kept all the same.
    run_id: Mapped[str | None] = mapped_column(String(255))
    task_id: Mapped[str | None] = mapped_column(String(255))
    attempt: Mapped[int | None] = mapped_column(Integer)
    actor: Mapped[str] = mapped_column(String(255))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    lease_holder: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)


class OutboxEvent(Base):
    """One effect on the outside that a committed transaction asked for; done at least once under a stable key."""

    __tablename__ = "outbox_events"
    __table_args__ = (
        UniqueConstraint("event_key"),
        CheckConstraint(one_of("state", OUTBOX_STATES), name="state_is_known"),
        Index("ix_outbox_events_state_due_at", "state", "due_at"),
        Index("ix_outbox_events_subject_id", "subject_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_key: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(255))
    payload_json: Mapped[Any] = mapped_column(Json, nullable=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    lease_holder: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)


class IdempotencyKey(Base):
    """One write that a user may repeat: the key, what was asked (its hash) and what was answered."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("user_name", "method", "path", "key"),
        CheckConstraint(one_of("state", ANSWER_STATES), name="state_is_known"),
        CheckConstraint("state <> 'done' OR answer_json IS NOT NULL", name="what_is_done_has_an_answer"),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_name: Mapped[str] = mapped_column(String(255))
    method: Mapped[str] = mapped_column(String(8))
    path: Mapped[str] = mapped_column(String(255))
    key: Mapped[str] = mapped_column(String(255))
    body_sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    status_code: Mapped[int | None] = mapped_column(Integer)
    answer_json: Mapped[str | None] = mapped_column(Text)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("project_runs.run_id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
