"""What did a lane do in each minute?

Slot time, starts, ends and waits of a lane, cut into minutes of UTC. A slot that is held over a border counts on both sides of
it, to the millisecond; what is given back in a minute ended in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Held:
    """One task in a slot, in ms of the epoch: eligible, taken, given back (None: not yet), and how it ended.

    `is_put_aside`: it gave the slot back without having ended.
    """

    eligible_ms: int
    taken_ms: int
    released_ms: int | None
    has_failed: bool = False
    reason: str = ""
    is_put_aside: bool = False


@dataclass(slots=True)
class Minute:
    """One minute of one lane."""

    busy_ms: int = 0
    queued_max: int = 0
    waited_ms: int = 0
    started: int = 0
    ended: int = 0
    failed: int = 0
    out_of_memory: int = 0
    timeouts: int = 0
    duration_ms: int = 0


def minutes_of(tasks: Iterable[Held], *, begin_ms: int, end_ms: int) -> dict[int, Minute]:
    """Minute (ms of its begin) → what the lane did, for whole minutes from `begin_ms` to before `end_ms`."""
    found = {at: Minute() for at in range(begin_ms, end_ms, MINUTE_MS)}
    for task in tasks:
        until = end_ms if task.released_ms is None else task.released_ms
        for at in _touched(task.taken_ms, until, begin_ms, end_ms):
            found[at].busy_ms += max(0, min(until, at + MINUTE_MS) - max(task.taken_ms, at))
        for at in _touched(task.eligible_ms, task.taken_ms, begin_ms, end_ms):
            found[at].queued_max += 1
        started = found.get(task.taken_ms // MINUTE_MS * MINUTE_MS)
        if started is not None:
            started.started += 1
            started.waited_ms += max(0, task.taken_ms - task.eligible_ms)
        ended = None if task.released_ms is None else found.get(task.released_ms // MINUTE_MS * MINUTE_MS)
        if ended is not None and task.released_ms is not None and not task.is_put_aside:
            ended.ended += 1
            ended.duration_ms += max(0, task.released_ms - task.taken_ms)
            ended.failed += task.has_failed
            ended.out_of_memory += task.has_failed and is_out_of_memory(task.reason)
            ended.timeouts += task.has_failed and is_timeout(task.reason)
    return found


def is_out_of_memory(reason: str) -> bool:
    """Whether an executor's reason speaks of memory."""
    said = reason.casefold()
    return "out of memory" in said or "oom" in said.split() or "oomkilled" in said


def is_timeout(reason: str) -> bool:
    """Whether an executor's reason speaks of time that ran out."""
    said = reason.casefold()
    return "timeout" in said or "timed out" in said or "deadline exceeded" in said


def _touched(start: int, end: int, begin_ms: int, end_ms: int) -> range:
    """The minutes that an interval touches, inside the window. An empty interval touches none."""
    first = max(start, begin_ms) // MINUTE_MS * MINUTE_MS
    last = min(end, end_ms)
    return range(first, last, MINUTE_MS) if end > start and last > first else range(0)
