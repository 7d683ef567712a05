"""Runs migrations on the one connection that `registry.migrate` hands over; there is no offline mode."""

from __future__ import annotations

from alembic import context

from plms_pipeline.registry import tables  # noqa: F401 - fills the metadata that `check` compares with
from plms_pipeline.registry.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=False,
    transaction_per_migration=False,
)
context.run_migrations()
