"""Between which moments is a budget gone, nine times of ten?

The cost of attempts is a cumulative process: attempts end after durations t and cost x each. What it takes in a long time has
a variance that grows like that of x - (E x / E t) t (Smith 1955; Cox, Renewal Theory, 1962, ch. 8): for n attempts it is,
relative to the square of the mean, (c²_x + c²_t) / n, with the squared coefficients of variation, however many work side by
side. That long attempts cost more, which makes it less, is not used: money is booked in one lump where an attempt ends. A
Poisson process is the case c²_t = 1.

- *The rate.* All receipts of what runs say more of it than those of ten minutes. The trailing window counts as far as it
  contradicts them by more than chance, by the positive-part rule of James and Stein (Efron and Morris 1973): as long as it does
  not, the rate of the whole run stands, and where burn has changed, that of the window does.
- *The moment.* A budget is gone before a moment exactly if what is spent until then exceeds it, so the ends are found by asking
  of each moment what will be spent until then: log-normal, as all sums of few skewed costs here, and the less certain, in
  relation, the nearer the moment. To put the spread at the expected moment on both sides is Wald's interval, and misses the big
  attempt that takes the rest at once.
- *The last receipt.* What takes the budget exceeds it by E x² / (2 E x) on the average (Gut, Stopped Random Walks, 2009,
  ch. 3). The later end waits for it, the earlier one does not.

Few receipts say little of their own spread: it begins at the spread that is believed of a provider before any receipt was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from plms_pipeline.estimates.extrapolation import Z_90
from plms_pipeline.estimates.method import METHOD

Interval = tuple[float, float]

# The squared coefficient of variation of a log-normal with the factory's spread, and how many receipts it counts for.
FACTORY_VARIATION: Final = math.expm1(METHOD.factory_spread**2)
STRENGTH: Final = 3.0
# Beyond it, doubles overflow on the way, and no interval changes any more.
_LARGEST: Final = 1e200


@dataclass(frozen=True, slots=True)
class Lumps:
    """How uneven some amounts are: how many there are, and Σx² / (Σx)² of them (1: one amount, or unknown)."""

    count: int = 0
    lumpiness: float = 1.0

    @property
    def variation(self) -> float:
        """The squared coefficient of variation that is believed of their kind: never 0, however alike few of them are."""
        deviations = max(0.0, self.count * (self.count * self.lumpiness - 1))
        return (deviations + STRENGTH * FACTORY_VARIATION) / (max(self.count - 1, 0) + STRENGTH)


UNKNOWN: Final = Lumps()


@dataclass(frozen=True, slots=True)
class Burnt:
    """What was spent in some time: USD, minutes (both above 0), and in how many receipts (at least one)."""

    usd: float
    minutes: float
    receipts: int

    @property
    def rate(self) -> float:
        """USD a minute."""
        return self.usd / self.minutes


def depletion_interval(free: float, seen: Burnt, run: Burnt, *, costs: float, durations: float) -> Interval:
    """The central 90 % interval of the minutes until so much is spent; it holds the point `free / seen.rate`.

    Args:
        free: USD, above 0.
        seen, run: what the point rests on, and everything that runs has taken; `seen` is a part of it.
        costs, durations: squared coefficients of variation of what one attempt costs and of how long it takes.
    """
    unevenness, mean = costs + durations, run.usd / run.receipts
    rate, doubt = _rate_now(seen, run, unevenness)
    last = free + mean * (1 + costs) / 2
    low = free / rate * math.exp(-_reach(doubt, unevenness * mean / free, sooner=True))
    high = last / rate * math.exp(_reach(doubt, unevenness * mean / last, sooner=False))
    point = free / seen.rate
    return min(low, point), max(high, point)


def _rate_now(seen: Burnt, run: Burnt, unevenness: float) -> tuple[float, float]:
    """USD a minute, and the variance of its logarithm: the run's, moved to the window as far as that contradicts it."""
    doubt = unevenness / run.receipts
    chance = max(0.0, unevenness / seen.receipts - doubt)
    apart = math.log(seen.rate / run.rate)
    moved = max(0.0, 1 - chance / apart**2) if apart**2 > 0 else 0.0
    return run.rate * math.exp(moved * apart), doubt + moved * chance


def _reach(doubt: float, lumps: float, *, sooner: bool) -> float:
    """How far, on the log scale, the end of the interval is from the expected moment.

    The root s >= 0 of s² = z² (doubt + log(1 + lumps · e^±s)): `lumps` is the relative variance of what is spent until the
    expected moment, and that of a moment e^s times nearer is e^s times as large. The difference of both sides is convex for
    every z² < 8 and not above 0 at s = 0, so Newton's steps from beyond its one root fall upon it.
    """
    lumps, square, sign = min(lumps, _LARGEST), Z_90**2, 1.0 if sooner else -1.0
    widest = square * (doubt + math.log1p(lumps))
    found = (square + math.sqrt(square**2 + 4 * widest)) / 2 if sooner else math.sqrt(widest)
    for _ in range(100):
        there = lumps * math.exp(sign * found)
        slope = 2 * found - sign * square * there / (1 + there)
        step = (found**2 - square * (doubt + math.log1p(there))) / slope if slope > 0 else 0.0
        found -= step
        if step <= 1e-12:
            break
    return max(0.0, found)
