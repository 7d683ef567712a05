"""The tables that the guides name, with the constraints they lacked; lanes, aliases and gates as rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only, refuse
from plms_pipeline.registry.migrations.seeds import seed_lanes
from plms_pipeline.registry.types import Json, Usd, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "lanes",
    "projects",
    "action_logs",
    "estimate_versions",
    "lane_aliases",
    "lane_gates",
    "project_questions",
    "project_runs",
    "kpi_receipts",
    "project_approvals",
    "project_artifacts",
    "task_estimates",
    "lane_overrides",
)


def upgrade() -> None:
    attic = Attic()
    _lanes(attic)
    _projects(attic)
    _action_logs(attic)
    _estimate_versions(attic)
    _lane_aliases(attic)
    _lane_gates(attic)
    _project_questions(attic)
    _project_runs(attic)
    _kpi_receipts(attic)
    _project_approvals(attic)
    _project_artifacts(attic)
    _task_estimates(attic)
    _lane_overrides(attic)
    attic.create_index(
        "ux_estimate_versions_key",
        "estimate_versions",
        [sa.text("coalesce(lane_id, 0)"), "provider_name", "basis", "version"],
        unique=True,
    )
    seed_lanes(attic)
    append_only("estimate_versions")
    append_only("kpi_receipts")
    refuse(
        "project_runs",
        "trg_project_runs_terminal",
        "UPDATE OF status",
        "project_runs: a terminal status never changes",
        "OLD.status IN ('SUCCESS', 'FAIL', 'SKIPPED') AND NEW.status <> OLD.status",
    )


def downgrade() -> None:
    Attic().retire(*reversed(TABLES))


def _lanes(attic: Attic) -> None:
    attic.create_table(
        "lanes",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.CheckConstraint("cap >= 0", name=op.f("ck_lanes_cap_is_not_negative")),
        sa.PrimaryKeyConstraint("lane_id", name=op.f("pk_lanes")),
        sa.UniqueConstraint("name", name=op.f("uq_lanes_name")),
    )


def _projects(attic: Attic) -> None:
    attic.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", Json(), nullable=True),
        sa.Column("status", sa.String(length=32), server_default="planning", nullable=False),
        sa.Column("source", sa.String(length=64), server_default="plms", nullable=False),
        sa.Column("external_key", sa.String(length=255), nullable=True),
        sa.Column("prd_path", sa.Text(), nullable=True),
        sa.Column("budget_tokens_max", sa.Integer(), nullable=True),
        sa.Column("budget_cost_usd_max", Usd(), nullable=True),
        sa.Column("breach_policy", sa.String(length=16), server_default="pause", nullable=False),
        sa.Column("min_echo_cos", sa.Float(), server_default="0.82", nullable=False),
        sa.Column("quality_slo_gates", Json(), nullable=True),
        sa.Column("estimated_tokens", sa.Integer(), nullable=True),
        sa.Column("estimated_duration_minutes", sa.Integer(), nullable=True),
        sa.Column("estimated_cost_usd", Usd(), nullable=True),
        sa.Column("actual_tokens", sa.Integer(), nullable=True),
        sa.Column("actual_duration_minutes", sa.Integer(), nullable=True),
        sa.Column("actual_cost_usd", Usd(), nullable=True),
        sa.Column("token_error_pct", sa.Float(), nullable=True),
        sa.Column("time_error_pct", sa.Float(), nullable=True),
        sa.Column("cost_error_pct", sa.Float(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("prd_generated_at", UtcDateTime(), nullable=True),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("created_by", sa.String(length=255), server_default="user", nullable=False),
        sa.Column("template_used", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "breach_policy IN ('pause', 'ask', 'kill')", name=op.f("ck_projects_breach_policy_is_known")
        ),
        sa.CheckConstraint(
            "status IN ('planning', 'pending_approval', 'approved', 'executing', 'validating', 'completed', 'needs_review', 'cancelled')",
            name=op.f("ck_projects_status_is_known"),
        ),
        sa.CheckConstraint(
            "budget_cost_usd_max >= 0 AND estimated_cost_usd >= 0 AND actual_cost_usd >= 0",
            name=op.f("ck_projects_money_is_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("source", "external_key", name=op.f("uq_projects_source_external_key")),
    )


def _action_logs(attic: Attic) -> None:
    attic.create_table(
        "action_logs",
        sa.Column("log_id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("parent_log_id", sa.Integer(), nullable=True),
        sa.Column("timestamp", UtcDateTime(), nullable=False),
        sa.Column("from_agent", sa.String(length=255), nullable=True),
        sa.Column("to_agent", sa.String(length=255), nullable=True),
        sa.Column("action_type", sa.String(length=64), nullable=False),
        sa.Column("action_name", sa.String(length=255), nullable=True),
        sa.Column("action_data", Json(), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=True),
        sa.Column("tier_from", sa.Integer(), nullable=True),
        sa.Column("tier_to", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["parent_log_id"], ["action_logs.log_id"], name=op.f("fk_action_logs_parent_log_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_action_logs_project_id")),
        sa.PrimaryKeyConstraint("log_id", name=op.f("pk_action_logs")),
    )
    attic.create_index("ix_action_logs_project_id", "action_logs", ["project_id"], unique=False)
    attic.create_index("ix_action_logs_run_id", "action_logs", ["run_id"], unique=False)


def _estimate_versions(attic: Attic) -> None:
    attic.create_table(
        "estimate_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("lane_id", sa.Integer(), nullable=True),
        sa.Column("provider_name", sa.String(length=255), nullable=False),
        sa.Column("provider", sa.String(length=255), sa.Computed("provider_name", persisted=True), nullable=False),
        sa.Column("basis", sa.String(length=8), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("as_of", UtcDateTime(), nullable=False),
        sa.Column("priors_hash", sa.String(length=64), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("priors_json", sa.Text(), nullable=False),
        sa.Column("tokens_mean", sa.Float(), nullable=True),
        sa.Column("tokens_stddev", sa.Float(), nullable=True),
        sa.Column("duration_ms_mean", sa.Float(), nullable=True),
        sa.Column("duration_ms_stddev", sa.Float(), nullable=True),
        sa.Column("cost_usd_mean", Usd(), nullable=True),
        sa.Column("cost_usd_stddev", Usd(), nullable=True),
        sa.Column("attempts_per_task", sa.Float(), nullable=True),
        sa.Column("n_observations", sa.Integer(), server_default="0", nullable=False),
        sa.Column("mean_absolute_error_tokens", sa.Float(), nullable=True),
        sa.Column("mean_absolute_error_duration_ms", sa.Float(), nullable=True),
        sa.Column("mean_absolute_error_cost_usd", Usd(), nullable=True),
        sa.Column("run_kind", sa.String(length=16), nullable=False),
        sa.Column("validation_pass", sa.Boolean(), nullable=True),
        sa.Column("write_sandbox", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(basis = 'effort' AND validation_pass IS TRUE) OR (basis = 'spend' AND validation_pass IS NULL)",
            name=op.f("ck_estimate_versions_effort_is_learnt_from_passed_runs"),
        ),
        sa.CheckConstraint("basis IN ('effort', 'spend')", name=op.f("ck_estimate_versions_basis_is_known")),
        sa.CheckConstraint(
            "run_kind IN ('baseline', 'hotfix')", name=op.f("ck_estimate_versions_only_real_runs_teach")
        ),
        sa.CheckConstraint("NOT write_sandbox", name=op.f("ck_estimate_versions_no_sandbox_run_teaches")),
        sa.CheckConstraint(
            "cost_usd_mean >= 0 AND cost_usd_stddev >= 0", name=op.f("ck_estimate_versions_money_is_not_negative")
        ),
        sa.CheckConstraint("n_observations >= 0", name=op.f("ck_estimate_versions_n_is_not_negative")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_estimate_versions_lane_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_estimate_versions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimate_versions")),
    )
    attic.create_index(
        "ix_estimate_versions_lane_id_provider_name_created_at",
        "estimate_versions",
        ["lane_id", "provider_name", "created_at"],
        unique=False,
    )


def _lane_aliases(attic: Attic) -> None:
    attic.create_table(
        "lane_aliases",
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("vocabulary", sa.String(length=32), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_lane_aliases_lane_id")),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_lane_aliases")),
    )


def _lane_gates(attic: Attic) -> None:
    attic.create_table(
        "lane_gates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("kpi_name", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=2), nullable=False),
        sa.Column("threshold", Json(), nullable=False),
        sa.Column("blocks", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "operator IN ('>=', '<=', '==', '>', '<', '!=')", name=op.f("ck_lane_gates_operator_is_known")
        ),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_lane_gates_lane_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lane_gates")),
        sa.UniqueConstraint("lane_id", "kpi_name", name=op.f("uq_lane_gates_lane_id_kpi_name")),
    )


def _project_questions(attic: Attic) -> None:
    attic.create_table(
        "project_questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_questions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_questions")),
    )
    attic.create_index("ix_project_questions_project_id", "project_questions", ["project_id"], unique=False)


def _project_runs(attic: Attic) -> None:
    attic.create_table(
        "project_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), server_default="QUEUED", nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("run_kind", sa.String(length=16), server_default="baseline", nullable=False),
        sa.Column("rehearsal_pct", sa.Float(), nullable=True),
        sa.Column("strata_coverage", sa.Float(), nullable=True),
        sa.Column("provider_matrix_json", sa.Text(), nullable=True),
        sa.Column("capability_snapshot", sa.Text(), nullable=True),
        sa.Column("risk_score", sa.Float(), nullable=True),
        sa.Column("validation", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column(
            "validation_pass",
            sa.Boolean(),
            sa.Computed("CASE validation WHEN 'passed' THEN TRUE WHEN 'failed' THEN FALSE END", persisted=True),
            nullable=True,
        ),
        sa.Column("verdict_by", sa.String(length=64), nullable=True),
        sa.Column("write_sandbox", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("passport_sha256", sa.String(length=64), nullable=True),
        sa.Column("validation_pass_override", sa.Boolean(), nullable=True),
        sa.Column("override_reason", sa.Text(), nullable=True),
        sa.Column("overridden_by", sa.String(length=255), nullable=True),
        sa.Column("overridden_at", UtcDateTime(), nullable=True),
        sa.Column("override_teaches", sa.Boolean(), nullable=True),
        sa.Column("cost_receipt_path", sa.Text(), nullable=True),
        sa.Column("heartbeat_ok_ratio", sa.Float(), nullable=True),
        sa.Column("token_budget_breaches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("source", sa.String(length=64), server_default="plms", nullable=False),
        sa.Column("source_file_sha256", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "NOT (run_kind = 'baseline' AND write_sandbox)", name=op.f("ck_project_runs_no_baseline_in_the_sandbox")
        ),
        sa.CheckConstraint(
            "NOT (status IN ('SUCCESS', 'FAIL', 'SKIPPED')) OR status = 'SKIPPED' OR completed_at IS NOT NULL",
            name=op.f("ck_project_runs_an_ended_run_has_an_end"),
        ),
        sa.CheckConstraint(
            "run_kind IN ('baseline', 'rehearsal', 'replay', 'hotfix')", name=op.f("ck_project_runs_run_kind_is_known")
        ),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED')",
            name=op.f("ck_project_runs_status_is_known"),
        ),
        sa.CheckConstraint(
            "validation IN ('pending', 'passed', 'failed', 'ungated')", name=op.f("ck_project_runs_validation_is_known")
        ),
        sa.CheckConstraint("completed_at >= started_at", name=op.f("ck_project_runs_completed_after_started")),
        sa.CheckConstraint(
            "rehearsal_pct >= 0 AND rehearsal_pct <= 1", name=op.f("ck_project_runs_rehearsal_pct_is_a_fraction")
        ),
        sa.CheckConstraint(
            "strata_coverage >= 0 AND strata_coverage <= 1", name=op.f("ck_project_runs_strata_coverage_is_a_fraction")
        ),
        sa.CheckConstraint(
            "validation_pass_override IS NULL OR (override_reason IS NOT NULL AND overridden_by IS NOT NULL AND overridden_at IS NOT NULL)",
            name=op.f("ck_project_runs_an_override_is_explained"),
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_runs_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_project_runs_run_id")),
    )
    attic.create_index(
        "ix_project_runs_project_id_run_kind_started_at",
        "project_runs",
        ["project_id", "run_kind", "started_at"],
        unique=False,
    )


def _kpi_receipts(attic: Attic) -> None:
    attic.create_table(
        "kpi_receipts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("artifact_name", sa.String(length=255), nullable=True),
        sa.Column("kpi_name", sa.String(length=64), nullable=False),
        sa.Column("kpi_value", sa.Float(), nullable=True),
        sa.Column("kpi_threshold", Json(), nullable=True),
        sa.Column("pass", sa.Boolean(), nullable=False),
        sa.Column("blocks", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=True),
        sa.Column("gates_sha256", sa.String(length=64), nullable=True),
        sa.Column("logs_path", sa.Text(), nullable=True),
        sa.Column("measured_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_kpi_receipts_lane_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_kpi_receipts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kpi_receipts")),
        sa.UniqueConstraint("evaluation_id", "kpi_name", name=op.f("uq_kpi_receipts_evaluation_id_kpi_name")),
    )
    attic.create_index(
        "ix_kpi_receipts_artifact_sha256", "kpi_receipts", ["artifact_sha256", "gates_sha256"], unique=False
    )
    attic.create_index("ix_kpi_receipts_kpi_name_pass", "kpi_receipts", ["kpi_name", "pass"], unique=False)
    attic.create_index("ix_kpi_receipts_run_id", "kpi_receipts", ["run_id"], unique=False)
    attic.create_index("ix_kpi_receipts_task_id", "kpi_receipts", ["task_id"], unique=False)


def _project_approvals(attic: Attic) -> None:
    attic.create_table(
        "project_approvals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("approver", sa.String(length=255), nullable=False),
        sa.Column("gate", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "gate IN ('prd_review', 'budget_approval', 'quality_override', 'replan_request')",
            name=op.f("ck_project_approvals_gate_is_known"),
        ),
        sa.CheckConstraint(
            "status IN ('approved', 'rejected', 'pending')", name=op.f("ck_project_approvals_status_is_known")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_approvals_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_project_approvals_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_approvals")),
    )
    attic.create_index("ix_project_approvals_project_id", "project_approvals", ["project_id"], unique=False)


def _project_artifacts(attic: Attic) -> None:
    attic.create_table(
        "project_artifacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("artifact_path", sa.String(length=1024), nullable=False),
        sa.Column("artifact_kind", sa.String(length=16), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "artifact_kind IN ('prd', 'code', 'config', 'model', 'logs', 'receipt')",
            name=op.f("ck_project_artifacts_artifact_kind_is_known"),
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_project_artifacts_size_is_not_negative")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_artifacts_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_project_artifacts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_artifacts")),
        sa.UniqueConstraint("run_id", "artifact_path", name=op.f("uq_project_artifacts_run_id_artifact_path")),
    )


def _task_estimates(attic: Attic) -> None:
    attic.create_table(
        "task_estimates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("task_description", sa.Text(), nullable=True),
        sa.Column("task_kind", sa.String(length=64), nullable=True),
        sa.Column("parent_task_id", sa.Integer(), nullable=True),
        sa.Column("order_index", sa.Integer(), nullable=True),
        sa.Column("tmd_lane", sa.Integer(), nullable=True),
        sa.Column("store_hint", sa.String(length=16), nullable=True),
        sa.Column("expected_echo_cos", sa.Float(), nullable=True),
        sa.Column("kpi_formula", sa.Text(), nullable=True),
        sa.Column("complexity", sa.String(length=16), nullable=True),
        sa.Column("estimated_tokens", sa.Integer(), nullable=True),
        sa.Column("estimated_duration_minutes", sa.Integer(), nullable=True),
        sa.Column("estimated_cost_usd", Usd(), nullable=True),
        sa.Column("estimation_priors", Json(), nullable=True),
        sa.Column("action_log_id", sa.Integer(), nullable=True),
        sa.Column("pas_job_card_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=32), server_default="pending", nullable=False),
        sa.CheckConstraint(
            "complexity IN ('trivial', 'simple', 'moderate', 'complex', 'very_complex')",
            name=op.f("ck_task_estimates_complexity_is_known"),
        ),
        sa.CheckConstraint(
            "store_hint IN ('vec', 'graph', 'text', 'hybrid')", name=op.f("ck_task_estimates_store_hint_is_known")
        ),
        sa.CheckConstraint(
            "estimated_tokens >= 0 AND estimated_duration_minutes >= 0 AND estimated_cost_usd >= 0",
            name=op.f("ck_task_estimates_estimates_are_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["action_log_id"], ["action_logs.log_id"], name=op.f("fk_task_estimates_action_log_id")
        ),
        sa.ForeignKeyConstraint(
            ["parent_task_id"], ["task_estimates.id"], name=op.f("fk_task_estimates_parent_task_id")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_task_estimates_project_id")),
        sa.ForeignKeyConstraint(["tmd_lane"], ["lanes.lane_id"], name=op.f("fk_task_estimates_tmd_lane")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_estimates")),
    )
    attic.create_index(
        "ix_task_estimates_project_id_order_index", "task_estimates", ["project_id", "order_index"], unique=False
    )


def _lane_overrides(attic: Attic) -> None:
    attic.create_table(
        "lane_overrides",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_estimate_id", sa.Integer(), nullable=False),
        sa.Column("task_description", sa.Text(), nullable=True),
        sa.Column("predicted_lane", sa.Integer(), nullable=False),
        sa.Column("corrected_lane", sa.Integer(), nullable=False),
        sa.Column("corrected_by", sa.String(length=255), nullable=False),
        sa.Column("corrected_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("predicted_lane <> corrected_lane", name=op.f("ck_lane_overrides_the_lane_changed")),
        sa.ForeignKeyConstraint(["corrected_lane"], ["lanes.lane_id"], name=op.f("fk_lane_overrides_corrected_lane")),
        sa.ForeignKeyConstraint(["predicted_lane"], ["lanes.lane_id"], name=op.f("fk_lane_overrides_predicted_lane")),
        sa.ForeignKeyConstraint(
            ["task_estimate_id"], ["task_estimates.id"], name=op.f("fk_lane_overrides_task_estimate_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lane_overrides")),
    )
    attic.create_index("ix_lane_overrides_task_estimate_id", "lane_overrides", ["task_estimate_id"], unique=False)
