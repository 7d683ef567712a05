"""Was a lane shared fairly?

Measured afterwards from the books, by the definition and not by what the scheduler remembers: at every moment the slot time
that the lane gave is divided by weighted max-min fairness among the projects that had an eligible task there, and what each
received is compared with that. A share of 1 is a fair one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plms_pipeline.portfolio.fairness import fill


@dataclass(frozen=True, slots=True)
class Stay:
    """One task in a lane, in ms of one clock: eligible from `eligible_ms`, in a slot from `taken_ms` (None: never) until
    `left_ms`."""

    project_id: int
    eligible_ms: float
    taken_ms: float | None
    left_ms: float


@dataclass(frozen=True, slots=True)
class Share:
    """What a project received in a lane of what it was entitled to, in slot milliseconds."""

    project_id: int
    received_ms: float
    entitled_ms: float

    @property
    def ratio(self) -> float | None:
        """Received ÷ entitled; None when it was entitled to nothing."""
        return self.received_ms / self.entitled_ms if self.entitled_ms > 0 else None


def shares_of(
    stays: Sequence[Stay], *, cap: int, weights: Mapping[int, float] | None = None, of_cap: bool = False,
    until_ms: float | None = None,
) -> list[Share]:  # fmt: skip
    """The shares of all projects in one lane, by project.

    Args:
        stays: every task that was eligible.
        cap: the lane's slots.
        weights: of projects; 1 where missing.
        of_cap: divide the cap instead of the slot time that was given: what nobody could be handed counts against everybody.
        until_ms: look no further.
    """
    projects = sorted({stay.project_id for stay in stays})
    place = {project: index for index, project in enumerate(projects)}
    weight = np.array([(weights or {}).get(project, 1.0) for project in projects], dtype=float)
    end = float("inf") if until_ms is None else until_ms
    changes = sorted(_changes(stays, place, end))
    demand, held = np.zeros(len(projects)), np.zeros(len(projects))
    received, entitled = np.zeros(len(projects)), np.zeros(len(projects))
    last = changes[0][0] if changes else 0.0
    rates = fill(cap, demand, weight)
    for at, kind, index, step in changes:
        if at > last:
            given = cap if of_cap else min(cap, held.sum())
            total = rates.sum()
            if total > 0:
                entitled += rates * (min(given, total) / total) * (at - last)
            received += held * (at - last)
            last = at
        if kind == "demand":
            demand[index] += step
            rates = fill(cap, demand, weight)
        else:
            held[index] += step
    return [Share(project, received[i], entitled[i]) for project, i in place.items()]


def _changes(stays: Iterable[Stay], place: Mapping[int, int], end: float) -> Iterable[tuple[float, str, int, int]]:
    for stay in stays:
        index = place[stay.project_id]
        if stay.eligible_ms < end:
            yield stay.eligible_ms, "demand", index, 1
            yield min(stay.left_ms, end), "demand", index, -1
        if stay.taken_ms is not None and stay.taken_ms < end:
            yield stay.taken_ms, "held", index, 1
            yield min(stay.left_ms, end), "held", index, -1
