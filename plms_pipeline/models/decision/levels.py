"""Does serving keep its service levels?

Computed from what serving itself added up per minute: 99.5 % of the predictions of 7 days succeed, 95 % of the last hour's are
given within 750 ms and of its judged books within 250 ms, and of a thousand trades of 7 days at most three break a limit. One
bad answer alone proves nothing: a rule that one error of ten requests breaks would stop every promotion of a quiet night.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

LONG: Final = timedelta(days=7)
SHORT: Final = timedelta(hours=1)
ERRORS: Final = 0.005
SLOW: Final = 0.05
VIOLATIONS: Final = 0.003
# Of trades: above it trading supervision looks at the book, says the escalation matrix.
SUPERVISED: Final = 0.005


@dataclass(frozen=True, slots=True)
class Served:
    """What serving added up over a window: counts of predictions, of 500s, of those slower than 750 ms; of judged books and
    of those slower than 250 ms; of trades and of limits that were broken.
    """

    requests: int = 0
    errors: int = 0
    slow_750: int = 0
    guardrail_requests: int = 0
    slow_250: int = 0
    trades_evaluated: int = 0
    violations: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """One service level: share of what was bad, what is allowed, and over what."""

    name: str
    bad: int
    of: int
    allowed: float
    window: timedelta

    @property
    def share(self) -> float | None:
        """The bad part; None while there is nothing to judge."""
        return self.bad / self.of if self.of else None

    @property
    def is_breached(self) -> bool:
        """Whether more was bad than is allowed; a single bad one never is."""
        return self.bad > max(self.allowed * self.of, 1.0)

    @property
    def sentence(self) -> str:
        """For people."""
        days = f"{self.window.days} days" if self.window.days else f"{int(self.window.total_seconds() // 3600)} h"
        return f"{self.name}: {self.bad} of {self.of} in {days}, {self.allowed:.1%} are allowed"


def levels(*, long: Served, short: Served) -> tuple[Level, ...]:
    """Every service level, over the long (7 days) and the short (1 hour) window."""
    return (
        Level("answers that failed", long.errors, long.requests, ERRORS, LONG),
        Level("answers slower than 750 ms", short.slow_750, short.requests, SLOW, SHORT),
        Level("books judged slower than 250 ms", short.slow_250, short.guardrail_requests, SLOW, SHORT),
        Level("trades beyond a limit", long.violations, long.trades_evaluated, VIOLATIONS, LONG),
    )


def needs_supervision(found: Served) -> bool:
    """Whether trading supervision must look: more than 0.5 % of the trades broke a limit; a single one never is that."""
    return found.violations > max(SUPERVISED * found.trades_evaluated, 1.0)


def breached(found: tuple[Level, ...]) -> tuple[Level, ...]:
    """Those that are not kept."""
    return tuple(level for level in found if level.is_breached)
