"""How is a span of time written by a person? `90s`, `15m`, `2h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
LONGEST: Final = timedelta(days=366)


def span_of(text: object) -> timedelta:
    """The span that a text names.

    Raises:
        ValueError: it is none, or longer than a year.
    """
    found = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("write a span of time as 90s, 15m, 2h or 1d")
    span = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if span > LONGEST:
        raise ValueError("a span of time is a year at most")
    return span


def shown_span(span: timedelta) -> str:
    """A span as a person would write it, in the largest unit that fits."""
    seconds = int(span.total_seconds())
    unit = next((unit for unit in "dhm" if seconds and seconds % _UNITS[unit] == 0), "s")
    return f"{seconds // _UNITS[unit]}{unit}"
