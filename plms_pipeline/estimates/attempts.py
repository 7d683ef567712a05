"""What does an attempt at a task take, how often is there another one, and what will all the work that is left take?

A task is one attempt or several: the next one follows a failure, until the task succeeds or its limit is reached. What is
left of a project is the sum of its tasks' attempts, estimated as every total of ours is (`extrapolation`): what is not known of
a provider is one error for all of its tasks, tasks that come in batches of one kind share their luck, and how often
attempts fail is uncertain too. The obvious sum of interval ends assumes that everything goes wrong at once; adding up
variances alone, that tasks know nothing of each other.

Attempts are forecast under the limit of the project, from a history that is taken to have had the same limit: receipts per
task are then 1 + q + q² + …, which is solved for the share q that fails (a truncated geometric distribution).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.beliefs import Tally
from plms_pipeline.estimates.extrapolation import Z_90, Extrapolation, Prior, StratumData, extrapolate
from plms_pipeline.estimates.predictive import Predictive

Floats = NDArray[np.float64]

# Attempts of a (lane, provider) without history are those of all, as if seen so often.
ATTEMPT_STRENGTH: Final = 10.0
# At least so much of an attempt's variance is its own: tasks never are all alike.
OWN_SHARE: Final = 0.05
LEAST_CHANCE: Final = 1e-3
# So few tasks are simulated: what they take is a mixture (one attempt, or two, or three), which no log-normal resembles.
FEW: Final = 8
DRAWS: Final = 2000
SEED: Final = 20_240_229
# An end that is nothing lies so far below the median on the log scale.
DEEPEST: Final = 1e-6
HALVINGS: Final = 50


@dataclass(frozen=True, slots=True)
class AttemptBelief:
    """What one attempt at a task of a (lane, provider) takes, whatever its end, in the measure's unit.

    `unknown` is the log-scale variance of what is not known of its centre, `effect` how many receipts count as one independent
    one. `low`, `median` and `high` are its central 90 % interval. `ended` and `repeated` weigh how many attempts ended their
    task and how many were followed by another (the parameters of a beta distribution).
    """

    mean: float
    stddev: float
    unknown: float
    effect: float
    low: float
    median: float
    high: float
    ended: float
    repeated: float

    def as_json(self) -> dict[str, float]:
        """As it is stored: nine significant digits."""
        return {name: float(f"{value:.9g}") for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> AttemptBelief:
        """The belief behind `as_json`."""
        return cls(**{name: float(stored[name]) for name in cls.__dataclass_fields__})

    def corrected(self, factor: float) -> AttemptBelief:
        """After the adaptive correction: distances from the median are stretched by `factor` on the log scale."""
        if factor == 1.0 or self.mean <= 0.0 or self.median <= 0.0:
            return self
        variance = math.log1p((self.stddev / self.mean) ** 2)
        middle, wider = math.log(self.mean) - variance / 2, variance * factor**2
        mean = math.exp(middle + wider / 2)
        low, high = (self.median * (end / self.median) ** factor for end in (self.low, self.high))
        return AttemptBelief(
            mean, mean * math.sqrt(math.expm1(wider)), self.unknown * factor**2, self.effect, low, self.median, high,
            self.ended, self.repeated,
        )  # fmt: skip

    def times(self, price: float) -> AttemptBelief:
        """The same attempt where everything costs `price` times as much."""
        return AttemptBelief(
            self.mean * price, self.stddev * price, self.unknown, self.effect, self.low * price, self.median * price,
            self.high * price, self.ended, self.repeated,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TasksLeft:
    """Tasks of one (lane, provider) that have not ended, each of which may take up to `most` attempts more.

    `limit` is how many attempts a task may have in all.
    """

    belief: AttemptBelief
    provider: str
    tasks: int
    most: int = 1
    limit: int = 1


def attempt_odds(own: Tally, overall: Tally) -> tuple[float, float]:
    """Weights of attempts that ended their task and of those that were followed by another: own ones, and a little of all."""
    rate = overall.tasks / overall.included if overall.included else 1.0
    ended = own.tasks + ATTEMPT_STRENGTH * min(1.0, rate) + 0.5
    repeated = max(0, own.included - own.tasks) + ATTEMPT_STRENGTH * max(0.0, 1 - rate) + 0.5
    return ended, repeated


def belief_of(found: Predictive, own: Tally, overall: Tally) -> AttemptBelief:
    """The belief about one attempt, before any correction.

    Args:
        own, overall: the spend tallies of the (lane, provider) and of everything.
    """
    mean, stddev = found.moments()
    low, high = found.interval()
    centre = found.centre
    return AttemptBelief(
        mean, stddev, centre.variance if centre else 0.0, centre.design_effect if centre else 1.0, low, found.median, high,
        *attempt_odds(own, overall),
    )  # fmt: skip


def belief_of_interval(mean: float, low: float, high: float, unknown_share: float) -> AttemptBelief:
    """The belief of a log-normal with this mean and 90 % interval about a whole task: nothing is attempted again.

    Args:
        unknown_share: how much of its log-scale variance is not known of its centre.
    """
    low, high = max(low, 1e-9), max(high, low, 1e-9)
    variance = (math.log(high / low) / (2 * Z_90)) ** 2
    return AttemptBelief(
        mean, mean * math.sqrt(math.expm1(variance)), unknown_share * variance, 1.0, low, mean * math.exp(-variance / 2), high,
        1.0, 0.0,
    )  # fmt: skip


def left_total(groups: Iterable[TasksLeft]) -> Extrapolation:
    """What all tasks that are left will take together, with its 90 % interval; nothing left takes nothing.

    One attempt alone is read off its own distribution.
    """
    found = [group for group in groups if group.tasks > 0]
    if len(found) == 1 and found[0].tasks == 1 and found[0].most == 1:
        one = found[0].belief
        return Extrapolation(one.mean, one.median, one.low, one.high, one.stddev, 0.0, None, 1.0)
    if 0 < sum(group.tasks for group in found) <= FEW and all(group.belief.median > 0 for group in found):
        return _simulated(found)
    return extrapolate([_stratum(group) for group in found])


def _simulated(groups: Sequence[TasksLeft]) -> Extrapolation:
    """The total of a few tasks from seeded draws.

    An attempt is log-normal on either side of its median, so that its own 90 % interval is exact; what is not known of its
    centre is one normal draw that all attempts of the provider share (a Gaussian copula).
    """
    rng = np.random.default_rng(SEED)
    totals = np.zeros(DRAWS)
    shared: dict[str, Floats] = {}
    for group in groups:
        if group.provider not in shared:
            shared[group.provider] = rng.standard_normal(DRAWS)
        chances = _chances(group.belief.ended, group.belief.repeated)
        fails = np.resize([share_that_fails(1 / chance, group.limit) for chance in chances], DRAWS)
        doubt, batch = _shares(group)
        common = math.sqrt(doubt) * shared[group.provider] + math.sqrt(batch) * rng.standard_normal(DRAWS)
        for _ in range(group.tasks):
            totals += _one_task(group, fails, common, math.sqrt(1 - doubt - batch), rng)
    low, median, high = np.quantile(totals, [0.05, 0.5, 0.95])
    return Extrapolation(
        float(totals.mean()), float(median), float(low), float(high), float(totals.std()), 0.0, None, 1.0
    )


def _sides(belief: AttemptBelief) -> tuple[float, float]:
    """The log-scale deviations of an attempt below and above its median."""
    below = math.log(belief.median / max(belief.low, DEEPEST * belief.median)) / Z_90
    return below, math.log(max(belief.high, belief.median) / belief.median) / Z_90


def _shares(group: TasksLeft) -> tuple[float, float]:
    """Which part of an attempt's log-scale variance all of its provider share, and which those of its batch do."""
    below, above = _sides(group.belief)
    doubt = min(1 - OWN_SHARE, group.belief.unknown / max(((below + above) / 2) ** 2, DEEPEST))
    receipts = group.tasks * _attempts(group.belief.ended, group.belief.repeated, group.limit, group.most)[0]
    # The correlation at which a sum of so many varies as the design effect says.
    alike = min(1.0, (group.belief.effect - 1) / (receipts - 1)) if receipts > 1 else 0.0
    return doubt, (1 - doubt) * alike


