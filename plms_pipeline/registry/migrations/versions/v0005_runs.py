"""Runs are started, handed over, completed and reported: cards, inbox, outbox, keys, plans, rehearsals, reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, refuse
from plms_pipeline.registry.types import Json, Usd, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = (
    "inbox_events",
    "outbox_events",
    "project_policies",
    "idempotency_keys",
    "job_cards",
    "provider_snapshots",
    "rehearsals",
    "run_aliases",
    "run_lineage",
    "session_reports",
    "task_plans",
)


def upgrade() -> None:
    attic = Attic()
    _inbox_events(attic)
    _outbox_events(attic)
    _project_policies(attic)
    _idempotency_keys(attic)
    _job_cards(attic)
    _provider_snapshots(attic)
    _rehearsals(attic)
    _run_aliases(attic)
    _run_lineage(attic)
    _session_reports(attic)
    _task_plans(attic)
    refuse(
        "job_cards",
        "trg_job_cards_terminal",
        "UPDATE OF state",
        "job_cards: a terminal state never changes",
        "OLD.state IN ('ENDED', 'CANCELLED') AND NEW.state <> OLD.state",
    )
    refuse(
        "inbox_events",
        "trg_inbox_events_terminal",
        "UPDATE OF state",
        "inbox_events: an event is settled once",
        "OLD.state <> 'pending' AND NEW.state <> OLD.state",
    )


def downgrade() -> None:
    Attic().retire(*reversed(TABLES))


def _inbox_events(attic: Attic) -> None:
    attic.create_table(
        "inbox_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("body_json", Json(), nullable=False),
        sa.Column("run_id", sa.String(length=255), nullable=True),
        sa.Column("task_id", sa.String(length=255), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_holder", sa.String(length=255), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'settled', 'ignored', 'refused')", name=op.f("ck_inbox_events_state_is_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_inbox_events_event_id")),
    )
    attic.create_index("ix_inbox_events_run_id", "inbox_events", ["run_id"], unique=False)
    attic.create_index("ix_inbox_events_state_received_at", "inbox_events", ["state", "received_at"], unique=False)


def _outbox_events(attic: Attic) -> None:
    attic.create_table(
        "outbox_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_key", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("payload_json", Json(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_holder", sa.String(length=255), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'done', 'failed')", name=op.f("ck_outbox_events_state_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_events")),
        sa.UniqueConstraint("event_key", name=op.f("uq_outbox_events_event_key")),
    )
    attic.create_index("ix_outbox_events_state_due_at", "outbox_events", ["state", "due_at"], unique=False)
    attic.create_index("ix_outbox_events_subject_id", "outbox_events", ["subject_id"], unique=False)


def _project_policies(attic: Attic) -> None:
    attic.create_table(
        "project_policies",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("max_active_runs", sa.Integer(), server_default="1", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("max_active_runs >= 1", name=op.f("ck_project_policies_at_least_one_run")),
        sa.CheckConstraint("max_attempts >= 1", name=op.f("ck_project_policies_at_least_one_attempt")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_policies_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_policies")),
    )


def _idempotency_keys(attic: Attic) -> None:
    attic.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_name", sa.String(length=255), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer_json", sa.Text(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "state <> 'done' OR answer_json IS NOT NULL", name=op.f("ck_idempotency_keys_what_is_done_has_an_answer")
        ),
        sa.CheckConstraint("state IN ('in_progress', 'done')", name=op.f("ck_idempotency_keys_state_is_known")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_idempotency_keys_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint(
            "user_name", "method", "path", "key", name=op.f("uq_idempotency_keys_user_name_method_path_key")
        ),
    )
    attic.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False)


def _job_cards(attic: Attic) -> None:
    attic.create_table(
        "job_cards",
        sa.Column("card_key", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("priority", sa.Float(), server_default="0.5", nullable=False),
        sa.Column("budget_usd", Usd(), nullable=True),
        sa.Column("depends_on_json", Json(), nullable=True),
        sa.Column("payload_json", Json(), nullable=True),
        sa.Column("state", sa.String(length=16), server_default="WAITING", nullable=False),
        sa.Column("pas_task_id", sa.String(length=64), nullable=True),
        sa.Column("submissions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("last_heartbeat_at", UtcDateTime(), nullable=True),
        sa.Column("lease_holder", sa.String(length=255), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('WAITING', 'SUBMITTED', 'ENDED', 'CANCELLED')", name=op.f("ck_job_cards_state_is_known")
        ),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_job_cards_attempts_count_from_one")),
        sa.CheckConstraint("budget_usd >= 0", name=op.f("ck_job_cards_money_is_not_negative")),
        sa.CheckConstraint("priority >= 0 AND priority <= 1", name=op.f("ck_job_cards_priority_is_a_fraction")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_job_cards_lane_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_job_cards_run_id")),
        sa.PrimaryKeyConstraint("card_key", name=op.f("pk_job_cards")),
        sa.UniqueConstraint("run_id", "task_id", "attempt", name=op.f("uq_job_cards_run_id_task_id_attempt")),
    )
    attic.create_index("ix_job_cards_lane_id_state", "job_cards", ["lane_id", "state"], unique=False)
    attic.create_index("ix_job_cards_state_created_at", "job_cards", ["state", "created_at"], unique=False)


def _provider_snapshots(attic: Attic) -> None:
    attic.create_table(
        "provider_snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("moment", sa.String(length=32), nullable=False),
        sa.Column("state_json", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("matches", sa.Boolean(), nullable=False),
        sa.Column("mismatch", sa.Text(), nullable=True),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_provider_snapshots_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_snapshots")),
        sa.UniqueConstraint("run_id", "moment", name=op.f("uq_provider_snapshots_run_id_moment")),
    )


def _rehearsals(attic: Attic) -> None:
    attic.create_table(
        "rehearsals",
        sa.Column("rehearsal_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("requested_pct", sa.Float(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("answer_json", Json(), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("mode IN ('forecast', 'canary')", name=op.f("ck_rehearsals_mode_is_known")),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name=op.f("ck_rehearsals_state_is_known")),
        sa.CheckConstraint(
            "requested_pct > 0 AND requested_pct <= 1", name=op.f("ck_rehearsals_requested_pct_is_a_fraction")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_rehearsals_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_rehearsals_run_id")),
        sa.PrimaryKeyConstraint("rehearsal_id", name=op.f("pk_rehearsals")),
    )
    attic.create_index("ix_rehearsals_project_id_created_at", "rehearsals", ["project_id", "created_at"], unique=False)


def _run_aliases(attic: Attic) -> None:
    attic.create_table(
        "run_aliases",
        sa.Column("alias", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("vocabulary", sa.String(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_run_aliases_run_id")),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_run_aliases")),
    )
    attic.create_index(op.f("ix_run_aliases_run_id"), "run_aliases", ["run_id"], unique=False)


def _run_lineage(attic: Attic) -> None:
    attic.create_table(
        "run_lineage",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("parent_run_id", sa.String(length=64), nullable=False),
        sa.Column("relation", sa.String(length=16), nullable=False),
        sa.CheckConstraint("relation IN ('replay', 'retry', 'hotfix')", name=op.f("ck_run_lineage_relation_is_known")),
        sa.CheckConstraint("run_id <> parent_run_id", name=op.f("ck_run_lineage_no_run_is_its_own_parent")),
        sa.ForeignKeyConstraint(["parent_run_id"], ["project_runs.run_id"], name=op.f("fk_run_lineage_parent_run_id")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_run_lineage_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_lineage")),
    )
    attic.create_index(op.f("ix_run_lineage_parent_run_id"), "run_lineage", ["parent_run_id"], unique=False)


def _session_reports(attic: Attic) -> None:
    attic.create_table(
        "session_reports",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("report_json", Json(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("revision >= 1", name=op.f("ck_session_reports_revisions_count_from_one")),
        sa.ForeignKeyConstraint(["run_id"], ["project_runs.run_id"], name=op.f("fk_session_reports_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_session_reports")),
    )


def _task_plans(attic: Attic) -> None:
    attic.create_table(
        "task_plans",
        sa.Column("task_estimate_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("task_key", sa.String(length=255), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("depends_on_json", Json(), nullable=True),
        sa.Column("command_json", Json(), nullable=True),
        sa.Column("payload_json", Json(), nullable=True),
        sa.Column("lane_source", sa.String(length=16), server_default="given", nullable=False),
        sa.Column("lane_confidence", sa.Float(), nullable=True),
        sa.Column("forecast_json", Json(), nullable=True),
        sa.CheckConstraint(
            "lane_source IN ('given', 'keywords', 'classifier', 'override')",
            name=op.f("ck_task_plans_lane_source_is_known"),
        ),
        sa.CheckConstraint(
            "lane_confidence >= 0 AND lane_confidence <= 1", name=op.f("ck_task_plans_lane_confidence_is_a_fraction")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_task_plans_project_id")),
        sa.ForeignKeyConstraint(
            ["task_estimate_id"], ["task_estimates.id"], name=op.f("fk_task_plans_task_estimate_id")
        ),
        sa.PrimaryKeyConstraint("task_estimate_id", name=op.f("pk_task_plans")),
        sa.UniqueConstraint("project_id", "task_key", name=op.f("uq_task_plans_project_id_task_key")),
    )
