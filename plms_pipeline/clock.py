"""What time is it, and who says so?

Everything that decides takes a `Clock`, so that tests, replays and simulations own time. Only `SystemClock` asks the
machine; the linter bans `datetime.now()` everywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the present moment."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class FrozenClock:
    """A clock that stands still at one aware moment."""

    at: datetime

    def now(self) -> datetime:
        """The frozen moment, in UTC."""
        return self.at.astimezone(UTC)
