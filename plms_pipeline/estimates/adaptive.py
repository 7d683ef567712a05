"""How much wider or narrower must the intervals of a lane be, judged by how the last ones did?

One factor per (lane, measure), found at night from one-step-ahead misses: it stretches distances from the median on the log
scale so that nine in ten of the past outcomes would have been inside (conformal prediction: Vovk et al. 2005; weights that
fade, for what drifts: Barber et al. 2023). A lane with little history leans on all lanes, and these on the assumption that the
method is right. It is not part of the state, so that a prior stays a function of its receipts alone.

n outcomes hold the next one with probability 0.9 only at their quantile 0.9 (1 + 1/n); taking the plain one is too narrow.
Outcomes that come in batches count as n over the design effect, as they do in the state: against the assumption that the
method is right, a day of four hundred tasks of one family is a hundred outcomes, not four hundred. A lane is weighed against
all lanes without it, because both sides come in batches alike.

The state learns from the same misses by the next night, and widens by itself. A factor without a narrow limit would answer
them a second time: on drifting durations one bad day made the next ones far too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.method import COVERAGE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ASSUMED_STRENGTH: Final = 50.0  # independent outcomes until they weigh as much as the assumption that all is well
LANE_STRENGTH: Final = 20.0  # outcomes until a lane's own weigh as much as those of all lanes
FADING: Final = 0.999
# A right method's 90 % interval stretched by these holds 84 % and 98 %: what is beyond is the state's to learn.
NARROWEST, WIDEST = 0.85, 1.4
# The margin never asks for more than this quantile: beyond it a handful of outcomes would decide.
HIGHEST_LEVEL: Final = 0.95

_STEPS_PER_UNIT: Final = 100
_GRID: Final[Floats] = np.arange(601) / _STEPS_PER_UNIT
# Of a right method the distance is |z| / 1.645 for a standard normal z; the half-width of its 90 % interval is 1.
_ASSUMED: Final[Floats] = np.asarray([math.erf(at * 1.6448536269514722 / math.sqrt(2.0)) for at in _GRID])


@dataclass(frozen=True, slots=True)
class Correction:
    """The factor of one lane and the number of misses and hits of that lane behind it."""

    value: float
    n: int


def distance(low: Floats, median: Floats, high: Floats, actual: Floats) -> Floats:
    """Where outcomes lie between the median (0) and the end of their interval on that side (1), on the log scale. (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log(np.maximum(values, 1e-300)) for values in (low, median, high, actual)]
        up = (logs[3] - logs[1]) / np.maximum(logs[2] - logs[1], 1e-9)
        down = (logs[1] - logs[3]) / np.maximum(logs[1] - logs[0], 1e-9)
    found = np.where(actual >= median, up, down)
    # An end at 0 holds whatever is small; an outcome of 0 is beyond any positive end.
    found = np.where((low <= 0) & (actual < median), 0.0, found)
    return np.clip(np.where((actual <= 0) & (low > 0), _GRID[-1], found), 0.0, _GRID[-1])


def correction_of(lane_counts: Floats, all_counts: Floats, effect: float = 1.0) -> float:
    """The factor of a lane from fading histograms of distances, (601,) each, of the lane and of all lanes.

    Args:
        effect: how many outcomes count as one independent outcome.
    """
    seen = all_counts.sum() / effect
    shared = (np.cumsum(all_counts) / effect + ASSUMED_STRENGTH * _ASSUMED) / (seen + ASSUMED_STRENGTH)
    own = (np.cumsum(lane_counts) + LANE_STRENGTH * shared) / (lane_counts.sum() + LANE_STRENGTH)
    # Before the first outcome there is nothing to correct.
    margin = 1.0 / (seen + ASSUMED_STRENGTH) if seen else 0.0
    level = min(HIGHEST_LEVEL, COVERAGE * (1.0 + margin))
    return float(np.clip(np.interp(level, own, _GRID), NARROWEST, WIDEST))


@dataclass(slots=True)
class Scan:
    """The nightly scan: days in order, each lane's factor before that day's outcomes are known."""

    n_lanes: int
    counts: Floats
    seen: Ints

    @classmethod
    def start(cls, n_lanes: int) -> Scan:
        """A scan that has seen nothing."""
        return cls(n_lanes, np.zeros((n_lanes, _GRID.size)), np.zeros(n_lanes, dtype=np.int64))

    def current(self, effect: float = 1.0) -> list[Correction]:
        """The factor of each lane from all days added so far; `effect` as in `correction_of`."""
        together = self.counts.sum(axis=0)
        return [
            Correction(correction_of(self.counts[lane], together, effect), int(self.seen[lane]))
            for lane in range(self.n_lanes)
        ]

    def add_day(self, lanes: Ints, distances: Floats) -> None:
        """Add the outcomes of one day: lane codes (n,) and distances (n,)."""
        steps = np.minimum((distances * _STEPS_PER_UNIT).astype(np.int64), _GRID.size - 1)
        for lane in np.unique(lanes):
            mine = steps[lanes == lane]
            self.counts[lane] = self.counts[lane] * FADING**mine.size + np.bincount(mine, minlength=_GRID.size)
            self.seen[lane] += mine.size


def corrections_of_forecasts(
    lanes: Ints, made_on: Ints, ended_on: Ints, distances: Floats, effects: Floats, *, n_lanes: int, today: int
) -> tuple[Floats, list[Correction]]:
    """The factor that held when each forecast was made, (n,), and the factors per lane that hold `today`.

    Args:
        lanes: (n,) codes.
        made_on, ended_on: (n,) day numbers of forecast and outcome; a factor knows outcomes of earlier days only.
        distances: (n,) from `distance`, before any correction.
        effects: (n,) design effects as known when each forecast was made.
    """
    scan = Scan.start(n_lanes)
    factors = np.ones(lanes.size)
    by_end = np.argsort(ended_on, kind="stable")
    position = 0
    for day in np.unique(np.append(made_on, today)):
        while position < by_end.size and ended_on[by_end[position]] < min(day, today):
            until = position + int(
                np.searchsorted(ended_on[by_end[position:]], ended_on[by_end[position]], side="right")
            )
            scan.add_day(lanes[by_end[position:until]], distances[by_end[position:until]])
            position = until
        earlier = np.flatnonzero(made_on < day)
        current = scan.current(float(effects[earlier[-1]]) if earlier.size else 1.0)
        mine = np.flatnonzero(made_on == day)
        factors[mine] = [current[lane].value for lane in lanes[mine]]
        if day == today:
            held = current
    return factors, held
