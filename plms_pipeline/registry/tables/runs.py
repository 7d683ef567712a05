"""Runs and their tasks: what was started, how it ended, and whether it was good.

`status` says whether the work ended, `validation` whether it was good; a terminal status never changes (a trigger refuses).
What the row invariants need from elsewhere is copied into the row, so that each is a predicate with its own index.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import (
    ARTIFACT_KINDS,
    RUN_KINDS,
    STATES,
    TERMINAL_STATES,
    VALIDATIONS,
    one_of,
)
from plms_pipeline.registry.types import UtcDateTime


class ProjectRun(Base):
    """One run of a project. Imported history carries `source`, the file's hash and the source's own verdict."""

    __tablename__ = "project_runs"
    __table_args__ = (
        CheckConstraint(one_of("status", STATES), name="status_is_known"),
        CheckConstraint(one_of("run_kind", RUN_KINDS), name="run_kind_is_known"),
        CheckConstraint(one_of("validation", VALIDATIONS), name="validation_is_known"),
        CheckConstraint("NOT (run_kind = 'baseline' AND write_sandbox)", name="no_baseline_in_the_sandbox"),
        CheckConstraint("rehearsal_pct >= 0 AND rehearsal_pct <= 1", name="rehearsal_pct_is_a_fraction"),
        CheckConstraint("strata_coverage >= 0 AND strata_coverage <= 1", name="strata_coverage_is_a_fraction"),
        CheckConstraint("completed_at >= started_at", name="completed_after_started"),
        CheckConstraint(
            "validation_pass_override IS NULL OR (override_reason IS NOT NULL AND overridden_by IS NOT NULL "
            "AND overridden_at IS NOT NULL)",
            name="an_override_is_explained",
        ),
        CheckConstraint(
            f"NOT ({one_of('status', TERMINAL_STATES)}) OR status = 'SKIPPED' OR completed_at IS NOT NULL",
            name="an_ended_run_has_an_end",
        ),
        Index("ix_project_runs_project_id_run_kind_started_at", "project_id", "run_kind", "started_at"),
        # Whoever settles, reconciles, reports or lists asks for our own runs, among an imported history of any length.
        Index("ix_project_runs_source_status", "source", "status"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(String(64), unique=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    status: Mapped[str] = mapped_column(String(16), default="QUEUED", server_default="QUEUED")
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    run_kind: Mapped[str] = mapped_column(String(16), default="baseline", server_default="baseline")
    rehearsal_pct: Mapped[float | None] = mapped_column(Float)
    strata_coverage: Mapped[float | None] = mapped_column(Float)
    provider_matrix_json: Mapped[str | None] = mapped_column(Text)
    capability_snapshot: Mapped[str | None] = mapped_column(Text)
    risk_score: Mapped[float | None] = mapped_column(Float)
    validation: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    validation_pass: Mapped[bool | None] = mapped_column(
        Boolean, Computed("CASE validation WHEN 'passed' THEN TRUE WHEN 'failed' THEN FALSE END", persisted=True)
    )
    verdict_by: Mapped[str | None] = mapped_column(String(64))
    write_sandbox: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    passport_sha256: Mapped[str | None] = mapped_column(String(64))
    validation_pass_override: Mapped[bool | None] = mapped_column(Boolean)
    override_reason: Mapped[str | None] = mapped_column(Text)
    overridden_by: Mapped[str | None] = mapped_column(String(255))
    overridden_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    override_teaches: Mapped[bool | None] = mapped_column(Boolean)
    cost_receipt_path: Mapped[str | None] = mapped_column(Text)
    heartbeat_ok_ratio: Mapped[float | None] = mapped_column(Float)
    token_budget_breaches: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    source: Mapped[str] = mapped_column(String(64), default="plms", server_default="plms")
    source_file_sha256: Mapped[str | None] = mapped_column(String(64))


class RunTask(Base):
    """One task of a run."""

    __tablename__ = "run_tasks"
    __table_args__ = (
        UniqueConstraint("run_id", "task_id"),
        CheckConstraint(one_of("status", STATES), name="status_is_known"),
        CheckConstraint(one_of("validation", VALIDATIONS), name="validation_is_known"),
        Index("ix_run_tasks_lane_id_queued_at", "lane_id", "queued_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"))
    task_id: Mapped[str] = mapped_column(String(255))
    lane_id: Mapped[int] = mapped_column(ForeignKey("lanes.lane_id"))
    provider: Mapped[str] = mapped_column(String(255))
    task_kind: Mapped[str | None] = mapped_column(String(255))
    complexity: Mapped[str | None] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="QUEUED", server_default="QUEUED")
    validation: Mapped[str] = mapped_column(String(16), default="pending", server_default="pending")
    queued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunPassport(Base):
    """What is needed to replay a run; `sha256` is the digest of the canonical `passport_json`."""

    __tablename__ = "run_passports"

    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"), primary_key=True)
    passport_json: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    provider_matrix_json: Mapped[str] = mapped_column(Text)
    env_snapshot_json: Mapped[str] = mapped_column(Text)
    prd_sha: Mapped[str | None] = mapped_column(String(64))
    git_commit: Mapped[str | None] = mapped_column(String(64))
    is_complete: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProjectArtifact(Base):
    """A file that a run produced."""

    __tablename__ = "project_artifacts"
    __table_args__ = (
        CheckConstraint(one_of("artifact_kind", ARTIFACT_KINDS), name="artifact_kind_is_known"),
        CheckConstraint("size_bytes >= 0", name="size_is_not_negative"),
        UniqueConstraint("run_id", "artifact_path"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("project_runs.run_id"))
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    artifact_path: Mapped[str] = mapped_column(String(1024))
    artifact_kind: Mapped[str | None] = mapped_column(String(16))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class StateTransition(Base):
    """One change of a state; at most one of them enters a terminal state per subject. Append-only."""

    __tablename__ = "state_transitions"
    __table_args__ = (
        UniqueConstraint("subject_type", "subject_id", "sequence"),
        Index("ix_state_transitions_at", "at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(255))
    sequence: Mapped[int] = mapped_column(Integer)
    from_state: Mapped[str | None] = mapped_column(String(32))
    to_state: Mapped[str] = mapped_column(String(32))
    is_terminal: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    reason: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


Index(
    "ux_state_transitions_one_terminal",
    StateTransition.subject_type,
    StateTransition.subject_id,
    unique=True,
    sqlite_where=StateTransition.is_terminal,
    postgresql_where=StateTransition.is_terminal,
)


class Hold(Base):
    """A pause of a run, project or lane: a row, not a state. Lifted by filling `lifted_at`."""

    __tablename__ = "holds"
    __table_args__ = (Index("ix_holds_subject_type_subject_id", "subject_type", "subject_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(String(255))
    placed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(255))
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
