"""What people decided and did: decisions, approvals, the audit log, and the executor's action log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import APPROVAL_GATES, APPROVAL_STATES, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class Decision(Base):
    """What a person decided about which bytes, and why. Append-only."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("decision_id"),
        Index("ix_decisions_subject_type_subject_id", "subject_type", "subject_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    decision_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(64))
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(255))
    decision: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[str | None] = mapped_column(String(255))
    actor: Mapped[str] = mapped_column(String(255))
    actor_verified: Mapped[bool] = mapped_column(Boolean)
    role: Mapped[str | None] = mapped_column(String(64))
    evidence_sha256: Mapped[str | None] = mapped_column(String(64))
    payload_json: Mapped[Any] = mapped_column(Json, nullable=True)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProjectApproval(Base):
    """A gate of a project or run that a person approved or rejected."""

    __tablename__ = "project_approvals"
    __table_args__ = (
        CheckConstraint(one_of("gate", APPROVAL_GATES), name="gate_is_known"),
        CheckConstraint(one_of("status", APPROVAL_STATES), name="status_is_known"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("project_runs.run_id"))
    approver: Mapped[str] = mapped_column(String(255))
    gate: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditEntry(Base):
    """One write that somebody or something did. Append-only; holds no secret."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_at", "at"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(512))
    outcome: Mapped[str] = mapped_column(String(32))
    details_json: Mapped[Any] = mapped_column(Json, nullable=True)


class ActionLog(Base):
    """What the executor's agents reported."""

    __tablename__ = "action_logs"

    log_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    task_id: Mapped[str] = mapped_column(String(255))
    run_id: Mapped[str | None] = mapped_column(String(64), index=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"), index=True)
    parent_log_id: Mapped[int | None] = mapped_column(ForeignKey("action_logs.log_id"))
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    from_agent: Mapped[str | None] = mapped_column(String(255))
    to_agent: Mapped[str | None] = mapped_column(String(255))
    action_type: Mapped[str] = mapped_column(String(64))
    action_name: Mapped[str | None] = mapped_column(String(255))
    action_data: Mapped[Any] = mapped_column(Json, nullable=True)
    status: Mapped[str | None] = mapped_column(String(32))
    tier_from: Mapped[int | None] = mapped_column(Integer)
    tier_to: Mapped[int | None] = mapped_column(Integer)
