"""Which instant does a night stand for, and which date does its report carry?

A night has one instant `as_of`: everything completed by then counts, nothing later does. It is the scheduled time, now for
a night started by hand, or 02:00 in New York for a given date. Twice a year that hour does not exist or is ambiguous: on
the spring night the instant is 03:00 EDT (the same 07:00 UTC that 02:00 EST would have been), on the autumn night the one
02:00, which is EST. The report's date is the instant's date in New York, never the one in UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from plms_pipeline.errors import BadInput

ZONE: Final = "America/New_York"
HOUR: Final = 2
CRON: Final = f"0 {HOUR} * * *"


def night_of(as_of: datetime) -> date:
    """The date that the night of an aware instant is reported under."""
    return as_of.astimezone(ZoneInfo(ZONE)).date()


def as_of_date(day: date) -> datetime:
    """The instant of the night of `day`, in UTC. A wall time that does not exist counts with the offset before the gap."""
    return datetime.combine(day, time(HOUR), tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def parse_night(text: str, *, now: datetime) -> datetime:
    """The instant of the night that `--date` names.

    Raises:
        BadInput: the text is no date (YYYY-MM-DD), or its night has not come yet.
    """
    try:
        as_of = as_of_date(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise BadInput(
            f"--date {text} is no date; write it as YYYY-MM-DD, such as 2026-03-01.", code="bad_date"
        ) from None
    if as_of > now:
        raise BadInput(
            f"--date {text}: its night begins at {as_of:%Y-%m-%d %H:%M} UTC, which is still to come; leave --date out for now.",
            code="bad_date",
        )
    return as_of
