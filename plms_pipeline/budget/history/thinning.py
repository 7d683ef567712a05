"""Which looks at a project's money are kept as they grow old?

All of one day, one an hour for thirty days, one a day after that for ever: a year of a busy project is some two thousand rows,
where every look would be half a million.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

ALL_FOR: Final = timedelta(days=1)
HOURLY_FOR: Final = timedelta(days=30)


def superfluous(looks: Iterable[tuple[int, int, datetime]], *, now: datetime) -> list[int]:
    """The ids that may go: of each project and hour (or day, by age) all but the last look.

    Args:
        looks: (id, project, moment); aware moments.
    """
    kept: dict[tuple[int, str], tuple[datetime, int]] = {}
    gone = []
    for number, project, at in looks:
        age = now - at
        if age <= ALL_FOR:
            continue
        key = (project, at.strftime("%Y-%m-%d %H" if age <= HOURLY_FOR else "%Y-%m-%d"))
        known = kept.get(key)
        if known is None or known < (at, number):
            gone += [known[1]] if known is not None else []
            kept[key] = (at, number)
        else:
            gone.append(number)
    return sorted(gone)
