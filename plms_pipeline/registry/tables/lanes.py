"""Lanes: a kind of work with a concurrency cap and KPI gates. Rows, not constants, so that people can decide them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import OPERATORS, one_of
from plms_pipeline.registry.types import Json, UtcDateTime


class Lane(Base):
    """One lane; `cap` is the number of its tasks that may run at once."""

    __tablename__ = "lanes"
    __table_args__ = (CheckConstraint("cap >= 0", name="cap_is_not_negative"),)

    lane_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    cap: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(Text, default="")
    active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())


class LaneAlias(Base):
    """Another vocabulary's word for a lane."""

    __tablename__ = "lane_aliases"

    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    vocabulary: Mapped[str] = mapped_column(String(32))
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))


class LaneGate(Base):
    """One KPI gate of a lane: the measured value must satisfy `operator threshold`."""

    __tablename__ = "lane_gates"
    __table_args__ = (
        CheckConstraint(one_of("operator", OPERATORS), name="operator_is_known"),
        UniqueConstraint("lane_id", "kpi_name"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    kpi_name: Mapped[str] = mapped_column(String(64))
    operator: Mapped[str] = mapped_column(String(2))
    threshold: Mapped[Any] = mapped_column(Json, nullable=False)
    blocks: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
