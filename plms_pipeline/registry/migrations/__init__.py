"""Alembic migrations of the registry; `plms_pipeline.registry.migrate` runs them."""
