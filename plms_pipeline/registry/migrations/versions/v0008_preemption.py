"""Tasks that were put aside for another project."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic
from plms_pipeline.registry.types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    attic = Attic()
    states = "state IN ('asked', 'paused', 'resuming', 'over')"
    attic.create_table(
        "preemptions",
        sa.Column("card_key", sa.String(length=36), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("lane_id", "project_id", "for_project_id")),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="asked", nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("over_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'over') = (over_at IS NOT NULL)", name=op.f("ck_preemptions_what_is_over_has_a_moment")
        ),
        sa.CheckConstraint(states, name=op.f("ck_preemptions_state_is_known")),
        sa.ForeignKeyConstraint(["card_key"], ["job_cards.card_key"], name=op.f("fk_preemptions_card_key")),
        sa.PrimaryKeyConstraint("card_key", name=op.f("pk_preemptions")),
    )
    attic.create_index("ix_preemptions_lane_id_state", "preemptions", ["lane_id", "state"], unique=False)


def downgrade() -> None:
    Attic().retire("preemptions")
