"""Do sensors and schedules tick, and do their ticks end well?

Dagster repeats a failing tick for ever and tells nobody. Looked at from a sensor of the daemon, because only Dagster knows
its ticks; that it looked at all is the daemon's sign of life (source `daemon`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading

FAILURE: Final = "FAILURE"
STARTED: Final = "STARTED"


@dataclass(frozen=True, slots=True)
class Ticking:
    """One sensor or schedule: seconds between two ticks (None for a schedule), and its newest ticks, the newest first.

    A tick is (seconds since 1970, status, error).
    """

    name: str
    interval_s: float | None
    ticks: tuple[tuple[float, str, str], ...]


def looking(ticking: Callable[[], Iterable[Ticking]]) -> Callable[[Asked], Seen]:
    """A source that asks Dagster through `ticking`."""

    def look(asked: Asked) -> Seen:
        found = [reading for one in ticking() for reading in readings(one, asked)]
        return Seen(tuple(found))

    return look


def readings(one: Ticking, asked: Asked) -> list[Reading]:
    """What the ticks of one sensor or schedule say; nothing before its first."""
    ended = [tick for tick in one.ticks if tick[1] != STARTED]
    found, failures = [], 0
    for _, status, _ in ended:
        if status != FAILURE:
            break
        failures += 1
    if ended:
        why = ended[0][2] if failures else ""
        found.append(Reading("sensor_failures", f"tick:{one.name}", float(failures), asked.now, why))
    if one.interval_s is not None and one.ticks:
        late = max(0.0, asked.now.timestamp() - one.ticks[0][0] - one.interval_s)
        found.append(
            Reading("sensor_lag_s", f"tick:{one.name}", late, asked.now, f"it should tick every {one.interval_s:g} s")
        )
    return found
