"""What the promoted model of estimates says of tasks, for whoever forecasts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic
from plms_pipeline.registry.types import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    Attic().create_table(
        "estimate_outlooks",
        sa.Column("promotion_id", sa.String(length=36), nullable=False),
        sa.Column("as_of", UtcDateTime(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_estimate_outlooks_hash_is_whole")),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["champions.promotion_id"], name=op.f("fk_estimate_outlooks_promotion_id")
        ),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("pk_estimate_outlooks")),
    )


def downgrade() -> None:
    Attic().retire("estimate_outlooks")
