"""How often were the books held?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from plms_pipeline.registry.engine import Registry


@contextmanager
def commits(registry: Registry) -> Iterator[list[int]]:
    """Counts the transactions that are committed meanwhile."""
    counted: list[int] = []

    def count(_connection: Any) -> None:
        counted.append(1)

    event.listen(registry.engine, "commit", count)
    try:
        yield counted
    finally:
        event.remove(registry.engine, "commit", count)
