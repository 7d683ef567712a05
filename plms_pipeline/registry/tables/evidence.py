"""Evidence that must come by a deadline, and the one terminal record of whether it came."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import OBLIGATION_STATES, OBSERVATION_REASONS, PUBLICATIONS, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class Obligation(Base):
    """Evidence of a kind that a subject owes at an observation point; its deadline counts from `accepted_at`."""

    __tablename__ = "obligations"
    __table_args__ = (
        CheckConstraint(one_of("state", OBLIGATION_STATES), name="state_is_known"),
        CheckConstraint(one_of("publication", PUBLICATIONS), name="publication_is_known"),
        CheckConstraint("deadline_at >= accepted_at", name="deadline_after_acceptance"),
        UniqueConstraint("subject_id", "evidence_kind", "obs_point"),
        Index("ix_obligations_state_deadline_at", "state", "deadline_at"),
        Index(
            "ix_obligations_publication_due",
            "deadline_at",
            sqlite_where=text("publication = 'due'"),
            postgresql_where=text("publication = 'due'"),
        ),
    )

    obligation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(255))
    evidence_kind: Mapped[str] = mapped_column(String(64))
    obs_point: Mapped[str] = mapped_column(String(64))
    lookup_ref: Mapped[str] = mapped_column(String(512))
    config_digest: Mapped[str] = mapped_column(String(64))
    accepted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    # Whether its observation has still to be told on the stream.
    publication: Mapped[str] = mapped_column(String(8), default="none", server_default="none")


class Observation(Base):
    """The terminal observation of one obligation. Append-only."""

    __tablename__ = "observations"
    __table_args__ = (
        CheckConstraint(one_of("reason", OBSERVATION_REASONS), name="reason_is_known"),
        CheckConstraint("found = (reason = 'ok')", name="found_agrees_with_the_reason"),
        CheckConstraint(
            "wait_ms >= 0 AND queue_ms >= 0 AND polls >= 0 AND errors >= 0", name="counts_are_not_negative"
        ),
        Index("ix_observations_at", "at"),
    )

    obligation_id: Mapped[str] = mapped_column(ForeignKey("obligations.obligation_id"), primary_key=True)
    obs_point: Mapped[str] = mapped_column(String(64))
    evidence_kind: Mapped[str] = mapped_column(String(64))
    found: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(String(16))
    evidence_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    wait_ms: Mapped[int] = mapped_column(Integer)
    queue_ms: Mapped[int] = mapped_column(Integer)
    polls: Mapped[int] = mapped_column(Integer)
    errors: Mapped[int] = mapped_column(Integer)
    observer_id: Mapped[str] = mapped_column(String(255))
    config_digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    debug_json: Mapped[Any] = mapped_column(Json, nullable=True)


class EvidenceRecord(Base):
    """What another component wrote about a subject: the registry's equal of a hash in Redis. The newest stands."""

    __tablename__ = "evidence_records"

    evidence_kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    # Kept as text, as in the hash: a moment that cannot be read is evidence of its own.
    ts_epoch: Mapped[str | None] = mapped_column(String(64))
    correlation_id: Mapped[str | None] = mapped_column(String(64))
    fields_json: Mapped[Any] = mapped_column(Json, nullable=True)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
