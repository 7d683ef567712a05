"""KPI receipts: what a validator measured against which threshold. Append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.types import Json, UtcDateTime


class KpiReceipt(Base):
    """One KPI of one evaluation of an artifact. `kpi_value` NULL: it could not be measured, `reason` says why."""

    __tablename__ = "kpi_receipts"
    __table_args__ = (
        UniqueConstraint("evaluation_id", "kpi_name"),
        Index("ix_kpi_receipts_run_id", "run_id"),
        Index("ix_kpi_receipts_task_id", "task_id"),
        Index("ix_kpi_receipts_kpi_name_pass", "kpi_name", "pass"),
        Index("ix_kpi_receipts_artifact_sha256", "artifact_sha256", "gates_sha256"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    evaluation_id: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(String(255))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("project_runs.run_id"))
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    artifact_name: Mapped[str | None] = mapped_column(String(255))
    kpi_name: Mapped[str] = mapped_column(String(64))
    kpi_value: Mapped[float | None] = mapped_column(Float)
    kpi_threshold: Mapped[Any] = mapped_column(Json, nullable=True)
    pass_: Mapped[bool] = mapped_column("pass", Boolean)
    blocks: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    reason: Mapped[str | None] = mapped_column(Text)
    artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    gates_sha256: Mapped[str | None] = mapped_column(String(64))
    logs_path: Mapped[str | None] = mapped_column(Text)
    measured_at: Mapped[datetime] = mapped_column(UtcDateTime)
