"""How the money of projects stood, breaches of budgets, and the prices of providers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only
from plms_pipeline.registry.types import Json, Usd, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    attic = Attic()
    _history(attic)
    _episodes(attic)
    _prices(attic)


def downgrade() -> None:
    Attic().retire("price_factors", "price_changes", "breach_episodes", "runway_snapshots", "budget_checks")


def _history(attic: Attic) -> None:
    attic.create_table(
        "budget_checks",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("seen_sha256", sa.String(length=64), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_budget_checks_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_budget_checks")),
    )
    attic.create_table(
        "runway_snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("spent_usd", Usd(), nullable=False),
        sa.Column("reserved_usd", Usd(), nullable=False),
        sa.Column("budget_usd", Usd(), nullable=True),
        *(
            sa.Column(name, sa.Float(), nullable=True)
            for name in (
                "burn_usd_per_min", "minutes_left", "minutes_low", "minutes_high", "final_usd", "final_low", "final_high",
                "overrun_usd",
            )
        ),
        sa.Column("tasks_left", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.CheckConstraint(
            "status IN ('ok', 'warning', 'critical')", name=op.f("ck_runway_snapshots_status_is_known")
        ),
        sa.CheckConstraint(
            "spent_usd >= 0 AND reserved_usd >= 0 AND budget_usd >= 0",
            name=op.f("ck_runway_snapshots_money_is_not_negative"),
        ),
        sa.CheckConstraint("minutes_left >= 0", name=op.f("ck_runway_snapshots_time_is_not_negative")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_runway_snapshots_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runway_snapshots")),
        sa.UniqueConstraint("project_id", "at", name=op.f("uq_runway_snapshots_project_id_at")),
    )  # fmt: skip
    attic.create_index("ix_runway_snapshots_at", "runway_snapshots", ["at"], unique=False)


def _episodes(attic: Attic) -> None:
    attic.create_table(
        "breach_episodes",
        sa.Column("episode_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="open", nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("budget_usd", Usd(), nullable=False),
        sa.Column("seen_json", Json(), nullable=False),
        sa.Column("runs_told", sa.Integer(), server_default="0", nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=True),
        sa.Column("answered_by", sa.String(length=255), nullable=True),
        sa.Column("over_at", UtcDateTime(), nullable=True),
        sa.Column("over_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("policy IN ('pause', 'ask', 'kill')", name=op.f("ck_breach_episodes_policy_is_known")),
        sa.CheckConstraint("state IN ('open', 'over')", name=op.f("ck_breach_episodes_state_is_known")),
        sa.CheckConstraint(
            "(state = 'over') = (over_at IS NOT NULL)", name=op.f("ck_breach_episodes_what_is_over_has_a_moment")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_breach_episodes_project_id")),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_breach_episodes")),
    )
    attic.create_index("ix_breach_episodes_state", "breach_episodes", ["state"], unique=False)
    is_open = sa.text("state = 'open'")
    attic.create_index(
        "ux_breach_episodes_one_open_per_project", "breach_episodes", ["project_id"], unique=True, sqlite_where=is_open,
        postgresql_where=is_open,
    )  # fmt: skip


def _prices(attic: Attic) -> None:
    attic.create_table(
        "price_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("input_usd_per_mtok", Usd(), nullable=False),
        sa.Column("output_usd_per_mtok", Usd(), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "input_usd_per_mtok >= 0 AND output_usd_per_mtok >= 0",
            name=op.f("ck_price_changes_prices_are_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_changes")),
    )
    attic.create_index("ix_price_changes_provider_from_on", "price_changes", ["provider", "from_on"], unique=False)
    attic.create_table(
        "price_factors",
        sa.Column("change_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("receipts", sa.Integer(), nullable=False),
        sa.Column("with_tokens", sa.Integer(), nullable=False),
        sa.Column("factor", sa.Float(), nullable=True),
        sa.CheckConstraint("factor >= 0", name=op.f("ck_price_factors_factor_is_not_negative")),
        sa.ForeignKeyConstraint(["change_id"], ["price_changes.id"], name=op.f("fk_price_factors_change_id")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.lane_id"], name=op.f("fk_price_factors_lane_id")),
        sa.PrimaryKeyConstraint("change_id", "lane_id", name=op.f("pk_price_factors")),
    )
    append_only("price_changes")
    append_only("price_factors")
