"""Which guards does a start have to pass, in which order, and what is said when it does not?

Kill switch, concurrency, rate, budget. What is refused at a later one has taken nothing at an earlier one. The sources let a
refused start keep its tick of the rate and its place in the count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from plms_pipeline.budget.ledger import Purse
from plms_pipeline.errors import Conflict, PlmsError
from plms_pipeline.portfolio.buckets import Rate

Guard = Literal["killswitch_on", "concurrency_limited", "rate_limited", "budget_exceeded"]
ORDER: Final[tuple[Guard, ...]] = ("killswitch_on", "concurrency_limited", "rate_limited", "budget_exceeded")
TOO_MANY: Final = 429
# Places become free when work ends; nobody knows when that is.
RETRY_PLACE_S: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A place that is wanted: one of `cap` of a resource, for a subject."""

    resource: str
    cap: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What wants to start: the places, the rates (bucket name → rate) and the money (USD from every purse) it needs.

    Places are taken in the order given. `subject` names it in all of them.
    """

    subject: str
    holder: str
    expires_at: datetime
    places: Sequence[Place] = ()
    rates: Sequence[tuple[str, Rate]] = ()
    purses: Sequence[Purse] = ()
    amount_usd: Decimal = Decimal(0)
    project_id: int | None = None
    lane_id: int | None = None
    run_id: str | None = None
    actor: str = field(default="dispatcher")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first guard that says no, why, and the seconds after which asking again makes sense (None: not by waiting)."""

    guard: Guard
    reason: str
    retry_after_s: float | None = None

    def error(self) -> PlmsError:
        """The refusal as the error for people: 409, or 429 with Retry-After where waiting helps."""
        if self.guard in ("killswitch_on", "budget_exceeded"):
            return Conflict(self.reason, code=self.guard)
        wait_s = max(1, math.ceil(self.retry_after_s or RETRY_PLACE_S))
        return Conflict(self.reason, code=self.guard, http_status=TOO_MANY, retry_after_s=wait_s)


def stopped(reason: str) -> Refusal:
    """The refusal while the kill switch is on."""
    return Refusal(
        "killswitch_on",
        f"killswitch_on: nothing starts while the kill switch is on: {reason}; `plms killswitch off` ends it",
    )


def crowded(resource: str, cap: int) -> Refusal:
    """The refusal when every place is taken."""
    return Refusal(
        "concurrency_limited", f"concurrency_limited: all {cap} places of {resource} are taken", RETRY_PLACE_S
    )


def hurried(name: str, rate: Rate, wait_s: float) -> Refusal:
    """The refusal when it is too soon for another one."""
    return Refusal(
        "rate_limited", f"rate_limited: {name} admits {rate.per_s:g} per second; wait {wait_s:.2f} s", wait_s
    )
