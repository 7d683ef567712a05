"""How does whoever starts get a registry that this program may work on, and who closes it?

Nothing heavy is imported before it is asked for: `plms --help` must not wait for SQLAlchemy and Alembic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plms_pipeline.settings import Settings

if TYPE_CHECKING:
    from plms_pipeline.registry.engine import Registry


@contextmanager
def opened(settings: Settings, *, read_only: bool = False) -> Iterator[Registry]:
    """The registry of these settings at the newest revision, closed at the end.

    Args:
        settings: where it lies.
        read_only: for who only asks; see `Registry.open`.

    Raises:
        BadInput: its URL is none, or its folder cannot be made.
        Unavailable: it is away, was never made, or is not at the newest revision.
    """
    from plms_pipeline.registry.engine import Registry
    from plms_pipeline.registry.migrate import require_head

    registry = Registry.open(settings.database_url, read_only=read_only)
    try:
        require_head(registry)
        yield registry
    finally:
        registry.close()
