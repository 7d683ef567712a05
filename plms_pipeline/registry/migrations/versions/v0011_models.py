"""The life of a model: candidates, champions, halts, switches, what serving measured, snapshots, trades and annotations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only, refuse
from plms_pipeline.registry.types import Json, UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = (
    "candidates",
    "champions",
    "promotion_halts",
    "guardrail_switches",
    "serving_minutes",
    "live_snapshots",
    "market_trades",
    "trade_annotations",
)
# What a decision was about; whoever could change it could have another model promoted than the one that was approved.
BOUND = (
    "family", "folder", "model_sha256", "evaluation_sha256", "data_sha256", "manifest_sha256", "experiment_sha256", "trials",
    "requested_by", "requested_by_verified", "created_at",
)  # fmt: skip


def upgrade() -> None:
    attic = Attic()
    _candidates(attic)
    _champions(attic)
    _promotion_halts(attic)
    _guardrail_switches(attic)
    _serving_minutes(attic)
    _live_snapshots(attic)
    _market_trades(attic)
    _trade_annotations(attic)
    append_only("champions")
    append_only("guardrail_switches")
    refuse(
        "candidates", "trg_candidates_bytes_are_bound", f"UPDATE OF {', '.join(BOUND)}",
        "candidates: what was trained and judged never changes",
    )  # fmt: skip
    # A candidate that disappears would be a trial that nobody counts.
    refuse("candidates", "trg_candidates_no_delete", "DELETE", "candidates are counted as trials: DELETE is refused")


def downgrade() -> None:
    Attic().retire(*reversed(TABLES))


def _candidates(attic: Attic) -> None:
    attic.create_table(
        "candidates",
        sa.Column("candidate_id", sa.String(length=64), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=24), server_default="waiting", nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("evaluation_sha256", sa.String(length=64), nullable=False),
        sa.Column("data_sha256", sa.String(length=64), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("experiment_sha256", sa.String(length=64), nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("gates_passed", sa.Boolean(), nullable=False),
        sa.Column("alerts_json", Json(), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("blockers_json", Json(), nullable=False),
        sa.Column("started_from", sa.String(length=64), nullable=True),
        sa.Column("requested_by", sa.String(length=255), nullable=False),
        sa.Column("requested_by_verified", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=255), nullable=True),
        sa.Column("caps_json", Json(), nullable=True),
        sa.CheckConstraint(
            "action IN ('keep', 'promote', 'risk_review', 'request_retrain', 'halt')",
            name=op.f("ck_candidates_action_is_known"),
        ),
        sa.CheckConstraint(
            "length(model_sha256) = 64 AND length(evaluation_sha256) = 64 AND length(data_sha256) = 64 AND length(manifest_sha256) = 64 AND length(experiment_sha256) = 64",
            name=op.f("ck_candidates_hashes_are_whole"),
        ),
        sa.CheckConstraint("trials >= 1", name=op.f("ck_candidates_trials_count_itself")),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_candidates_family_is_known")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_candidates_expires_after_it_was_made")),
        sa.CheckConstraint(
            "(decision_id IS NULL) = (decided_at IS NULL) AND (decision_id IS NULL) = (decided_by IS NULL)",
            name=op.f("ck_candidates_who_decided_is_known"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'expired') OR decision_id IS NOT NULL",
            name=op.f("ck_candidates_nothing_happens_without_a_decision"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'approved', 'promoted', 'rejected', 'retrain_requested', 'halted', 'expired', 'replaced')",
            name=op.f("ck_candidates_state_is_known"),
        ),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.decision_id"], name=op.f("fk_candidates_decision_id")),
        sa.ForeignKeyConstraint(["started_from"], ["candidates.candidate_id"], name=op.f("fk_candidates_started_from")),
        sa.PrimaryKeyConstraint("candidate_id", name=op.f("pk_candidates")),
    )
    attic.create_index("ix_candidates_family_data_sha256", "candidates", ["family", "data_sha256"], unique=False)
    attic.create_index("ix_candidates_family_state", "candidates", ["family", "state"], unique=False)


def _champions(attic: Attic) -> None:
    attic.create_table(
        "champions",
        sa.Column("promotion_id", sa.String(length=36), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("candidate_id", sa.String(length=64), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("evaluation_sha256", sa.String(length=64), nullable=False),
        sa.Column("data_sha256", sa.String(length=64), nullable=False),
        sa.Column("caps_json", Json(), nullable=True),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("promoted_at", UtcDateTime(), nullable=False),
        sa.Column("promoted_by", sa.String(length=255), nullable=False),
        sa.CheckConstraint(
            "length(model_sha256) = 64 AND length(evaluation_sha256) = 64 AND length(data_sha256) = 64",
            name=op.f("ck_champions_hashes_are_whole"),
        ),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_champions_sequence_begins_at_one")),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_champions_family_is_known")),
        sa.CheckConstraint("kind IN ('promotion', 'rollback')", name=op.f("ck_champions_kind_is_known")),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.candidate_id"], name=op.f("fk_champions_candidate_id")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.decision_id"], name=op.f("fk_champions_decision_id")),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("pk_champions")),
        sa.UniqueConstraint("family", "sequence", name=op.f("uq_champions_family_sequence")),
    )
    attic.create_index("ix_champions_candidate_id", "champions", ["candidate_id"], unique=False)
    attic.create_index("ix_champions_family_promoted_at", "champions", ["family", "promoted_at"], unique=False)


def _promotion_halts(attic: Attic) -> None:
    attic.create_table(
        "promotion_halts",
        sa.Column("halt_id", sa.String(length=36), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("halted_by", sa.String(length=255), nullable=False),
        sa.Column("halted_at", UtcDateTime(), nullable=False),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_by", sa.String(length=255), nullable=True),
        sa.Column("lift_decision_id", sa.String(length=64), nullable=True),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_promotion_halts_family_is_known")),
        sa.CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_decision_id IS NULL)",
            name=op.f("ck_promotion_halts_who_lifted_it_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.decision_id"], name=op.f("fk_promotion_halts_decision_id")
        ),
        sa.ForeignKeyConstraint(
            ["lift_decision_id"], ["decisions.decision_id"], name=op.f("fk_promotion_halts_lift_decision_id")
        ),
        sa.PrimaryKeyConstraint("halt_id", name=op.f("pk_promotion_halts")),
    )
    is_open = sa.text("lifted_at IS NULL")
    attic.create_index(
        "ix_promotion_halts_open", "promotion_halts", ["family"], sqlite_where=is_open, postgresql_where=is_open
    )


def _guardrail_switches(attic: Attic) -> None:
    attic.create_table(
        "guardrail_switches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_guardrail_switches_family_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guardrail_switches")),
    )
    attic.create_index("ix_guardrail_switches_family", "guardrail_switches", ["family", "id"], unique=False)


def _serving_minutes(attic: Attic) -> None:
    attic.create_table(
        "serving_minutes",
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("minute", UtcDateTime(), nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors", sa.Integer(), server_default="0", nullable=False),
        sa.Column("slow_750", sa.Integer(), server_default="0", nullable=False),
        sa.Column("guardrail_requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("slow_250", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trades_evaluated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("violations", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_serving_minutes_family_is_known")),
        sa.CheckConstraint(
            "errors <= requests AND slow_750 <= requests AND slow_250 <= guardrail_requests",
            name=op.f("ck_serving_minutes_a_part_is_no_more_than_the_whole"),
        ),
        sa.CheckConstraint(
            "requests >= 0 AND errors >= 0 AND slow_750 >= 0 AND guardrail_requests >= 0 AND slow_250 >= 0"
            " AND trades_evaluated >= 0 AND violations >= 0",
            name=op.f("ck_serving_minutes_counts_are_not_negative"),
        ),
        sa.PrimaryKeyConstraint("family", "minute", name=op.f("pk_serving_minutes")),
    )


def _live_snapshots(attic: Attic) -> None:
    attic.create_table(
        "live_snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("promotion_id", sa.String(length=36), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("window_from", UtcDateTime(), nullable=True),
        sa.Column("window_to", UtcDateTime(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("metrics_json", Json(), nullable=False),
        sa.Column("alerts_json", Json(), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_live_snapshots_family_is_known")),
        sa.CheckConstraint(
            "action IN ('keep', 'promote', 'risk_review', 'request_retrain', 'halt')",
            name=op.f("ck_live_snapshots_action_is_known"),
        ),
        sa.CheckConstraint('"rows" >= 0', name=op.f("ck_live_snapshots_rows_are_counted")),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["champions.promotion_id"], name=op.f("fk_live_snapshots_promotion_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_snapshots")),
    )
    attic.create_index("ix_live_snapshots_family_at", "live_snapshots", ["family", "at"], unique=False)


def _market_trades(attic: Attic) -> None:
    attic.create_table(
        "market_trades",
        sa.Column("trade_id", sa.Integer(), nullable=False),
        sa.Column("timestamp", UtcDateTime(), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("size", sa.Float(), nullable=False),
        sa.Column("price", sa.Float(), nullable=False),
        sa.Column("fees", sa.Float(), nullable=True),
        sa.Column("slippage_bp", sa.Float(), nullable=True),
        sa.Column("pnl", sa.Float(), nullable=True),
        sa.Column("metadata_json", Json(), nullable=True),
        sa.CheckConstraint("side IN ('long', 'short', 'flat')", name=op.f("ck_market_trades_side_is_known")),
        sa.PrimaryKeyConstraint("trade_id", name=op.f("pk_market_trades")),
    )
    attic.create_index("ix_market_trades_symbol_timestamp", "market_trades", ["symbol", "timestamp"], unique=False)


def _trade_annotations(attic: Attic) -> None:
    attic.create_table(
        "trade_annotations",
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("trade_id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=True),
        sa.Column("trade_timestamp", UtcDateTime(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("rationale", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("metadata", Json(), nullable=True),
        sa.Column("context_window_start", UtcDateTime(), nullable=True),
        sa.Column("context_window_end", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "confidence >= 0 AND confidence <= 1", name=op.f("ck_trade_annotations_confidence_is_a_fraction")
        ),
        sa.CheckConstraint(
            "decision IN ('approve', 'escalate', 'flag', 'hold', 'reject')",
            name=op.f("ck_trade_annotations_decision_is_known"),
        ),
        sa.CheckConstraint(
            "context_window_end >= context_window_start",
            name=op.f("ck_trade_annotations_context_does_not_end_before_it_begins"),
        ),
        sa.ForeignKeyConstraint(["trade_id"], ["market_trades.trade_id"], name=op.f("fk_trade_annotations_trade_id")),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_trade_annotations")),
    )
    attic.create_index("idx_trade_annotations_created_at", "trade_annotations", ["created_at"], unique=False)
    attic.create_index("idx_trade_annotations_trade_id", "trade_annotations", ["trade_id"], unique=False)
