"""Projects: what a team wants done, for how much, and what was estimated for it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import (
    BREACH_POLICIES,
    COMPLEXITIES,
    PROJECT_STATES,
    STORE_HINTS,
    one_of,
)
from plms_pipeline.registry.types import Json, Usd, UtcDateTime


class Project(Base):
    """One project. It is cancelled, never deleted."""

    __tablename__ = "projects"
    __table_args__ = (
        UniqueConstraint("source", "external_key"),
        CheckConstraint(one_of("status", PROJECT_STATES), name="status_is_known"),
        CheckConstraint(one_of("breach_policy", BREACH_POLICIES), name="breach_policy_is_known"),
        CheckConstraint(
            "budget_cost_usd_max >= 0 AND estimated_cost_usd >= 0 AND actual_cost_usd >= 0",
            name="money_is_not_negative",
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[Any] = mapped_column(Json, nullable=True)
    status: Mapped[str] = mapped_column(String(32), default="planning", server_default="planning")
    source: Mapped[str] = mapped_column(String(64), default="plms", server_default="plms")
    external_key: Mapped[str | None] = mapped_column(String(255))
    prd_path: Mapped[str | None] = mapped_column(Text)
    budget_tokens_max: Mapped[int | None] = mapped_column(Integer)
    budget_cost_usd_max: Mapped[Decimal | None] = mapped_column(Usd)
    breach_policy: Mapped[str] = mapped_column(String(16), default="pause", server_default="pause")
    min_echo_cos: Mapped[float] = mapped_column(Float, default=0.82, server_default="0.82")
    quality_slo_gates: Mapped[Any] = mapped_column(Json, nullable=True)
    estimated_tokens: Mapped[int | None] = mapped_column(Integer)
    estimated_duration_minutes: Mapped[int | None] = mapped_column(Integer)
    estimated_cost_usd: Mapped[Decimal | None] = mapped_column(Usd)
    actual_tokens: Mapped[int | None] = mapped_column(Integer)
    actual_duration_minutes: Mapped[int | None] = mapped_column(Integer)
    actual_cost_usd: Mapped[Decimal | None] = mapped_column(Usd)
    token_error_pct: Mapped[float | None] = mapped_column(Float)
    time_error_pct: Mapped[float | None] = mapped_column(Float)
    cost_error_pct: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    prd_generated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(255), default="user", server_default="user")
    template_used: Mapped[str | None] = mapped_column(Text)


class ProjectQuestion(Base):
    """A question that was asked to clarify a project."""

    __tablename__ = "project_questions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), index=True)
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TaskEstimate(Base):
    """A planned task of a project, with its lane and what it was estimated to take."""

    __tablename__ = "task_estimates"
    __table_args__ = (
        CheckConstraint(one_of("complexity", COMPLEXITIES), name="complexity_is_known"),
        CheckConstraint(one_of("store_hint", STORE_HINTS), name="store_hint_is_known"),
        CheckConstraint(
            "estimated_tokens >= 0 AND estimated_duration_minutes >= 0 AND estimated_cost_usd >= 0",
            name="estimates_are_not_negative",
        ),
        Index("ix_task_estimates_project_id_order_index", "project_id", "order_index"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    task_name: Mapped[str] = mapped_column(Text)
    task_description: Mapped[str | None] = mapped_column(Text)
    task_kind: Mapped[str | None] = mapped_column(String(64))
    parent_task_id: Mapped[int | None] = mapped_column(ForeignKey("task_estimates.id"))
    order_index: Mapped[int | None] = mapped_column(Integer)
    tmd_lane: Mapped[int | None] = mapped_column(ForeignKey("lanes.lane_id"))
    store_hint: Mapped[str | None] = mapped_column(String(16))
    expected_echo_cos: Mapped[float | None] = mapped_column(Float)
    # Text, not Json: the books must be able to show a formula that is not valid JSON, and the nightly check names it.
    kpi_formula: Mapped[str | None] = mapped_column(Text)
    complexity: Mapped[str | None] = mapped_column(String(16))
    estimated_tokens: Mapped[int | None] = mapped_column(Integer)
    estimated_duration_minutes: Mapped[int | None] = mapped_column(Integer)
    estimated_cost_usd: Mapped[Decimal | None] = mapped_column(Usd)
    estimation_priors: Mapped[Any] = mapped_column(Json, nullable=True)
    action_log_id: Mapped[int | None] = mapped_column(ForeignKey("action_logs.log_id"))
    pas_job_card_id: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(32), default="pending", server_default="pending")


class LaneOverride(Base):
    """A person moved a task to another lane than the predicted one."""

    __tablename__ = "lane_overrides"
    __table_args__ = (CheckConstraint("predicted_lane <> corrected_lane", name="the_lane_changed"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    task_estimate_id: Mapped[int] = mapped_column(ForeignKey("task_estimates.id"), index=True)
    task_description: Mapped[str | None] = mapped_column(Text)
    predicted_lane: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    corrected_lane: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    corrected_by: Mapped[str] = mapped_column(String(255))
    corrected_at: Mapped[datetime] = mapped_column(UtcDateTime)
