"""When is an answer forgotten?

A key whose time is over is free at once: a start that finds its row replaces it. What nobody asks for again is removed here,
so that the table does not grow for ever.
"""

from __future__ import annotations

from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.store import idempotency as store


def forget_expired(registry: Registry, *, clock: Clock, limit: int = 500) -> int:
    """Remove answers whose time is over, at most `limit` of them in one transaction; how many."""
    now = clock.now()
    with registry.reading() as session:
        if not store.any_expired(session, now):
            return 0
    with registry.writing() as session:
        return store.forget_expired(session, now, limit=limit)
