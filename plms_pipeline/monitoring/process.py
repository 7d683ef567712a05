"""Which process is this, does that other one still live, and was this one asked to stop?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from plms_pipeline.instance.process import holder_of, is_dead

__all__ = ["is_dead", "this_holder", "watching_interrupts"]


def this_holder() -> str:
    """A name for this process that no later process with the same number can carry: host, pid and start time."""
    return holder_of(os.getpid())


@contextmanager
def watching_interrupts() -> Iterator[Callable[[], bool]]:
    """Asks whether SIGINT has arrived since, whatever became of the exception that it raised. For the main thread.

    Dagster raises SIGINT as an exception at whatever line is running. In the callback of a weak reference Python drops it; a
    library may take it for a failure of its own, which a retry policy then tries again. The number of the signal is also
    written to a pipe before any handler runs, and that is never lost.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    seen = False

    def has_arrived() -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            seen = seen or signal.SIGINT in os.read(reader, 4096)
        return seen

    try:
        yield has_arrived
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
