"""What did serving do in each minute?

Service levels are promised over seven days, and a process forgets everything when it ends; so what it counted is added to the
registry minute by minute. What could not be written yet stays here and is written later, in its own minute. An hour of outage
costs an hour of rows; a day of it is folded into the oldest minute that is kept, because counts that are a little too early
are better than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

MOST_MINUTES: Final = 24 * 60
SLOW_PREDICT_S: Final = 0.750
SLOW_GUARDRAILS_S: Final = 0.250
_NOT_LET_IN: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of one minute.

    Attributes:
        requests: answers of `/predict` to those who may ask.
        errors: those of them with a status of 500 and above.
        slow_750: those of them that took more than 750 ms.
        guardrail_requests: answers of `/guardrails`.
        slow_250: those of them that took more than 250 ms.
        trades_evaluated: rows that guardrails judged.
        violations: limits that they found broken.
    """

    requests: int = 0
    errors: int = 0
    slow_750: int = 0
    guardrail_requests: int = 0
    slow_250: int = 0
    trades_evaluated: int = 0
    violations: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})


NAMES: Final = tuple(each.name for each in fields(Counts))


def answered(endpoint: str, status: int, seconds: float) -> Counts | None:
    """What one answer counts as; None when no promise is about it.

    Whoever was not let in was promised nothing: a stranger's quick refusals would thin out every slow and every failed answer.
    """
    if status in _NOT_LET_IN:
        return None
    if endpoint == "predict":
        return Counts(requests=1, errors=int(status >= 500 or status == 0), slow_750=int(seconds > SLOW_PREDICT_S))
    if endpoint == "guardrails":
        return Counts(guardrail_requests=1, slow_250=int(seconds > SLOW_GUARDRAILS_S))
    return None


def minute_of(moment: datetime) -> datetime:
    """The minute that a moment lies in."""
    return moment.replace(second=0, microsecond=0)


def added(book: Mapping[datetime, Counts], more: Mapping[datetime, Counts]) -> dict[datetime, Counts]:
    """The counts of both, minute by minute, of which the newest `MOST_MINUTES` are kept apart."""
    found = dict(book)
    for minute, counts in more.items():
        found[minute] = found.get(minute, Counts()) + counts
    kept = sorted(found)
    while len(kept) > MOST_MINUTES:
        oldest, following = kept[0], kept[1]
        found[following] += found.pop(oldest)
        kept.pop(0)
    return found
