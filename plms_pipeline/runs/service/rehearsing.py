"""How does a request wait for a canary without holding up others?

In the event loop: a thread is taken only for each short look at the registry. Threads that sleep would be forty at most, and
forty people who wait half a minute for their canaries would stop every other request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.rehearse import Rehearsed, looked_at

LOOK_EVERY_S = 0.2


async def waited_for(
    registry: Registry, found: Rehearsed, *, wait_s: float, clock: Clock, alpha: float,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Rehearsed:  # fmt: skip
    """The rehearsal when its run has ended, or as it stands after `wait_s` seconds."""
    until = monotonic_s() + wait_s
    look = partial(looked_at, registry, found.rehearsal_id, clock=clock, alpha=alpha, replayed=found.replayed)
    while found.is_running and (left := until - monotonic_s()) > 0:
        await asyncio.sleep(min(LOOK_EVERY_S, left))
        found = await asyncio.to_thread(look)
    return found
