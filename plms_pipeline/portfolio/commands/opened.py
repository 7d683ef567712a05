"""What do the portfolio's commands hold in their hands?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings


@contextmanager
def opened() -> Iterator[tuple[Settings, Registry]]:
    """Settings and the registry at head; closed afterwards."""
    from plms_pipeline.registry.migrate import require_head

    settings = load_settings()
    registry = Registry.open(settings.database_url)
    try:
        require_head(registry)
        yield settings, registry
    finally:
        registry.close()
