"""A house to decide in, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.models.candidates import House, house


@pytest.fixture
def home(registry: Registry, tmp_path: Path) -> House:
    return house(registry, tmp_path)


@pytest.fixture
def light(sqlite_registry: Registry, tmp_path: Path) -> House:
    """On one database: for what does not depend on which."""
    return house(sqlite_registry, tmp_path)
