"""May one more begin now, at so many per second?

A token bucket: it fills at `rate` tokens per second up to `burst`, and one that begins takes one out. In any span of t seconds
at most burst + rate × t begin, wherever the span lies. The guard of the sources counted in windows of a whole second, so twice
the limit passed around each boundary, and compared with a shell's integers: the documented 2.0 made every comparison fail and
every call pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# A token that is missing by less than this is there: a thousand refills of 0.1 are not quite a hundred.
_EPSILON: Final = 1e-9
# Nobody waits longer than this for a lock.
JUMP: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` tokens per second flow in, at most `burst` are kept."""

    per_s: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_s) and self.per_s > 0 and math.isfinite(self.burst) and self.burst >= 1):
            raise ValueError(
                f"{self} is no rate: it needs a positive number per second and room for one token at least."
            )


@dataclass(frozen=True, slots=True)
class Level:
    """`tokens` were in the bucket at `at`."""

    tokens: float
    at: datetime


def full(rate: Rate, now: datetime) -> Level:
    """A bucket that was never used."""
    return Level(rate.burst, now)


def is_jump(level: Level, now: datetime) -> bool:
    """Whether `now` is so far before the bucket's moment that a clock jumped back, and nobody merely waited for a lock."""
    return level.at - now > JUMP


def refilled(level: Level, rate: Rate, now: datetime) -> Level:
    """The bucket at `now`, or at its own moment when that is later: who looked at the clock before it waited for its turn
    brings no tokens, and takes no time back that was counted already. After a jump of the clock it goes on from `now`.
    """
    elapsed_s = max(0.0, (now - level.at).total_seconds())
    at = now if is_jump(level, now) else max(level.at, now)
    return Level(min(rate.burst, max(0.0, level.tokens) + elapsed_s * rate.per_s), at)


def take(level: Level, rate: Rate, now: datetime, tokens: float = 1.0) -> tuple[Level, float]:
    """Take tokens out at `now`.

    Returns:
        The bucket afterwards and 0, or the bucket as it was and the seconds after which there would be enough.
    """
    filled = refilled(level, rate, now)
    if filled.tokens + _EPSILON >= tokens:
        return Level(max(0.0, filled.tokens - tokens), filled.at), 0.0
    return level, (filled.at - now).total_seconds() + (tokens - filled.tokens) / rate.per_s
