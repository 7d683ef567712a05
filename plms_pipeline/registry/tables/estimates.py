"""Priors: append-only versions of what is believed about a (lane, provider) before the next task."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Computed,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import BASES, one_of
from plms_pipeline.registry.types import Usd, UtcDateTime


class EstimateVersion(Base):
    """One version of a prior. `lane_id` NULL: over all lanes; `provider_name` `*`: over all providers.

    `run_kind`, `validation_pass` and `write_sandbox` are copied from the runs behind an effort prior, so that the guide's
    nightly query stands on this table alone; on the spend basis, which counts failures on purpose, the verdict is NULL.
    """

    __tablename__ = "estimate_versions"
    __table_args__ = (
        CheckConstraint(one_of("basis", BASES), name="basis_is_known"),
        CheckConstraint("run_kind IN ('baseline', 'hotfix')", name="only_real_runs_teach"),
        CheckConstraint("NOT write_sandbox", name="no_sandbox_run_teaches"),
        CheckConstraint(
            "(basis = 'effort' AND validation_pass IS TRUE) OR (basis = 'spend' AND validation_pass IS NULL)",
            name="effort_is_learnt_from_passed_runs",
        ),
        CheckConstraint("n_observations >= 0", name="n_is_not_negative"),
        CheckConstraint("cost_usd_mean >= 0 AND cost_usd_stddev >= 0", name="money_is_not_negative"),
        Index("ix_estimate_versions_lane_id_provider_name_created_at", "lane_id", "provider_name", "created_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    lane_id: Mapped[int | None] = mapped_column(ForeignKey("lanes.lane_id"))
    provider_name: Mapped[str] = mapped_column(String(255))
    # The guide's hand-over notes read this table by `provider`; both names answer.
    provider: Mapped[str] = mapped_column(String(255), Computed("provider_name", persisted=True))
    basis: Mapped[str] = mapped_column(String(8))
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    as_of: Mapped[datetime] = mapped_column(UtcDateTime)
    priors_hash: Mapped[str] = mapped_column(String(64))
    source_digest: Mapped[str] = mapped_column(String(64))
    priors_json: Mapped[str] = mapped_column(Text)
    tokens_mean: Mapped[float | None] = mapped_column(Float)
    tokens_stddev: Mapped[float | None] = mapped_column(Float)
    duration_ms_mean: Mapped[float | None] = mapped_column(Float)
    duration_ms_stddev: Mapped[float | None] = mapped_column(Float)
    cost_usd_mean: Mapped[Decimal | None] = mapped_column(Usd)
    cost_usd_stddev: Mapped[Decimal | None] = mapped_column(Usd)
    attempts_per_task: Mapped[float | None] = mapped_column(Float)
    n_observations: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    mean_absolute_error_tokens: Mapped[float | None] = mapped_column(Float)
    mean_absolute_error_duration_ms: Mapped[float | None] = mapped_column(Float)
    mean_absolute_error_cost_usd: Mapped[Decimal | None] = mapped_column(Usd)
    run_kind: Mapped[str] = mapped_column(String(16))
    validation_pass: Mapped[bool | None] = mapped_column(Boolean)
    write_sandbox: Mapped[bool] = mapped_column(Boolean)


# Settlement asks for the newest version of every prior each time; without this it would read every version ever written.
Index(
    "ix_estimate_versions_newest",
    EstimateVersion.project_id,
    EstimateVersion.lane_id,
    EstimateVersion.provider_name,
    EstimateVersion.basis,
    EstimateVersion.id,
)

# NULL lanes would slip through a plain unique constraint: to a unique index every NULL is another value.
Index(
    "ux_estimate_versions_key",
    func.coalesce(EstimateVersion.lane_id, 0),
    EstimateVersion.provider_name,
    EstimateVersion.basis,
    EstimateVersion.version,
    unique=True,
)


class IntervalCorrection(Base):
    """The adaptive correction of one (lane, measure, basis) that holds from `day` on; found by the nightly scan."""

    __tablename__ = "interval_corrections"
    __table_args__ = (CheckConstraint(one_of("basis", BASES), name="basis_is_known"),)

    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"), primary_key=True)
    measure: Mapped[str] = mapped_column(String(16), primary_key=True)
    basis: Mapped[str] = mapped_column(String(8), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    value: Mapped[float] = mapped_column(Float)
    n: Mapped[int] = mapped_column(Integer)
