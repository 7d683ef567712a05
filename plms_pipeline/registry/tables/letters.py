"""Dead letters: failed units of work with their class, their attempts and the moment when they are due again.

The reason is text that somebody else wrote: it is kept, shown and grouped, never evaluated.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import LETTER_CLASSES, LETTER_KINDS, LETTER_STATES, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class DeadLetter(Base):
    """One failed unit of work. `attempts` counts the retries that were begun."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint(one_of("kind", LETTER_KINDS), name="kind_is_known"),
        CheckConstraint(one_of("error_class", LETTER_CLASSES), name="class_is_known"),
        CheckConstraint(one_of("state", LETTER_STATES), name="state_is_known"),
        CheckConstraint("attempts >= 0 AND attempts <= max_attempts", name="attempts_within_their_limit"),
        CheckConstraint("error_class = 'TRANSIENT' OR state <> 'processing'", name="only_transient_ones_are_retried"),
        UniqueConstraint("kind", "subject_id"),
        Index("ix_dead_letters_state_next_due_at", "state", "next_due_at"),
        Index("ix_dead_letters_fingerprint", "fingerprint"),
    )

    letter_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(255))
    project_id: Mapped[int | None] = mapped_column(Integer)
    run_id: Mapped[str | None] = mapped_column(String(64))
    lane_id: Mapped[int | None] = mapped_column(Integer)
    error_class: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16), default="ready", server_default="ready")
    next_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_holder: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    payload_json: Mapped[Any] = mapped_column(Json, nullable=True)
    first_failed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_failed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_actor: Mapped[str] = mapped_column(String(255))
