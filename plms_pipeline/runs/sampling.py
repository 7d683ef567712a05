"""Which tasks of a project does a rehearsal take, and do they stand for all of them?

Tasks are put into strata of equal kind, complexity and lane. The sample has the size that was asked for; if that leaves out
a stratum it is raised to one task per stratum, but by that no further than 5 % of the project. A larger request stands: the
cap bounds the raise, never the request. Whether every stratum is covered is counted on the sample as it is drawn.

The original counted before it trimmed the sample, and called one representative that had left out 30 of 80 strata; its size
came from `int(n * pct)`, where 0.29 of 100 tasks are 28; it under-filled the quota; and no two of its samples were the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.runs.passport import PlannedTask

MAX_BUMP: Final = 0.05
UNKNOWN: Final = "unknown"


class Stratum(NamedTuple):
    """What tasks of one stratum have in common."""

    task_kind: str
    complexity: str
    lane_id: int

    @property
    def label(self) -> str:
        """The stratum as a person reads it: `endpoint/simple/4200`."""
        return f"{self.task_kind}/{self.complexity}/{self.lane_id}"


@dataclass(frozen=True, slots=True)
class Sample:
    """A drawn sample: the tasks of each stratum that has any, and how many each stratum holds."""

    sizes: Mapping[Stratum, int]
    drawn: Mapping[Stratum, tuple[str, ...]]
    requested_pct: float
    n_requested: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of all drawn tasks, in order."""
        return tuple(sorted(task for tasks in self.drawn.values() for task in tasks))

    @property
    def n_total(self) -> int:
        """Tasks of the project."""
        return sum(self.sizes.values())

    @property
    def n_sample(self) -> int:
        """Tasks of the sample."""
        return sum(len(tasks) for tasks in self.drawn.values())

    @property
    def n_strata(self) -> int:
        """Strata of the project."""
        return len(self.sizes)

    @property
    def actual_pct(self) -> float:
        """The share of the project that was drawn, a fraction."""
        return self.n_sample / self.n_total

    @property
    def strata_coverage(self) -> float:
        """The share of strata with at least one task in this sample, a fraction."""
        return len(self.drawn) / self.n_strata

    @property
    def auto_bumped(self) -> bool:
        """Whether the sample is larger than was asked for."""
        return self.n_sample > self.n_requested

    @property
    def is_representative(self) -> bool:
        """Whether every stratum has a task in this sample."""
        return len(self.drawn) == self.n_strata

    @property
    def missing(self) -> tuple[Stratum, ...]:
        """The strata that no task of the sample stands for, largest first."""
        return tuple(sorted((each for each in self.sizes if each not in self.drawn), key=lambda s: (-self.sizes[s], s)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person must know before relying on this sample."""
        told = []
        if not self.is_representative:
            told.append(
                f"Not representative: {len(self.missing)} of {self.n_strata} strata have no task in the sample "
                f"({', '.join(stratum.label for stratum in self.missing[:3])}{', …' if len(self.missing) > 3 else ''}); "
                f"they are taken from the priors. {self.n_strata} of {self.n_total} tasks "
                f"({self.n_strata / self.n_total:.1%}) would cover all, and by itself a sample grows to {MAX_BUMP:.0%} at "
                "most: ask for that share."
            )
        if self.auto_bumped:
            told.append(
                f"Raised from {self.n_requested} to {self.n_sample} tasks, so that "
                f"{'every stratum has one' if self.is_representative else 'more strata have one'}."
            )
        if Decimal(self.n_sample) > Decimal(str(MAX_BUMP)) * self.n_total:
            told.append(f"The sample is {self.actual_pct:.1%} of the project, more than {MAX_BUMP:.0%}.")
        return tuple(told)

    def metrics(self) -> dict[str, Any]:
        """The sources' `sampling_metrics`."""
        return {
            "n_total": self.n_total, "n_sample": self.n_sample, "actual_pct": self.actual_pct,
            "requested_pct": self.requested_pct, "strata_coverage": self.strata_coverage,
            "auto_bumped": self.auto_bumped, "n_strata": self.n_strata, "is_representative": self.is_representative,
        }  # fmt: skip


def strata_of(tasks: Iterable[PlannedTask]) -> dict[Stratum, tuple[str, ...]]:
    """Stratum → ids of its tasks, both in order, whatever the order of the tasks."""
    found: defaultdict[Stratum, list[str]] = defaultdict(list)
    for task in tasks:
        found[Stratum(task.task_kind or UNKNOWN, task.complexity or UNKNOWN, task.lane_id)].append(task.task_id)
    return {stratum: tuple(sorted(found[stratum])) for stratum in sorted(found)}


def whole_part(n: int, pct: float) -> int:
    """The whole part of `pct` of `n`, as a person reckons: 0.29 of 100 is 29, where `int(100 * 0.29)` is 28."""
    return int(Decimal(str(pct)) * n)


def sample_size(n: int, strata: int, pct: float) -> tuple[int, int]:
    """(size of the sample, size that was asked for).

    Args:
        n: tasks, at least one.
        strata: how many strata they form.
        pct: the share that was asked for, in (0, 1].
    """
    asked = min(n, max(1, whole_part(n, pct)))
    if asked >= strata:
        return asked, asked
    return max(asked, min(strata, max(1, whole_part(n, MAX_BUMP)))), asked


def draw(tasks: Sequence[PlannedTask], pct: float, rng: np.random.Generator) -> Sample:
    """Draw a stratified sample.

    Args:
        tasks: of the project; their order does not matter.
        pct: the share that is asked for, a fraction in (0, 1].
        rng: seeded by the caller; an equal state gives an equal sample.

    Raises:
        Conflict: there are no tasks (`no_tasks`).
        BadInput: `pct` is no share (`bad_rehearsal_pct`).
    """
    if not (math.isfinite(pct) and 0 < pct <= 1):
        raise BadInput(
            f"A rehearsal of {pct} of a project is none; give a share above 0 and up to 1, such as 0.01.",
            code="bad_rehearsal_pct",
        )
    strata = strata_of(tasks)
    if not strata:
        raise Conflict(
            "A project without tasks cannot be rehearsed; give it a plan (`plms project create --from FILE`).",
            code="no_tasks",
        )
    size, asked = sample_size(len(tasks), len(strata), pct)
    shares = allot({stratum: len(members) for stratum, members in strata.items()}, size, rng)
    drawn = {
        stratum: tuple(sorted(rng.choice(strata[stratum], count, replace=False).tolist()))
        for stratum, count in shares.items()
        if count
    }
    return Sample({stratum: len(members) for stratum, members in strata.items()}, drawn, pct, asked)


def found_again(tasks: Sequence[PlannedTask], pct: float, names: Iterable[str]) -> Sample:
    """The sample that was drawn earlier, against the plan as it stands now: a lane may have been corrected since.

    Args:
        names: the tasks that were drawn; those that the plan no longer holds are left out.

    Raises:
        Conflict: the plan holds no task (`no_tasks`).
    """
    strata, drawn = strata_of(tasks), frozenset(names)
    if not strata:
        raise Conflict("The project's plan holds no task any more.", code="no_tasks")
    kept = {stratum: tuple(name for name in members if name in drawn) for stratum, members in strata.items()}
    return Sample(
        {stratum: len(members) for stratum, members in strata.items()},
        {stratum: members for stratum, members in kept.items() if members},
        pct,
        sample_size(len(tasks), len(strata), pct)[1],
    )


def allot(sizes: Mapping[Stratum, int], n: int, rng: np.random.Generator) -> dict[Stratum, int]:
    """How many of `n` tasks each stratum gives: one each, the largest first, the rest by size (largest remainders).

    With fewer tasks than strata the largest ones are drawn, because least of the project is then left to the priors; equal
    ones by lot.
    """
    order = sorted(sizes)
    lots = dict(zip(order, rng.permutation(len(order)).tolist(), strict=True))
    ranked = sorted(order, key=lambda stratum: (-sizes[stratum], lots[stratum]))
    counts = {stratum: 1 if place < n else 0 for place, stratum in enumerate(ranked)}
    rest, room = n - len(order), sum(sizes.values()) - len(order)
    if rest <= 0 or room <= 0:
        return counts
    # Whole numbers throughout: a quota of 2.9999… must not lose a task.
    parts = {stratum: divmod(rest * (sizes[stratum] - 1), room) for stratum in order}
    for stratum, (whole, _) in parts.items():
        counts[stratum] += whole
    left = n - sum(counts.values())
    for stratum in sorted(order, key=lambda stratum: (-parts[stratum][1], lots[stratum]))[:left]:
        counts[stratum] += 1
    return counts
