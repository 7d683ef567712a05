"""What trainings tried on which data, so that the luck of the best is taken off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic, append_only

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    attic = Attic()
    attic.create_table(
        "model_trials",
        sa.Column("candidate_id", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.String(length=64), nullable=False) for name in ("recipe_sha256", "experiment_sha256")),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("data_sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("family IN ('market', 'estimates')", name=op.f("ck_model_trials_family_is_known")),
        sa.CheckConstraint(
            "length(data_sha256) = 64 AND length(experiment_sha256) = 64 AND length(recipe_sha256) = 64",
            name=op.f("ck_model_trials_hashes_are_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.candidate_id"], name=op.f("fk_model_trials_candidate_id")
        ),
        sa.PrimaryKeyConstraint("candidate_id", "recipe_sha256", name=op.f("pk_model_trials")),
    )
    attic.create_index("ix_model_trials_family_data_sha256", "model_trials", ["family", "data_sha256"], unique=False)
    append_only("model_trials")


def downgrade() -> None:
    Attic().retire("model_trials")
