"""How much of the evidence comes in time, and should it be waited for longer?

Coverage counts what was found in time against everything that was observed; what was dropped or cancelled was not observed,
and counts apart. The proposal follows the guide's order: first more room when anything was dropped, then a longer wait when
evidence is known to have come later; an outage of the backend is infrastructure, and no wait cures it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plms_pipeline.evidence.sights import REASONS

TARGET: Final = 0.99
STEP_MS: Final = 100
LEAST_MS: Final = 500
# Waits beyond this are no longer a matter of timing.
MOST_MS: Final = 60_000
LEAST_OBSERVED: Final = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: `arrival_ms` is when its evidence was made, counted from acceptance; None when it never came."""

    evidence_kind: str
    reason: str
    arrival_ms: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """One kind of evidence: how often each reason, when evidence came, and what is proposed (`proposed_wait_ms` None: keep)."""

    evidence_kind: str
    counts: Mapping[str, int]
    arrivals_ms: tuple[float, ...]
    wait_ms: int
    proposed_wait_ms: int | None
    advice: str

    @property
    def observed(self) -> int:
        """Observations that somebody looked for."""
        return sum(self.counts.values()) - self.counts["dropped"] - self.counts["cancelled"]

    @property
    def ratio(self) -> float | None:
        """Share that was found in time; None when nothing was observed."""
        return self.counts["ok"] / self.observed if self.observed else None

    def quantile_ms(self, share: float) -> float | None:
        """So long took this share of the evidence that came; None when none came."""
        return _quantile(self.arrivals_ms, share)


def coverage(seen: Iterable[Seen], *, wait_ms: int) -> list[Coverage]:
    """Coverage and proposal per kind, by name.

    Args:
        wait_ms: how long is waited now.
    """
    by_kind: dict[str, list[Seen]] = defaultdict(list)
    for each in seen:
        by_kind[each.evidence_kind].append(each)
    return [_of_kind(kind, by_kind[kind], wait_ms) for kind in sorted(by_kind)]


def _of_kind(kind: str, seen: Sequence[Seen], wait_ms: int) -> Coverage:
    counted = Counter(each.reason for each in seen)
    counts = {reason: counted[reason] for reason in REASONS}
    arrivals = tuple(sorted(max(0.0, each.arrival_ms) for each in seen if each.arrival_ms is not None))
    proposed, advice = _proposal(counts, arrivals, wait_ms)
    return Coverage(kind, counts, arrivals, wait_ms, proposed, advice)


def _proposal(counts: Mapping[str, int], arrivals: Sequence[float], wait_ms: int) -> tuple[int | None, str]:
    observed = sum(counts.values()) - counts["dropped"] - counts["cancelled"]
    if observed < LEAST_OBSERVED:
        return None, f"fewer than {LEAST_OBSERVED} observations: nothing is proposed"
    if counts["dropped"]:
        return None, "obligations were dropped: raise P28_LATE_OBS_MAX_INFLIGHT before the wait"
    if counts["redis_error"] > 0.05 * observed:
        return None, "the backend failed: that is infrastructure, and no wait cures it"
    needed = _quantile(arrivals, TARGET)
    if needed is None:
        return None, "evidence never came: find out who should write it, and where"
    proposed = int(min(MOST_MS, max(LEAST_MS, math.ceil(1.25 * needed / STEP_MS) * STEP_MS)))
    if proposed > wait_ms:
        return proposed, f"99 % of the evidence that comes is there after {needed:.0f} ms: wait longer"
    if 2 * proposed <= wait_ms:
        return proposed, f"99 % of the evidence that comes is there after {needed:.0f} ms: absence could be told sooner"
    return None, "the wait fits"


def _quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the sorted values does not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None