def _one_task(group: TasksLeft, fails: Floats, common: Floats, own: float, rng: np.random.Generator) -> Floats:
    """What one task takes in each draw, (draws,); `common` is what its attempts share with others, `own` the rest's weight."""
    below, above = _sides(group.belief)
    luck, taken = rng.random(fails.size), np.zeros(fails.size)
    for attempt in range(group.most):
        goes_on = luck < fails**attempt
        if not goes_on.any():
            break
        place = common + own * rng.standard_normal(fails.size)
        taken += goes_on * group.belief.median * np.exp(np.where(place < 0, below, above) * place)
    return taken


def _stratum(group: TasksLeft) -> StratumData:
    """Tasks with their attempts as one stratum; its error is the provider's, whatever the lane."""
    belief = group.belief
    attempts, spread, doubt = _attempts(belief.ended, belief.repeated, group.limit, group.most)
    variance = belief.stddev**2
    shared = min(belief.mean**2 * math.expm1(belief.unknown), (1 - OWN_SHARE) * variance)
    # No more receipts can share their luck than there are.
    batch = min(belief.effect, max(1.0, group.tasks * attempts))
    within = attempts * (variance - shared) * batch + spread * belief.mean**2
    unknown = attempts**2 * shared + doubt * belief.mean**2
    prior = Prior(attempts * belief.mean, math.sqrt(within), math.sqrt(unknown), group.provider)
    return StratumData(group.tasks, (), prior)


