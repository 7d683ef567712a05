"""Which of several tasks that are equally due goes first?

The score of the executor's documents: 0.4 urgency + 0.2 interval width + 0.3 runway risk + 0.1 (1 − fair share), each in 0…1,
plus ageing: whoever waits half an hour longer goes before anybody, so that nothing waits for ever. Within a project the part
that differs between its tasks does not change with time, and is kept as the card's *rank*: the next card is one look into an
index, not a scan. Fairness between projects comes before all this (`fairness.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

URGENCY: Final = 0.4
CI_WIDTH: Final = 0.2
RUNWAY_RISK: Final = 0.3
FAIRSHARE: Final = 0.1
# A score lies in 0…1, so after this time longer in the queue nothing else counts.
AGES_IN: Final = timedelta(minutes=30)


def deadline_urgency(*, now: datetime, deadline: datetime | None, left: timedelta) -> float:
    """How much of the time until the deadline the work that is left will take, 0…1; 0 without a deadline, 1 after it."""
    if deadline is None:
        return 0.0
    if deadline <= now:
        return 1.0
    return min(1.0, max(0.0, left / (deadline - now)))


def priority_urgency(priority: float) -> float:
    """A card's priority (0…1, 0.5 is ordinary) as urgency: what is less than ordinary is not urgent at all."""
    return min(1.0, max(0.0, 2.0 * (priority - 0.5)))


def interval_width(low: float | None, high: float | None) -> float:
    """How wide an interval is for its height, (high − low) ÷ (high + low): 0 known exactly, 1 (or no interval) not at all."""
    if low is None or high is None or high + low <= 0:
        return 1.0
    return min(1.0, max(0.0, (high - low) / (high + low)))


def runway_risk(*, left: Decimal | None, needed: Decimal) -> float:
    """What the queued work will reserve ÷ what the budget has left, 0…1; 0 without a budget."""
    if left is None or needed <= 0:
        return 0.0
    return 1.0 if left <= 0 else min(1.0, float(needed / left))


def score(*, urgency: float, ci_width: float, runway_risk: float, fairshare: float) -> float:
    """The score of the executor's documents, 0…1; each part is cut to 0…1."""
    parts = ((URGENCY, urgency), (CI_WIDTH, ci_width), (RUNWAY_RISK, runway_risk), (FAIRSHARE, 1.0 - fairshare))
    return sum(weight * min(1.0, max(0.0, part)) for weight, part in parts)


def aged(of_score: float, waited: timedelta) -> float:
    """A score with what waiting adds to it."""
    return of_score + max(timedelta(), waited) / AGES_IN


def rank(*, priority: float, ci_width: float, ready_at: datetime) -> float:
    """What orders the tasks of a project in a lane, the largest first: score and ageing as far as they differ among them."""
    own = URGENCY * priority_urgency(priority) + CI_WIDTH * ci_width
    return own - ready_at.timestamp() / AGES_IN.total_seconds()
