"""How a project's tasks are to be worked, who owns it, and what was rehearsed and reported.

Beside the sources' tables `projects` and `task_estimates`, whose columns are theirs: what we add stands in rows of our own,
so that a query of the guides never meets a column that it does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import LANE_SOURCES, REHEARSAL_MODES, REHEARSAL_STATES, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class ProjectPolicy(Base):
    """Who owns a project and how many of its runs and attempts may be under way."""

    __tablename__ = "project_policies"
    __table_args__ = (
        CheckConstraint("max_active_runs >= 1", name="at_least_one_run"),
        CheckConstraint("max_attempts >= 1", name="at_least_one_attempt"),
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(255))
    max_active_runs: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    max_attempts: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TaskPlan(Base):
    """How one planned task is worked: its name within the project, provider, dependencies, command, and forecast."""

    __tablename__ = "task_plans"
    __table_args__ = (
        UniqueConstraint("project_id", "task_key"),
        CheckConstraint(one_of("lane_source", LANE_SOURCES), name="lane_source_is_known"),
        CheckConstraint("lane_confidence >= 0 AND lane_confidence <= 1", name="lane_confidence_is_a_fraction"),
    )

    task_estimate_id: Mapped[int] = mapped_column(
        ForeignKey("task_estimates.id"), primary_key=True, autoincrement=False
    )
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    task_key: Mapped[str] = mapped_column(String(255))
    provider: Mapped[str] = mapped_column(String(255))
    depends_on_json: Mapped[Any] = mapped_column(Json, nullable=True)
    command_json: Mapped[Any] = mapped_column(Json, nullable=True)
    payload_json: Mapped[Any] = mapped_column(Json, nullable=True)
    lane_source: Mapped[str] = mapped_column(String(16), default="given", server_default="given")
    lane_confidence: Mapped[float | None] = mapped_column(Float)
    forecast_json: Mapped[Any] = mapped_column(Json, nullable=True)


class ProjectForecast(Base):
    """What a whole project was last estimated to take, with its intervals: simulated, so no sum of its tasks' says it.

    `forecast_json` has the shape of a task's: per basis and measure median, mean, low, high, budget and receipts behind it.
    """

    __tablename__ = "project_forecasts"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    forecast_json: Mapped[Any] = mapped_column(Json, nullable=False)
    estimated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Rehearsal(Base):
    """One rehearsal of a project: priced from the priors, or really run on a sample with writes suppressed."""

    __tablename__ = "rehearsals"
    __table_args__ = (
        CheckConstraint(one_of("mode", REHEARSAL_MODES), name="mode_is_known"),
        CheckConstraint(one_of("state", REHEARSAL_STATES), name="state_is_known"),
        CheckConstraint("requested_pct > 0 AND requested_pct <= 1", name="requested_pct_is_a_fraction"),
        Index("ix_rehearsals_project_id_created_at", "project_id", "created_at"),
    )

    rehearsal_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("project_runs.run_id"))
    mode: Mapped[str] = mapped_column(String(16))
    requested_pct: Mapped[float] = mapped_column(Float)
    seed: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    answer_json: Mapped[Any] = mapped_column(Json, nullable=True)
    actor: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionReport(Base):
    """The one report of a run that ended; `revision` counts how often it was written anew (an override, a late receipt)."""

    __tablename__ = "session_reports"
    __table_args__ = (CheckConstraint("revision >= 1", name="revisions_count_from_one"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    report_json: Mapped[Any] = mapped_column(Json, nullable=False)
    path: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