@lru_cache(maxsize=1024)
def _attempts(ended: float, repeated: float, limit: int, most: int) -> tuple[float, float, float]:
    """(mean, variance between tasks, variance of what is not known of the mean) of a task's attempts, `most` at most.

    The chance that an attempt ends its task is uncertain too: two-point quadrature.
    """
    if most <= 1:
        return 1.0, 0.0, 0.0
    (low, first), (high, second) = (
        _truncated(share_that_fails(1 / end, limit), most) for end in _chances(ended, repeated)
    )
    return (low + high) / 2, (first + second) / 2, ((low - high) / 2) ** 2


def _chances(ended: float, repeated: float) -> tuple[float, float]:
    """That an attempt ends its task: one standard deviation below and above the mean of the beta distribution."""
    total = ended + repeated
    chance = ended / total
    deviation = math.sqrt(chance * (1 - chance) / (total + 1))
    return max(LEAST_CHANCE, chance - deviation), min(1.0, chance + deviation)


def _truncated(fails: float, most: int) -> tuple[float, float]:
    """Mean and variance of a number of attempts that stops at the first success, or at `most`."""
    shares = [fails ** (n - 1) * (1 - fails) for n in range(1, most)] + [fails ** (most - 1)]
    mean = math.fsum(n * share for n, share in enumerate(shares, 1))
    return mean, math.fsum((n - mean) ** 2 * share for n, share in enumerate(shares, 1))


def share_that_fails(attempts: float, limit: int) -> float:
    """The q of 1 + q + … + q^(limit - 1) = attempts: how many attempts fail where tasks take so many on average.

    Args:
        attempts: receipts per task, at least 1; `limit` or more means that all fail.
    """
    low, high = 0.0, 1.0
    if attempts >= limit:
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if math.fsum(middle**n for n in range(limit)) < attempts:
            low = middle
        else:
            high = middle
    return (low + high) / 2
