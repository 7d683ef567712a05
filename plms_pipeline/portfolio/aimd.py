"""By how much does a cap move when it moves by itself?

Additive increase, multiplicative decrease: the rule by which many senders share a line without talking to each other. One more
slot while the lane is full and healthy, half of them when it is in trouble, never outside the bounds, and not again before
what the last change did can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

Signal = Literal["raise", "lower", "hold"]
COOLDOWN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which caps the machine may move by itself."""

    least: int
    most: int


def next_cap(cap: int, signal: Signal, bounds: Bounds) -> int:
    """The next cap: one more, half, or the same; a cap that a person put outside the bounds stays where it is."""
    if not bounds.least <= cap <= bounds.most or signal == "hold":
        return cap
    return min(bounds.most, cap + 1) if signal == "raise" else max(bounds.least, cap // 2)


def may_move(*, now: datetime, moved_at: datetime | None) -> bool:
    """Whether the last change was long enough ago."""
    return moved_at is None or now - moved_at >= COOLDOWN
