"""How does a terminal watch a run until it has ended?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.closing import run_lines, run_status
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.runlog import Line

LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the lines that are new, and the status after them."""

    lines: tuple[Line, ...]
    status: str


def follow_run(
    registry: Registry,
    run_id: str,
    *,
    wait_s: float,
    monotonic_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Seen]:
    """Look at a run until it has ended or `wait_s` seconds are over; at least once.

    Raises:
        NotFound: no such run.
    """
    until = monotonic_s() + wait_s
    known: set[tuple[str, int]] = set()
    while True:
        # The status first: lines that are written after it are seen at the next look, and there is one unless it ended.
        status = run_status(registry, run_id)
        lines = run_lines(registry, run_id)
        fresh = tuple(line for line in lines if (line.kind, line.number) not in known)
        known.update((line.kind, line.number) for line in fresh)
        yield Seen(fresh, status)
        if is_terminal("run", status) or monotonic_s() >= until:
            return
        sleep(min(LOOK_EVERY_S, max(0.0, until - monotonic_s())))
