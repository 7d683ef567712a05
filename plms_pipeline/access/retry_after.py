"""How long does a server ask us to wait?

`Retry-After` is a number of seconds or a date (RFC 9110). A date is meant by the clock of the server that sends it, which its
header `Date` shows: against ours, a server whose clock is an hour ahead would ask for an hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server asks, or None when it does not, or says nothing that can be read.

    Args:
        headers: of the answer; names are looked up as they stand in the RFC.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, OverflowError):  # a year of twenty digits is the latter
        return None
    return max(0.0, (_aware(until) - _aware(now)).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
