"""What do the portfolio's commands hold in their hands?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from plms_pipeline.registry import opening
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings


@contextmanager
def opened() -> Iterator[tuple[Settings, Registry]]:
    """Settings and the registry at head; closed afterwards."""
    settings = load_settings()
    with opening.opened(settings) as registry:
        yield settings, registry
