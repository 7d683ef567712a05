"""Whose turn is it in a lane?

Weighted max-min fairness over time. At every moment each project with an eligible task in a lane is entitled to a rate of
slots: the lane's cap, filled like water into vessels as wide as the weights and as high as the demands. What a project was
entitled to less what it received is what it is *owed*; whoever is owed most, measured in its own entitled time, goes next.
Slots that are held count as far as they will still be held, or a project that was just served would be served again at once.

What nobody could use (the executor was away, the switch was on) is shared out as it was given: otherwise an hour's outage
would make a debt that whoever comes afterwards would have to wait for. So the debts of a lane always sum up to nothing.

The prototype drained priority 1 before 5, and never looked at projects at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Projects whose turns are less than this part of a task apart are equally due: among them the score decides.
BAND: Final = 0.25
# A slot that is held longer than its task should take is still held: a tenth of a task is left, whatever the clock says.
LEAST_LEFT: Final = 0.1
# What a project that has no task in a lane is owed there fades: half of it in ten minutes.
FADES_IN_MS: Final = 600_000.0
FORGOTTEN_MS: Final = 50.0
# Rehearsals may have this part of a lane before anybody else: an answer about a plan must not wait behind the plans of others.
REHEARSAL_PART: Final = 0.05
TREND: Final = 0.3
TYPICAL_MS: Final = 300_000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """A project in a lane: slot time owed to it (ms; negative: it had more), the slots that it is entitled to now, and how long
    its tasks hold a slot (ms; None: nothing known)."""

    owed_ms: float = 0.0
    rate: float = 0.0
    typical_ms: float | None = None


@dataclass(frozen=True, slots=True)
class LaneBook:
    """What is remembered of a lane between two rounds.

    When the last was (ms of the epoch), how projects stand, how long a task holds a slot, and the slot time that is reserved
    for rehearsals by now.
    """

    at_ms: float | None = None
    standings: Mapping[int, Standing] = field(default_factory=dict)
    typical_ms: float | None = None
    rehearsal_ms: float = 0.0
    rehearsal_rate: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "at_ms": self.at_ms, "typical_ms": self.typical_ms,
            "rehearsal_ms": round(self.rehearsal_ms, 3), "rehearsal_rate": self.rehearsal_rate,
            "standings": {
                str(project): [round(one.owed_ms, 3), round(one.rate, 6), one.typical_ms]
                for project, one in sorted(self.standings.items())
            },
        }  # fmt: skip

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> LaneBook:
        """As it was stored; nothing stored is an empty book."""
        if not stored:
            return cls()
        return cls(
            stored["at_ms"], {int(project): Standing(*values) for project, values in stored["standings"].items()},
            stored["typical_ms"], stored["rehearsal_ms"], stored["rehearsal_rate"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contender:
    """A project in a lane now: eligible tasks that wait (how many of them `rehearsing`), the age in ms of each slot that it
    holds, its weight and its score."""

    project_id: int
    waiting: int
    held_ms: tuple[float, ...] = ()
    weight: float = 1.0
    score: float = 0.0
    rehearsing: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is; `is_rehearsal`: one of its rehearsal tasks, out of the part that is reserved for them."""

    project_id: int
    is_rehearsal: bool = False


def fill(capacity: float, demands: Sequence[float] | Floats, weights: Sequence[float] | Floats) -> Floats:
    """The weighted max-min fair rates: nobody gets more than its demand, and what one does not need the others share by weight.

    Sorted by demand per weight, the first k vessels are full; O(n log n).
    """
    demand, weight = np.asarray(demands, dtype=float), np.asarray(weights, dtype=float)
    if demand.size == 0 or capacity <= 0:
        return np.zeros(demand.size)
    if demand.sum() <= capacity:
        return demand.copy()
    height = demand / weight
    order = np.argsort(height, kind="stable")
    # The level that the water would have if exactly the vessels before each one were full.
    full = np.concatenate(([0.0], np.cumsum(demand[order])[:-1]))
    wide = np.cumsum(weight[order][::-1])[::-1]
    level = (capacity - full) / wide
    first_open = int(np.argmax(height[order] > level))
    rates: Floats = np.minimum(demand, weight * level[first_open])
    return rates


def advance(book: LaneBook, *, now_ms: float, received_ms: Mapping[int, float]) -> LaneBook:
    """Book the time since the last round.

    Args:
        book: as the last round left it.
        now_ms: milliseconds of the epoch; a clock that went back moves nothing.
        received_ms: slot time that each project had since then.
    """
    passed = 0.0 if book.at_ms is None else max(0.0, now_ms - book.at_ms)
    given = sum(received_ms.values())
    entitled = sum(one.rate for one in book.standings.values()) * passed
    portion = given / entitled if entitled > 0 else 0.0
    fade = 0.5 ** (passed / FADES_IN_MS)
    standings: dict[int, Standing] = {}
    for project in book.standings.keys() | (received_ms.keys() if entitled > 0 else set()):
        one = book.standings.get(project, Standing())
        owed = one.owed_ms if one.rate > 0 or project in received_ms else one.owed_ms * fade
        if entitled > 0:
            owed += one.rate * passed * portion - received_ms.get(project, 0.0)
        if one.rate > 0 or abs(owed) > FORGOTTEN_MS:
            standings[project] = replace(one, owed_ms=owed)
    most = book.typical_ms or TYPICAL_MS
    rehearsal = min(most, book.rehearsal_ms + book.rehearsal_rate * passed)
    return replace(book, at_ms=max(now_ms, book.at_ms or now_ms), standings=standings, rehearsal_ms=rehearsal)


