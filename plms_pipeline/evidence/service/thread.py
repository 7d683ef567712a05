"""How does the observer run beside something else, in the process of `plms serve` or of a command?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from plms_pipeline.evidence.service.observer import Observer

STOP_S = 10.0


@contextmanager
def beside(observer: Observer) -> Iterator[Observer]:
    """The observer at work in a thread of its own until the block ends. What waits then, waits in the registry."""
    thread = threading.Thread(target=lambda: asyncio.run(observer.run()), name="plms-observe", daemon=True)
    thread.start()
    observer.started.wait(STOP_S)
    try:
        yield observer
    finally:
        observer.stop()
        thread.join(STOP_S)
