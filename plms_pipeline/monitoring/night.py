"""Which instant does a night stand for, and which date does its report carry?

A night has one instant `as_of`: everything completed by then counts, nothing later does. It is the scheduled time, now for
a night started by hand, or 02:00 in New York for a given date. Twice a year that hour does not exist or is ambiguous: on
the spring night the instant is 03:00 EDT (the same 07:00 UTC that 02:00 EST would have been), on the autumn night the one
02:00, which is EST. The report's date is the instant's date in New York, never the one in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from plms_pipeline.errors import BadInput

ZONE: Final = "America/New_York"
HOUR: Final = 2
CRON: Final = f"0 {HOUR} * * *"
LATE_AFTER: Final = timedelta(hours=1)
"""A night that runs later than this after its instant shows in part a later state, and says so."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def night_of(as_of: datetime) -> date:
    """The date that the night of an aware instant is reported under."""
    return as_of.astimezone(ZoneInfo(ZONE)).date()


def as_of_date(day: date) -> datetime:
    """The instant of the night of `day`, in UTC. A wall time that does not exist counts with the offset before the gap."""
    return datetime.combine(day, time(HOUR), tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def parse_date(text: str, *, name: str) -> date:
    """The date that a person wrote, strictly as YYYY-MM-DD: Python alone would also take 20250805 and 2025-W32-2.

    Args:
        text: what was written.
        name: the option or argument, for the error.

    Raises:
        BadInput: the text is no such date (`bad_date`).
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadInput(f"{name} {text!r} is no date; write it as YYYY-MM-DD, such as 2026-03-01.", code="bad_date")


def parse_night(text: str, *, now: datetime, first_day: date) -> datetime:
    """The instant of the night that `--date` names.

    Args:
        text: what was written.
        now: this moment, aware.
        first_day: the first day of the books (PLMS_FIRST_DAY): of earlier nights nothing can be said.

    Raises:
        BadInput: the text is no date (YYYY-MM-DD), lies before the first day, or its night has not come yet.
    """
    day = parse_date(text, name="--date")
    if day < first_day:
        raise BadInput(
            f"--date {text} lies before {first_day}, the first day of the books (PLMS_FIRST_DAY); name a later night.",
            code="bad_date",
        )
    as_of = as_of_date(day)
    if as_of > now:
        raise BadInput(
            f"--date {text}: its night begins at {as_of:%Y-%m-%d %H:%M} UTC, which is still to come; leave --date out for now.",
            code="bad_date",
        )
    return as_of