def learnt(book: LaneBook, durations_ms: Iterable[tuple[int, float]]) -> LaneBook:
    """Learn how long tasks hold a slot: per project and for the lane, the newest weighing most."""
    standings, typical = dict(book.standings), book.typical_ms
    for project, took in durations_ms:
        typical = took if typical is None else typical + TREND * (took - typical)
        one = standings.get(project)
        if one is not None:
            mean = took if one.typical_ms is None else one.typical_ms + TREND * (took - one.typical_ms)
            standings[project] = replace(one, typical_ms=mean)
    return replace(book, standings=standings, typical_ms=typical)


class Race:
    """One round in one lane: who goes next, as long as slots are free.

    Args:
        book: advanced to now.
        contenders: every project that holds a slot of the lane or has an eligible task there.
        cap: the lane's slots.
    """

    def __init__(self, book: LaneBook, contenders: Sequence[Contender], *, cap: int) -> None:
        self._book, self._contenders, self._cap = book, list(contenders), cap
        self._place = {one.project_id: place for place, one in enumerate(self._contenders)}
        typical = book.typical_ms or TYPICAL_MS
        known = [book.standings.get(one.project_id, Standing()) for one in self._contenders]
        self._task_ms = np.array([max(1.0, one.typical_ms or typical) for one in known])
        self._weights = np.array([one.weight for one in self._contenders], dtype=float)
        self._waiting = np.array([one.waiting for one in self._contenders], dtype=float)
        self._held = np.array([len(one.held_ms) for one in self._contenders], dtype=float)
        self._scores = np.array([one.score for one in self._contenders], dtype=float)
        self._rehearsing = np.array([one.rehearsing for one in self._contenders], dtype=float)
        self._rehearsal_ms = book.rehearsal_ms
        committed = [
            sum(max(LEAST_LEFT * task, task - age) for age in one.held_ms)
            for one, task in zip(self._contenders, self._task_ms.tolist(), strict=True)
        ]
        self._owed = np.array([one.owed_ms for one in known]) - np.array(committed)
        self._rates = self._fair()

    @property
    def free(self) -> int:
        """How many slots are free; never negative."""
        return max(0, self._cap - int(self._held.sum()))

    def next(self) -> Turn | None:
        """Whose turn it is, or None when no slot is free or nobody waits. Changes nothing."""
        rehearsing = (self._waiting > 0) & (self._rehearsing > 0)
        if self.free and rehearsing.any() and self._rehearsal_ms >= (self._book.typical_ms or TYPICAL_MS):
            return Turn(self._due(rehearsing), is_rehearsal=True)
        may = self._waiting > 0
        if not self.free or not may.any():
            return None
        return Turn(self._due(may))

    def _due(self, may: NDArray[np.bool_]) -> int:
        # In entitled time: a project with twice the rate is owed twice as much after the same wait.
        rates = np.maximum(self._rates, 1e-9)
        lag = np.where(may, self._owed / rates, -np.inf)
        most = int(np.argmax(lag))
        due = lag >= lag[most] - BAND * self._task_ms[most] / rates[most]
        best = np.where(due & may, self._scores, -np.inf)
        tied = np.flatnonzero(best == best.max())
        return self._contenders[int(tied[np.argmax(lag[tied])])].project_id

    def took(self, turn: Turn) -> None:
        """A task of the project got a slot."""
        place = self._place[turn.project_id]
        if turn.is_rehearsal:
            self._rehearsing[place] -= 1
            self._rehearsal_ms -= self._task_ms[place]
        self._waiting[place] -= 1
        self._held[place] += 1
        self._owed[place] -= self._task_ms[place]

    def refuse(self, project_id: int) -> None:
        """Nothing else of the project may go now (its purse is empty, a switch is on): it has no demand but what it holds."""
        self._waiting[self._place[project_id]] = 0
        self._rates = self._fair()

    def book(self) -> LaneBook:
        """What the next round must remember: the rates that hold from now on."""
        rates = self._fair()
        standings = {
            project: replace(one, rate=0.0) for project, one in self._book.standings.items() if project not in self._place
        }  # fmt: skip
        for contender, rate in zip(self._contenders, rates.tolist(), strict=True):
            one = self._book.standings.get(contender.project_id, Standing())
            standings[contender.project_id] = replace(one, rate=rate)
        is_wanted = bool(((self._rehearsing > 0) & (self._waiting > 0)).any())
        return replace(
            self._book, standings=standings, rehearsal_ms=float(max(0.0, self._rehearsal_ms)),
            rehearsal_rate=REHEARSAL_PART * self._cap if is_wanted else 0.0,
        )  # fmt: skip

    def _fair(self) -> Floats:
        # More than the cap nobody can use; the bound keeps one project's thousand tasks from mattering.
        demand = np.minimum(self._waiting + self._held, max(self._cap, 0))
        return fill(self._cap, demand, self._weights)
