"""May we call the executor now, or has it failed too often to be asked?

A circuit breaker as a pure machine: closed (calls pass) → open after some failures in a row (calls are refused at once,
so that a dead executor costs no threads and no timeouts) → half open after a pause (one probe passes) → closed when
the probe succeeds, open for twice as long when it fails. The obvious version keeps a flag and a timer inside the client,
where neither the pause nor the single probe can be tested without waiting.

Time is seconds of a monotonic clock that the caller hands in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Position = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop asking, and for how long. Seconds."""

    failures: int = 5
    pause_s: float = 5.0
    longest_pause_s: float = 60.0
    probe_s: float = 60.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not 0 < self.pause_s <= self.longest_pause_s or self.probe_s <= 0:
            raise ValueError(
                "a breaker needs at least one failure and positive pauses, the longest not below the first"
            )


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state: failures in a row, the pause that holds or held, and since when."""

    position: Position = "closed"
    failures: int = 0
    pause_s: float = 0.0
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """Whether a call may pass; if not, the seconds after which asking again makes sense."""

    breaker: Breaker
    may_pass: bool
    wait_s: float = 0.0


def ask(breaker: Breaker, policy: BreakerPolicy, now_s: float) -> Passage:
    """Whether a call may pass at `now_s`. The one that passes an open breaker after its pause is the probe.

    A probe that never reports back (its process died) is given up after `probe_s`, or the breaker would stay shut for ever.
    """
    if breaker.position == "closed":
        return Passage(breaker, may_pass=True)
    limit = breaker.pause_s if breaker.position == "open" else policy.probe_s
    waited = now_s - breaker.since_s
    if waited >= limit:
        return Passage(replace(breaker, position="half_open", since_s=now_s), may_pass=True)
    return Passage(breaker, may_pass=False, wait_s=limit - waited)


def succeeded(_breaker: Breaker) -> Breaker:
    """A call was answered: closed, and everything forgotten."""
    return Breaker()


def failed(breaker: Breaker, policy: BreakerPolicy, now_s: float) -> Breaker:
    """A call was not answered. A straggler that fails while the breaker is open changes nothing."""
    if breaker.position == "open":
        return breaker
    if breaker.position == "half_open":
        pause = min(policy.longest_pause_s, breaker.pause_s * 2)
        return Breaker("open", breaker.failures + 1, pause, now_s)
    failures = breaker.failures + 1
    if failures >= policy.failures:
        return Breaker("open", failures, policy.pause_s, now_s)
    return replace(breaker, failures=failures)
