"""Does the Dagster daemon live, seen by somebody who is not part of it?

Its own sensors cannot tell that it is dead. But each time that one of them looks (source `dagster`), that is written down:
who works beside the daemon sees how long ago it was. Where no daemon ever looked, none is missed.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import states

DAGSTER: Final = "dagster"


def look(asked: Asked) -> Seen:
    """Seconds since a sensor of the daemon looked."""
    with asked.registry.reading() as session:
        check = states.checks(session).get(DAGSTER)
    if check is None:
        return Seen()
    silence = max(0.0, (asked.now - check.checked_at).total_seconds())
    return Seen(
        (
            Reading(
                "daemon_silence_s", "dagster-daemon", silence, asked.now, f"last sign {check.checked_at:%H:%M:%S} UTC"
            ),
        )
    )
