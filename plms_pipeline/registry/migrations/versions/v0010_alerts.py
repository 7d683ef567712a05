"""Who must know: states of rules, what they did, what went to whom, silences; and letters about messages that never arrived."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only
from plms_pipeline.registry.types import Json, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("alert_states", "alert_events", "deliveries", "alert_silences", "alert_checks")
KINDS = ("run", "task", "event", "effect", "job")


def upgrade() -> None:
    attic = Attic()
    _states(attic)
    _events(attic)
    _deliveries(attic)
    _silences(attic)
    attic.create_table(
        "alert_checks",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("succeeded_at", UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("readings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("memo_json", Json(), nullable=True),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_alert_checks")),
    )
    append_only("alert_events")
    _letters_about((*KINDS, "delivery"))
    # Letters that a downgrade told as effects.
    op.execute("UPDATE dead_letters SET kind = 'delivery' WHERE kind = 'effect' AND subject_id LIKE 'delivery:%'")


def downgrade() -> None:
    op.execute("UPDATE dead_letters SET kind = 'effect' WHERE kind = 'delivery'")
    _letters_about(KINDS)
    Attic().retire(*reversed(TABLES))


def _states(attic: Attic) -> None:
    attic.create_table(
        "alert_states",
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="ok", nullable=False),
        sa.Column("severity", sa.String(length=2), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        *(
            sa.Column(name, UtcDateTime(), nullable=True)
            for name in ("changed_at", "crossed_at", "fired_at", "clear_since", "resolved_at")
        ),
        sa.Column("episode_id", sa.String(length=36), nullable=True),
        sa.Column("group_id", sa.String(length=36), nullable=True),
        sa.Column("is_told", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("escalations", sa.Integer(), server_default="0", nullable=False),
        sa.Column("acked_at", UtcDateTime(), nullable=True),
        sa.Column("acked_by", sa.String(length=255), nullable=True),
        sa.CheckConstraint(
            "state IN ('ok', 'pending', 'firing', 'acked', 'resolved')", name=op.f("ck_alert_states_state_is_known")
        ),
        sa.CheckConstraint("severity IN ('P0', 'P1', 'P2', 'P3')", name=op.f("ck_alert_states_severity_is_known")),
        sa.CheckConstraint(
            "state NOT IN ('firing', 'acked') OR (episode_id IS NOT NULL AND fired_at IS NOT NULL)",
            name=op.f("ck_alert_states_what_is_open_has_an_episode"),
        ),
        sa.CheckConstraint(
            "state <> 'acked' OR acked_by IS NOT NULL", name=op.f("ck_alert_states_who_acknowledged_is_known")
        ),
        sa.PrimaryKeyConstraint("rule", "subject", name=op.f("pk_alert_states")),
    )
    for column in ("state", "group_id", "episode_id"):
        attic.create_index(f"ix_alert_states_{column}", "alert_states", [column], unique=False)


def _events(attic: Attic) -> None:
    attic.create_table(
        "alert_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_key", sa.String(length=64), nullable=False),
        sa.Column("episode_id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=True),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=2), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.CheckConstraint(
            "kind IN ('fired', 'acked', 'escalated', 'resolved')", name=op.f("ck_alert_events_kind_is_known")
        ),
        sa.CheckConstraint("severity IN ('P0', 'P1', 'P2', 'P3')", name=op.f("ck_alert_events_severity_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_events")),
        sa.UniqueConstraint("event_key", name=op.f("uq_alert_events_event_key")),
    )
    for column in ("episode_id", "found_at"):
        attic.create_index(f"ix_alert_events_{column}", "alert_events", [column], unique=False)


def _deliveries(attic: Attic) -> None:
    attic.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_key", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=2), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_json", Json(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_holder", sa.String(length=255), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('fired', 'acked', 'escalated', 'resolved', 'test')", name=op.f("ck_deliveries_kind_is_known")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'done', 'dead', 'withdrawn')", name=op.f("ck_deliveries_state_is_known")
        ),
        sa.CheckConstraint("severity IN ('P0', 'P1', 'P2', 'P3')", name=op.f("ck_deliveries_severity_is_known")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_deliveries_attempts_are_not_negative")),
        sa.CheckConstraint(
            "(state = 'pending') = (ended_at IS NULL)", name=op.f("ck_deliveries_what_is_ended_has_a_moment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("delivery_key", name=op.f("uq_deliveries_delivery_key")),
    )
    due = sa.text("state = 'pending'")
    attic.create_index("ix_deliveries_due", "deliveries", ["channel", "due_at"], sqlite_where=due, postgresql_where=due)
    for column in ("group_id", "created_at"):
        attic.create_index(f"ix_deliveries_{column}", "deliveries", [column], unique=False)


def _silences(attic: Attic) -> None:
    attic.create_table(
        "alert_silences",
        sa.Column("silence_id", sa.String(length=36), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(length=255), nullable=False),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_by", sa.String(length=255), nullable=True),
        sa.CheckConstraint("until > since", name=op.f("ck_alert_silences_until_after_since")),
        sa.CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL)", name=op.f("ck_alert_silences_who_lifted_it_is_known")
        ),
        sa.PrimaryKeyConstraint("silence_id", name=op.f("pk_alert_silences")),
    )
    attic.create_index("ix_alert_silences_until", "alert_silences", ["until"], unique=False)


def _letters_about(kinds: tuple[str, ...]) -> None:
    """Let letters be about these kinds of work; rows and indexes stay."""
    name, predicate = "ck_dead_letters_kind_is_known", f"kind IN ({', '.join(map(repr, kinds))})"
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        op.drop_constraint(op.f(name), "dead_letters", type_="check")
        op.create_check_constraint(op.f(name), "dead_letters", predicate)
        return
    # SQLite changes no constraint in place: the same table under another name, its rows, and its name and indexes back.
    about = "SELECT sql FROM sqlite_master WHERE tbl_name = 'dead_letters' AND sql IS NOT NULL AND type"
    (table,) = bind.exec_driver_sql(f"{about} = 'table'").scalars().all()
    indexes = bind.exec_driver_sql(f"{about} = 'index'").scalars().all()
    table = re.sub(rf"(?<=CONSTRAINT {name} CHECK )\(kind IN \([^)]*\)\)", f"({predicate})", table)
    op.execute(re.sub(r'CREATE TABLE "?dead_letters"?', "CREATE TABLE new_dead_letters", table, count=1))
    op.execute("INSERT INTO new_dead_letters SELECT * FROM dead_letters")
    op.execute("DROP TABLE dead_letters")
    op.rename_table("new_dead_letters", "dead_letters")
    for index in indexes:
        op.execute(index)
