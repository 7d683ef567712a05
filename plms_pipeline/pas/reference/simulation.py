"""What would a whole run take, judged by a sample of its tasks?

The source's stub multiplied a constant by the percentage and put ±12 % around it. Here tasks are grouped by lane, kind and
complexity; each group counts with its mean and size, and the interval follows from what the sampled tasks differ by, with the
correction for a finite number of tasks (Cochran, Sampling Techniques, 5.6). A group of one sampled task borrows the spread of
all.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance, variance
from typing import Final

from plms_pipeline.pas.reference.chance import draw

Z_90: Final = 1.645


@dataclass(frozen=True, slots=True)
class Projection:
    """Tokens of the sample and of the whole with a 90 % interval; `coverage`: share of groups in the sample."""

    coverage: float
    sample_tokens: int
    tokens: int
    low: int
    high: int
    risk: float
    n_sampled: int


def sample(strata: Mapping[str, Hashable], pct: float, *, stratified: bool, seed: int, about: str) -> list[str]:
    """Names drawn from `strata` (task → its group): `pct` of them, at least one; stratified: at least one of each group.

    The same seed and subject draw the same sample.
    """
    order = sorted(strata, key=lambda task: draw(seed, "simulate", about, task))
    size = max(1, math.ceil(pct * len(order)))
    if not stratified:
        return order[:size]
    first: dict[Hashable, str] = {}
    for task in order:
        first.setdefault(strata[task], task)
    chosen = list(first.values())
    rest = [task for task in order if task not in set(chosen)]
    return chosen + rest[: max(0, size - len(chosen))]


def project(tokens: Mapping[str, int], strata: Mapping[str, Hashable], *, tasks_total: int) -> Projection:
    """Extrapolate.

    Args:
        tokens: of each sampled task; not empty.
        strata: group of every known task.
        tasks_total: of the run; tasks that are not known yet are taken to be like the known ones.
    """
    sizes: dict[Hashable, int] = defaultdict(int)
    for group in strata.values():
        sizes[group] += 1
    seen: dict[Hashable, list[int]] = defaultdict(list)
    for task, count in tokens.items():
        seen[strata[task]].append(count)
    covered = sum(sizes[group] for group in seen)
    scale = tasks_total / covered
    whole = scale * sum(sizes[group] * fmean(counts) for group, counts in seen.items())
    spread = pvariance(list(tokens.values()))
    deviation = scale * math.sqrt(sum(_variance(sizes[group], counts, spread) for group, counts in seen.items()))
    half = Z_90 * deviation
    coverage = len(seen) / len(sizes)
    width = half / whole if whole > 0 else 0.0
    return Projection(
        coverage=coverage, sample_tokens=sum(tokens.values()), tokens=round(whole), low=max(0, round(whole - half)),
        high=round(whole + half), risk=round(1 - coverage / (1 + width), 4), n_sampled=len(tokens),
    )  # fmt: skip


def _variance(size: int, counts: Sequence[int], spread: float) -> float:
    """Variance of a group's estimated total."""
    own = variance(counts) if len(counts) > 1 else spread
    return size**2 * (1 - len(counts) / size) * own / len(counts)
