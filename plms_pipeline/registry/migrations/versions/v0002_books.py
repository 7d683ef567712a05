"""The books: tasks, receipts, day summaries, decisions, audit, leases, and the view of the daily review."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only, refuse
from plms_pipeline.registry.migrations.views import CREATE_PORTFOLIO_METRICS
from plms_pipeline.registry.types import Json, Usd, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "audit_log",
    "decisions",
    "holds",
    "leases",
    "receipt_days",
    "state_transitions",
    "day_summaries",
    "interval_corrections",
    "run_passports",
    "run_tasks",
    "task_receipts",
)


def upgrade() -> None:
    attic = Attic()
    _audit_log(attic)
    _decisions(attic)
    _holds(attic)
    _leases(attic)
    _receipt_days(attic)
    _state_transitions(attic)
    _day_summaries(attic)
    _interval_corrections(attic)
    _run_passports(attic)
    _run_tasks(attic)
    _task_receipts(attic)
    for table in ("task_receipts", "decisions", "audit_log", "state_transitions"):
        append_only(table)
    refuse(
        "run_tasks",
        "trg_run_tasks_terminal",
        "UPDATE OF status",
        "run_tasks: a terminal status never changes",
        "OLD.status IN ('SUCCESS', 'FAIL', 'SKIPPED') AND NEW.status <> OLD.status",
    )
    op.execute(CREATE_PORTFOLIO_METRICS[op.get_bind().dialect.name])


def downgrade() -> None:
    op.execute("DROP VIEW portfolio_metrics")
    Attic().retire(*reversed(TABLES))


def _audit_log(attic: Attic) -> None:
    attic.create_table(
        "audit_log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("details_json", Json(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    attic.create_index("ix_audit_log_at", "audit_log", ["at"], unique=False)


def _decisions(attic: Attic) -> None:
    attic.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("decision", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.String(length=255), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=True),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=True),
        sa.Column("payload_json", Json(), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_decisions_decision_id")),
    )
    attic.create_index(
        "ix_decisions_subject_type_subject_id", "decisions", ["subject_type", "subject_id"], unique=False
    )


def _holds(attic: Attic) -> None:
    attic.create_table(
        "holds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(length=255), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("lifted_by", sa.String(length=255), nullable=True),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    attic.create_index("ix_holds_subject_type_subject_id", "holds", ["subject_type", "subject_id"], unique=False)


def _leases(attic: Attic) -> None:
    attic.create_table(
        "leases",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("acquired_at", UtcDateTime(), nullable=True),
        sa.Column("renewed_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("details_json", Json(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def _receipt_days(attic: Attic) -> None:
    attic.create_table(
        "receipt_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("changed_seq", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("written_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("summarised_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("n_receipts", sa.Integer(), nullable=True),
        sa.Column("rows_sha256", sa.String(length=64), nullable=True),
        sa.Column("file_sha256", sa.String(length=64), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("written_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "written_seq <= changed_seq AND summarised_seq <= changed_seq",
            name=op.f("ck_receipt_days_nothing_ahead_of_the_book"),
        ),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_receipt_days")),
    )


def _state_transitions(attic: Attic) -> None:
    attic.create_table(
        "state_transitions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("from_state", sa.String(length=32), nullable=True),
        sa.Column("to_state", sa.String(length=32), nullable=False),
        sa.Column("is_terminal", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_state_transitions")),
        sa.UniqueConstraint(
            "subject_type", "subject_id", "sequence", name=op.f("uq_state_transitions_subject_type_subject_id_sequence")
        ),
    )
    attic.create_index("ix_state_transitions_at", "state_transitions", ["at"], unique=False)
    attic.create_index(
        "ux_state_transitions_one_terminal",
        "state_transitions",
        ["subject_type", "subject_id"],
        unique=True,
        sqlite_where=sa.text("is_terminal"),
        postgresql_where=sa.text("is_terminal"),
    )


def _day_summaries(attic: Attic) -> None:
    attic.create_table(
        "day_summaries",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("basis", sa.String(length=8), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.CheckConstraint("basis IN ('effort', 'spend')", name=op.f("ck_day_summaries_basis_is_known")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_day_summaries_n_is_not_negative")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_day_summaries_lane_id")),
        sa.PrimaryKeyConstraint("day", "lane_id", "provider", "measure", "basis", name=op.f("pk_day_summaries")),
    )


def _interval_corrections(attic: Attic) -> None:
    attic.create_table(
        "interval_corrections",
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("basis", sa.String(length=8), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.CheckConstraint("basis IN ('effort', 'spend')", name=op.f("ck_interval_corrections_basis_is_known")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_interval_corrections_lane_id")),
        sa.PrimaryKeyConstraint("lane_id", "measure", "basis", "day", name=op.f("pk_interval_corrections")),
    )


def _run_passports(attic: Attic) -> None:
    attic.create_table(
        "run_passports",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("passport_json", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("provider_matrix_json", sa.Text(), nullable=False),
        sa.Column("env_snapshot_json", sa.Text(), nullable=False),
        sa.Column("prd_sha", sa.String(length=64), nullable=True),
        sa.Column("git_commit", sa.String(length=64), nullable=True),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_run_passports_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_passports")),
    )


def _run_tasks(attic: Attic) -> None:
    attic.create_table(
        "run_tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("task_kind", sa.String(length=255), nullable=True),
        sa.Column("complexity", sa.String(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), server_default="QUEUED", nullable=False),
        sa.Column("validation", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("queued_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED')", name=op.f("ck_run_tasks_status_is_known")
        ),
        sa.CheckConstraint(
            "validation IN ('pending', 'passed', 'failed', 'ungated')", name=op.f("ck_run_tasks_validation_is_known")
        ),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_run_tasks_lane_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_run_tasks_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_tasks")),
        sa.UniqueConstraint("run_id", "task_id", name=op.f("uq_run_tasks_run_id_task_id")),
    )
    attic.create_index("ix_run_tasks_lane_id_queued_at", "run_tasks", ["lane_id", "queued_at"], unique=False)


def _task_receipts(attic: Attic) -> None:
    attic.create_table(
        "task_receipts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("tokens_input", sa.BigInteger(), nullable=True),
        sa.Column("tokens_output", sa.BigInteger(), nullable=True),
        sa.Column("tokens_cached", sa.BigInteger(), nullable=True),
        sa.Column("tokens_reasoning", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", Usd(), nullable=True),
        sa.Column("energy_kwh", sa.Float(), nullable=True),
        sa.Column("echo_cos", sa.Float(), nullable=True),
        sa.Column("test_pass_rate", sa.Float(), nullable=True),
        sa.Column("api_calls", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=False),
        sa.Column("completed_on", sa.Date(), nullable=False),
        sa.Column("time_precision", sa.String(length=8), server_default="ms", nullable=False),
        sa.Column("natural_key", sa.String(length=512), nullable=False),
        sa.Column("artifacts_path", sa.Text(), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("source_file_sha256", sa.String(length=64), nullable=True),
        sa.Column("row_sha256", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("status IN ('SUCCESS', 'FAIL')", name=op.f("ck_task_receipts_status_is_terminal")),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_task_receipts_attempts_count_from_one")),
        sa.CheckConstraint("completed_at >= started_at", name=op.f("ck_task_receipts_completed_after_started")),
        sa.CheckConstraint("cost_usd >= 0", name=op.f("ck_task_receipts_money_is_not_negative")),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_task_receipts_duration_is_not_negative")),
        sa.CheckConstraint(
            "test_pass_rate >= 0 AND test_pass_rate <= 1", name=op.f("ck_task_receipts_test_pass_rate_is_a_fraction")
        ),
        sa.CheckConstraint(
            "tokens >= 0 AND tokens_input >= 0 AND tokens_output >= 0 AND tokens_cached >= 0 AND tokens_reasoning >= 0",
            name=op.f("ck_task_receipts_tokens_are_not_negative"),
        ),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_task_receipts_lane_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_task_receipts_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_task_receipts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_receipts")),
        sa.UniqueConstraint("run_id", "task_id", "attempt", name=op.f("uq_task_receipts_run_id_task_id_attempt")),
    )
    attic.create_index(
        "ix_task_receipts_completed_on", "task_receipts", ["completed_on", "completed_at", "natural_key"], unique=False
    )
    attic.create_index(
        "ix_task_receipts_lane_id_provider_completed_at",
        "task_receipts",
        ["lane_id", "provider", "completed_at"],
        unique=False,
    )
