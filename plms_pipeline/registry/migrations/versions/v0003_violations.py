"""Partial indexes that hold every violating row, and the marks of how far the books were proven."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic
from plms_pipeline.registry.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# (index, table, key columns, predicate, predicate on SQLite where its types ask for another)
INDEXES: tuple[tuple[str, str, tuple[str, ...], str, str | None], ...] = (
    (
        "vx_every_run_has_an_id",
        "project_runs",
        ("id",),
        "COALESCE(run_id, '') = ''",
        None,
    ),
    (
        "vx_every_run_has_a_passport",
        "project_runs",
        ("id",),
        "(source = 'plms' AND (passport_sha256 IS NULL OR length(passport_sha256) <> 64)) OR (source <> 'plms' AND (source_file_sha256 IS NULL OR length(source_file_sha256) <> 64))",
        None,
    ),
    (
        "vx_every_run_kind_is_known",
        "project_runs",
        ("id",),
        "COALESCE(run_kind, '') NOT IN ('baseline', 'rehearsal', 'replay', 'hotfix')",
        None,
    ),
    (
        "vx_every_run_state_is_known",
        "project_runs",
        ("id",),
        "COALESCE(status, '') NOT IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED') OR COALESCE(validation, '') NOT IN ('pending', 'passed', 'failed', 'ungated')",
        None,
    ),
    (
        "vx_no_baseline_runs_in_the_sandbox",
        "project_runs",
        ("id",),
        "run_kind = 'baseline' AND write_sandbox IS NOT FALSE",
        None,
    ),
    (
        "vx_no_run_ends_before_it_starts",
        "project_runs",
        ("id",),
        "completed_at < started_at",
        None,
    ),
    (
        "vx_a_run_has_an_end_exactly_when_it_ended",
        "project_runs",
        ("id",),
        "(status IN ('SUCCESS', 'FAIL') AND completed_at IS NULL) OR (status IN ('QUEUED', 'RUNNING') AND completed_at IS NOT NULL)",
        None,
    ),
    (
        "vx_every_override_is_explained",
        "project_runs",
        ("id",),
        "validation_pass_override IS NOT NULL AND (length(trim(COALESCE(override_reason, ''))) = 0 OR length(trim(COALESCE(overridden_by, ''))) = 0 OR overridden_at IS NULL)",
        None,
    ),
    (
        "vx_every_verdict_names_its_judge",
        "project_runs",
        ("id",),
        "validation IN ('passed', 'failed') AND length(trim(COALESCE(verdict_by, ''))) = 0",
        None,
    ),
    (
        "vx_every_real_run_has_a_provider_snapshot",
        "project_runs",
        ("id",),
        "source = 'plms' AND run_kind IN ('baseline', 'hotfix') AND trim(COALESCE(provider_matrix_json, '')) IN ('', '{}', '[]', 'null')",
        None,
    ),
    (
        "vx_every_rehearsal_covers_its_strata",
        "project_runs",
        ("id",),
        "run_kind = 'rehearsal' AND (strata_coverage < 1 OR (strata_coverage IS NULL AND source = 'plms' AND status = 'SUCCESS'))",
        None,
    ),
    (
        "vx_run_shares_lie_between_0_and_1",
        "project_runs",
        ("id",),
        "rehearsal_pct < 0 OR rehearsal_pct > 1 OR strata_coverage < 0 OR strata_coverage > 1 OR heartbeat_ok_ratio < 0 OR heartbeat_ok_ratio > 1",
        None,
    ),
    (
        "vx_every_task_state_is_known",
        "run_tasks",
        ("id",),
        "COALESCE(status, '') NOT IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED') OR COALESCE(validation, '') NOT IN ('pending', 'passed', 'failed', 'ungated')",
        None,
    ),
    (
        "vx_no_task_ends_before_it_starts",
        "run_tasks",
        ("id",),
        "completed_at < started_at",
        None,
    ),
    (
        "vx_no_receipt_measures_less_than_nothing",
        "task_receipts",
        ("id",),
        "cost_usd < 0 OR duration_ms < 0 OR tokens < 0 OR tokens_input < 0 OR tokens_output < 0 OR tokens_cached < 0 OR tokens_reasoning < 0 OR api_calls < 0 OR energy_kwh < 0",
        None,
    ),
    (
        "vx_no_receipt_ends_before_it_starts",
        "task_receipts",
        ("id",),
        "completed_at < started_at",
        None,
    ),
    (
        "vx_every_receipt_says_how_it_ended",
        "task_receipts",
        ("id",),
        "COALESCE(status, '') NOT IN ('SUCCESS', 'FAIL')",
        None,
    ),
    (
        "vx_attempts_count_from_one",
        "task_receipts",
        ("id",),
        "COALESCE(attempt, 0) < 1",
        None,
    ),
    (
        "vx_receipt_shares_lie_in_their_range",
        "task_receipts",
        ("id",),
        "test_pass_rate < 0 OR test_pass_rate > 1 OR echo_cos < -1 OR echo_cos > 1",
        None,
    ),
    (
        "vx_token_parts_fit_into_their_total",
        "task_receipts",
        ("id",),
        "tokens < COALESCE(tokens_input, 0) + COALESCE(tokens_output, 0) + COALESCE(tokens_cached, 0) + COALESCE(tokens_reasoning, 0)",
        None,
    ),
    (
        "vx_every_receipt_lies_on_its_utc_day",
        "task_receipts",
        ("id",),
        "completed_on IS DISTINCT FROM CAST(completed_at AT TIME ZONE 'UTC' AS date)",
        "completed_on IS NOT substr(completed_at, 1, 10)",
    ),
    (
        "vx_nothing_stands_ahead_of_the_book",
        "receipt_days",
        ("day",),
        "written_seq > changed_seq OR summarised_seq > changed_seq OR n_receipts < 0",
        None,
    ),
    (
        "vx_no_summary_counts_below_zero",
        "day_summaries",
        ("day", "lane_id", "provider", "measure", "basis"),
        "n < 0",
        None,
    ),
    (
        "vx_priors_learn_only_from_real_passed_runs",
        "estimate_versions",
        ("id",),
        "COALESCE(run_kind, '') NOT IN ('baseline', 'hotfix') OR write_sandbox IS NOT FALSE OR COALESCE(basis, '') NOT IN ('effort', 'spend') OR validation_pass IS FALSE OR (basis = 'effort' AND validation_pass IS NOT TRUE)",
        None,
    ),
    (
        "vx_every_prior_rests_on_receipts",
        "estimate_versions",
        ("id",),
        "COALESCE(n_observations, 0) <= 0",
        None,
    ),
    (
        "vx_no_prior_is_negative",
        "estimate_versions",
        ("id",),
        "cost_usd_mean < 0 OR cost_usd_stddev < 0 OR duration_ms_mean < 0 OR duration_ms_stddev < 0 OR tokens_mean < 0 OR tokens_stddev < 0 OR attempts_per_task < 0",
        None,
    ),
    (
        "vx_every_unmeasured_kpi_fails_with_a_reason",
        "kpi_receipts",
        ("id",),
        "kpi_value IS NULL AND (pass IS NOT FALSE OR length(trim(COALESCE(reason, ''))) = 0)",
        None,
    ),
    (
        "vx_no_estimate_is_negative",
        "task_estimates",
        ("id",),
        "estimated_tokens < 0 OR estimated_duration_minutes < 0 OR estimated_cost_usd < 0",
        None,
    ),
    (
        "vx_every_lane_override_changes_the_lane",
        "lane_overrides",
        ("id",),
        "predicted_lane IS NULL OR corrected_lane IS NULL OR predicted_lane = corrected_lane",
        None,
    ),
    (
        "vx_no_project_has_negative_money",
        "projects",
        ("id",),
        "budget_cost_usd_max < 0 OR estimated_cost_usd < 0 OR actual_cost_usd < 0",
        None,
    ),
    (
        "vx_every_project_state_is_known",
        "projects",
        ("id",),
        "COALESCE(status, '') NOT IN ('planning', 'pending_approval', 'approved', 'executing', 'validating', 'completed', 'needs_review', 'cancelled')",
        None,
    ),
)


def upgrade() -> None:
    attic = Attic()
    attic.create_table(
        "proof_marks",
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("proven_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_proof_marks")),
    )
    for name, table, columns, predicate, on_sqlite in INDEXES:
        op.create_index(
            name,
            table,
            list(columns),
            sqlite_where=sa.text(on_sqlite or predicate),
            postgresql_where=sa.text(predicate),
        )


def downgrade() -> None:
    # An index holds nothing of its own: it is dropped and built again; the marks are kept.
    for name, table, *_ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    Attic().retire("proof_marks")
