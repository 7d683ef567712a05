"""The portfolio under control: slots, shares, switches, the ledger, dead letters, evidence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only, refuse
from plms_pipeline.registry.types import Json, Usd, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = (
    "kill_switches", "slots", "rate_buckets", "project_shares", "lane_queue", "lane_fairness", "lane_minutes",
    "lane_reviews", "ledger_accounts", "ledger_entries", "dead_letters", "obligations", "observations",
    "evidence_records",
)  # fmt: skip


def upgrade() -> None:
    attic = Attic()
    _kill_switches(attic)
    _slots(attic)
    _rate_buckets(attic)
    _project_shares(attic)
    _lane_queue(attic)
    _lane_fairness(attic)
    _lane_minutes(attic)
    _lane_reviews(attic)
    _ledger_accounts(attic)
    _ledger_entries(attic)
    _dead_letters(attic)
    _obligations(attic)
    _observations(attic)
    _evidence_records(attic)
    append_only("ledger_entries")
    append_only("observations")
    refuse(
        "slots",
        "trg_slots_terminal",
        "UPDATE OF state",
        "slots: what was released is released",
        "OLD.state = 'RELEASED' AND NEW.state <> OLD.state",
    )
    refuse(
        "obligations",
        "trg_obligations_terminal",
        "UPDATE OF state",
        "obligations: a terminal state never changes",
        "OLD.state = 'terminal' AND NEW.state <> OLD.state",
    )


def downgrade() -> None:
    Attic().retire(*reversed(TABLES))


def _kill_switches(attic: Attic) -> None:
    attic.create_table(
        "kill_switches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("turned_on_at", UtcDateTime(), nullable=False),
        sa.Column("turned_off_at", UtcDateTime(), nullable=True),
        sa.Column("turned_off_by", sa.String(length=255), nullable=True),
        sa.CheckConstraint("scope IN ('global', 'lane', 'project')", name=op.f("ck_kill_switches_scope_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kill_switches")),
    )
    attic.create_index(
        "ux_kill_switches_one_on_per_subject",
        "kill_switches",
        ["scope", "subject"],
        unique=True,
        sqlite_where=sa.text("turned_off_at IS NULL"),
        postgresql_where=sa.text("turned_off_at IS NULL"),
    )


def _slots(attic: Attic) -> None:
    attic.create_table(
        "slots",
        sa.Column("slot_id", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.Column("cap_then", sa.Integer(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="HELD", nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'RELEASED') = (released_at IS NOT NULL)", name=op.f("ck_slots_a_released_slot_has_a_moment")
        ),
        sa.CheckConstraint("state IN ('HELD', 'SUSPECT', 'RELEASED')", name=op.f("ck_slots_state_is_known")),
        sa.CheckConstraint("released_at >= taken_at", name=op.f("ck_slots_released_after_taken")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_slots_project_id")),
        sa.PrimaryKeyConstraint("slot_id", name=op.f("pk_slots")),
    )
    attic.create_index("ix_slots_project_id_taken_at", "slots", ["project_id", "taken_at"], unique=False)
    attic.create_index("ix_slots_resource_released_at", "slots", ["resource", "released_at"], unique=False)
    attic.create_index("ix_slots_resource_state", "slots", ["resource", "state"], unique=False)
    attic.create_index("ix_slots_state_expires_at", "slots", ["state", "expires_at"], unique=False)
    attic.create_index(
        "ux_slots_one_open_per_subject",
        "slots",
        ["resource", "subject"],
        unique=True,
        sqlite_where=sa.text("state != 'RELEASED'"),
        postgresql_where=sa.text("state != 'RELEASED'"),
    )


def _rate_buckets(attic: Attic) -> None:
    attic.create_table(
        "rate_buckets",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("tokens >= 0", name=op.f("ck_rate_buckets_tokens_are_not_negative")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rate_buckets")),
    )


def _project_shares(attic: Attic) -> None:
    attic.create_table(
        "project_shares",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_project_shares_weight_is_positive")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_shares_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_shares")),
    )


def _lane_queue(attic: Attic) -> None:
    kinds = "run_kind IN ('baseline', 'rehearsal', 'replay', 'hotfix')"
    attic.create_table(
        "lane_queue",
        sa.Column("card_key", sa.String(length=36), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("lane_id", "project_id")),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("run_kind", sa.String(length=16), nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=False) for name in ("ready_at", "not_before")),
        sa.Column("rank", sa.Float(), nullable=False),
        sa.Column("expected_ms", sa.Float(), nullable=True),
        sa.Column("reserve_usd", Usd(), nullable=True),
        sa.Column("holds_slot", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_paused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint(kinds, name=op.f("ck_lane_queue_run_kind_is_known")),
        sa.ForeignKeyConstraint(["card_key"], ["job_cards.card_key"], name=op.f("fk_lane_queue_card_key")),
        sa.PrimaryKeyConstraint("card_key", name=op.f("pk_lane_queue")),
    )
    attic.create_index("ix_lane_queue_run_id", "lane_queue", ["run_id"], unique=False)
    turn = ["lane_id", "holds_slot", "project_id", "run_kind", "not_before", "rank"]
    attic.create_index("ix_lane_queue_turn", "lane_queue", turn, unique=False)


def _lane_fairness(attic: Attic) -> None:
    attic.create_table(
        "lane_fairness",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("book_json", Json(), nullable=False),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_lane_fairness_lane_id")),
        sa.PrimaryKeyConstraint("lane_id", name=op.f("pk_lane_fairness")),
    )


def _lane_minutes(attic: Attic) -> None:
    attic.create_table(
        "lane_minutes",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minute", UtcDateTime(), nullable=False),
        sa.Column("cap_ms", sa.BigInteger(), nullable=False),
        sa.Column("busy_ms", sa.BigInteger(), nullable=False),
        sa.Column("queued_max", sa.Integer(), nullable=False),
        sa.Column("waited_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("out_of_memory", sa.Integer(), server_default="0", nullable=False),
        sa.Column("timeouts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "busy_ms >= 0 AND cap_ms >= 0 AND started >= 0 AND ended >= 0 AND failed >= 0",
            name=op.f("ck_lane_minutes_counts_are_not_negative"),
        ),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_lane_minutes_lane_id")),
        sa.PrimaryKeyConstraint("lane_id", "minute", name=op.f("pk_lane_minutes")),
    )


def _lane_reviews(attic: Attic) -> None:
    attic.create_table(
        "lane_reviews",
        sa.Column("review_id", sa.String(length=64), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("week_of", sa.String(length=10), nullable=False),
        sa.Column("field", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), server_default="", nullable=False),
        sa.Column("current_json", Json(), nullable=False),
        sa.Column("recommended_json", Json(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("evidence_json", Json(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="proposed", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decision_id", sa.String(length=64), nullable=True),
        sa.CheckConstraint("field IN ('cap', 'gate', 'alpha')", name=op.f("ck_lane_reviews_field_is_known")),
        sa.CheckConstraint(
            "state IN ('proposed', 'applied', 'rejected', 'superseded')", name=op.f("ck_lane_reviews_state_is_known")
        ),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_lane_reviews_lane_id")),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_lane_reviews")),
        sa.UniqueConstraint(
            "lane_id", "week_of", "field", "subject", name=op.f("uq_lane_reviews_lane_id_week_of_field_subject")
        ),
    )


def _ledger_accounts(attic: Attic) -> None:
    attic.create_table(
        "ledger_accounts",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("limit_usd", Usd(), nullable=True),
        sa.Column("settled_usd", Usd(), server_default="0", nullable=False),
        sa.Column("reserved_usd", Usd(), server_default="0", nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("limit_usd >= 0", name=op.f("ck_ledger_accounts_limit_is_not_negative")),
        sa.CheckConstraint(
            "settled_usd >= 0 AND reserved_usd >= 0", name=op.f("ck_ledger_accounts_sums_are_not_negative")
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_ledger_accounts")),
    )


def _ledger_entries(attic: Attic) -> None:
    attic.create_table(
        "ledger_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry_key", sa.String(length=255), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_usd", Usd(), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('reserve', 'settle', 'release', 'overrun', 'charge')",
            name=op.f("ck_ledger_entries_kind_is_known"),
        ),
        sa.CheckConstraint("amount_usd >= 0", name=op.f("ck_ledger_entries_amount_is_not_negative")),
        sa.ForeignKeyConstraint(["account"], ["ledger_accounts.account"], name=op.f("fk_ledger_entries_account")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_ledger_entries_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("entry_key", name=op.f("uq_ledger_entries_entry_key")),
    )
    attic.create_index("ix_ledger_entries_account_id", "ledger_entries", ["account", "id"], unique=False)
    attic.create_index("ix_ledger_entries_subject", "ledger_entries", ["subject"], unique=False)


def _dead_letters(attic: Attic) -> None:
    attic.create_table(
        "dead_letters",
        sa.Column("letter_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("lane_id", sa.Integer(), nullable=True),
        sa.Column("error_class", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="ready", nullable=False),
        sa.Column("next_due_at", UtcDateTime(), nullable=True),
        sa.Column("lease_holder", sa.String(length=255), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("payload_json", Json(), nullable=True),
        sa.Column("first_failed_at", UtcDateTime(), nullable=False),
        sa.Column("last_failed_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("last_actor", sa.String(length=255), nullable=False),
        sa.CheckConstraint(
            "error_class = 'TRANSIENT' OR state <> 'processing'",
            name=op.f("ck_dead_letters_only_transient_ones_are_retried"),
        ),
        sa.CheckConstraint(
            "error_class IN ('TRANSIENT', 'PERMANENT', 'POLICY')", name=op.f("ck_dead_letters_class_is_known")
        ),
        sa.CheckConstraint(
            "kind IN ('run', 'task', 'event', 'effect', 'job')", name=op.f("ck_dead_letters_kind_is_known")
        ),
        sa.CheckConstraint(
            "state IN ('ready', 'processing', 'done', 'permanent', 'quarantined')",
            name=op.f("ck_dead_letters_state_is_known"),
        ),
        sa.CheckConstraint(
            "attempts >= 0 AND attempts <= max_attempts", name=op.f("ck_dead_letters_attempts_within_their_limit")
        ),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("kind", "subject_id", name=op.f("uq_dead_letters_kind_subject_id")),
    )
    attic.create_index("ix_dead_letters_fingerprint", "dead_letters", ["fingerprint"], unique=False)
    attic.create_index("ix_dead_letters_state_next_due_at", "dead_letters", ["state", "next_due_at"], unique=False)


def _obligations(attic: Attic) -> None:
    attic.create_table(
        "obligations",
        sa.Column("obligation_id", sa.String(length=64), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("evidence_kind", sa.String(length=64), nullable=False),
        sa.Column("obs_point", sa.String(length=64), nullable=False),
        sa.Column("lookup_ref", sa.String(length=512), nullable=False),
        sa.Column("config_digest", sa.String(length=64), nullable=False),
        sa.Column("accepted_at", UtcDateTime(), nullable=False),
        sa.Column("deadline_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("publication", sa.String(length=8), server_default="none", nullable=False),
        sa.CheckConstraint("publication IN ('none', 'due', 'done')", name=op.f("ck_obligations_publication_is_known")),
        sa.CheckConstraint("state IN ('pending', 'terminal')", name=op.f("ck_obligations_state_is_known")),
        sa.CheckConstraint("deadline_at >= accepted_at", name=op.f("ck_obligations_deadline_after_acceptance")),
        sa.PrimaryKeyConstraint("obligation_id", name=op.f("pk_obligations")),
        sa.UniqueConstraint(
            "subject_id", "evidence_kind", "obs_point", name=op.f("uq_obligations_subject_id_evidence_kind_obs_point")
        ),
    )
    attic.create_index("ix_obligations_state_deadline_at", "obligations", ["state", "deadline_at"], unique=False)
    attic.create_index(
        "ix_obligations_publication_due",
        "obligations",
        ["deadline_at"],
        unique=False,
        sqlite_where=sa.text("publication = 'due'"),
        postgresql_where=sa.text("publication = 'due'"),
    )


def _observations(attic: Attic) -> None:
    attic.create_table(
        "observations",
        sa.Column("obligation_id", sa.String(length=64), nullable=False),
        sa.Column("obs_point", sa.String(length=64), nullable=False),
        sa.Column("evidence_kind", sa.String(length=64), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("evidence_at", UtcDateTime(), nullable=True),
        sa.Column("wait_ms", sa.Integer(), nullable=False),
        sa.Column("queue_ms", sa.Integer(), nullable=False),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("observer_id", sa.String(length=255), nullable=False),
        sa.Column("config_digest", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("debug_json", Json(), nullable=True),
        sa.CheckConstraint("found = (reason = 'ok')", name=op.f("ck_observations_found_agrees_with_the_reason")),
        sa.CheckConstraint(
            "reason IN ('ok', 'missing', 'timeout', 'redis_error', 'parse_error', 'stale', 'dropped', 'cancelled')",
            name=op.f("ck_observations_reason_is_known"),
        ),
        sa.CheckConstraint(
            "wait_ms >= 0 AND queue_ms >= 0 AND polls >= 0 AND errors >= 0",
            name=op.f("ck_observations_counts_are_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["obligation_id"], ["obligations.obligation_id"], name=op.f("fk_observations_obligation_id")
        ),
        sa.PrimaryKeyConstraint("obligation_id", name=op.f("pk_observations")),
    )
    attic.create_index("ix_observations_at", "observations", ["at"], unique=False)


def _evidence_records(attic: Attic) -> None:
    attic.create_table(
        "evidence_records",
        sa.Column("evidence_kind", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("ts_epoch", sa.String(length=64), nullable=True),
        sa.Column("correlation_id", sa.String(length=64), nullable=True),
        sa.Column("fields_json", Json(), nullable=True),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("evidence_kind", "subject_id", name=op.f("pk_evidence_records")),
    )
