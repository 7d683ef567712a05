"""What will a task, or a project of many tasks, take, and which budget suffices with a given probability?

One task is read off its predictive distribution. A project is a sum of skewed quantities: adding up the ends of the intervals
of its tasks would be far too wide (it assumes that all go wrong together), and treating tasks as independent far too
narrow (what is not known of a provider is wrong for all of its tasks at once). So totals are simulated, seeded:

- what is not known of a (lane, provider) is one draw shared by all its tasks, and by all lanes of the provider;
- tasks that come in batches of one kind share their luck: receipts count as blocks of the measured design effect;
- on the spend basis a task takes a negative-binomial number of attempts, its rate itself drawn from a beta distribution;
- above 512 blocks the rest of the sum is normal (central limit).

The proof is a test that lets simulated projects happen and counts how many totals fall inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.attempts import attempt_odds
from plms_pipeline.estimates.beliefs import Tally
from plms_pipeline.estimates.kernels import WIDTH
from plms_pipeline.estimates.predictive import HIGH, LOW, Predictive

Floats = NDArray[np.float64]

DRAWS: Final = 10_000
SEED: Final = 20_240_229
MAX_BLOCKS: Final = 512
MAX_TASKS: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Tasks of one lane and provider: what one receipt takes, how many tasks, and the attempts they need.

    `attempts` and `all_attempts` are the tallies of the (lane, provider) and of everything; None on the effort basis.
    """

    predictive: Predictive
    correction: float
    provider: str
    tasks: int
    attempts: Tally | None = None
    all_attempts: Tally | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """A forecast in the measure's unit: median, mean, the central 90 % interval, and the budget that was asked for."""

    median: float
    mean: float
    low: float
    high: float
    budget: float


def forecast_total(groups: Sequence[Group], quantile: float, *, draws: int = DRAWS, seed: int = SEED) -> Total:
    """The total of all groups.

    Args:
        quantile: the probability with which the budget suffices, in (0, 1).
        draws: simulated projects; the relative error of the budget is about 1 % at 10 000.
    """
    if len(groups) == 1 and groups[0].tasks == 1 and groups[0].attempts is None:
        return _one_task(groups[0], quantile)
    totals = simulate(groups, draws=draws, seed=seed)
    low, median, high, budget = np.quantile(totals, [LOW, 0.5, HIGH, quantile])
    return Total(float(median), float(totals.mean()), float(low), float(high), float(budget))


def _one_task(group: Group, quantile: float) -> Total:
    found, correction = group.predictive, group.correction
    low, high = found.interval(correction)
    mean = float(found.sample((np.arange(DRAWS) + 0.5) / DRAWS, correction).mean())
    return Total(found.median, mean, low, high, found.corrected(quantile, correction))


def simulate(groups: Sequence[Group], *, draws: int = DRAWS, seed: int = SEED) -> Floats:
    """Simulated totals, (draws,). Each group has a stream of its own, so that adding one leaves the others as they were."""
    totals = np.zeros(draws)
    shared: dict[str, Floats] = {}
    for place, group in enumerate(groups):
        if group.provider not in shared:
            stream = np.random.default_rng([seed, 0, len(shared)])
            shared[group.provider] = stream.standard_normal(draws)
        totals += _group_total(group, shared[group.provider], np.random.default_rng([seed, 1, place]))
    return totals


def _group_total(group: Group, shared: Floats, rng: np.random.Generator) -> Floats:
    receipts = group.tasks + _extra_attempts(group, shared.size, rng)
    return _sum_of_receipts(group, receipts.astype(np.float64), shared, rng)


def _extra_attempts(group: Group, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Attempts beyond the first of all tasks, (draws,): a task succeeds with a probability that is itself uncertain."""
    if group.attempts is None:
        return np.zeros(draws, dtype=np.int64)
    ended, repeated = attempt_odds(group.attempts, group.all_attempts or group.attempts)
    chance = np.clip(rng.beta(ended, repeated, draws), 1e-3, 1.0)
    return np.asarray(rng.negative_binomial(group.tasks, chance), dtype=np.int64)


def _sum_of_receipts(group: Group, receipts: Floats, shared: Floats, rng: np.random.Generator) -> Floats:
    found = group.predictive
    shares = found.density / found.density.sum()
    logs = found.grid.low + (np.arange(shares.size) + 0.5) * WIDTH
    middle = float(shares @ logs)
    variance = float(shares @ (logs - middle) ** 2)
    unknown = min(found.centre.variance if found.centre else 0.0, 0.95 * variance)
    own = np.sqrt(1.0 - unknown / variance) if variance > 0 else 1.0
    anchor = np.log(found.median) if found.median > 0 else middle
    # log x = anchor + correction · (own part of the deviation + shared part + what lies between mean and median)
    scale = np.exp(anchor + group.correction * (np.sqrt(unknown) * shared + middle - anchor))
    deviations = group.correction * own * (logs - middle)
    effect = found.centre.design_effect if found.centre else 1.0
    blocks = np.ceil(receipts / effect)
    if blocks.max() <= MAX_BLOCKS:
        means = _block_means(shares, deviations, found.zero, blocks, rng)
    else:
        first, second = (float(shares @ np.exp(power * deviations)) * (1 - found.zero) for power in (1, 2))
        noise = rng.standard_normal(receipts.size) * np.sqrt(max(0.0, second - first * first) / blocks)
        means = np.maximum(0.0, first + noise)
    return np.asarray(receipts * scale * means)


def _block_means(shares: Floats, deviations: Floats, zero: float, blocks: Floats, rng: np.random.Generator) -> Floats:
    """Mean over each draw's blocks of exp(deviation), a share `zero` of them being 0. (draws,)."""
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    step = deviations[1] - deviations[0]
    places = np.concatenate([deviations - step / 2, [deviations[-1] + step / 2]])
    total = np.zeros(blocks.size)
    for block in range(int(blocks.max())):
        uniforms = rng.random(blocks.size)
        value = np.exp(np.interp((uniforms - zero) / max(1e-12, 1.0 - zero), edges, places))
        total += np.where((block < blocks) & (uniforms >= zero), value, 0.0)
    return np.asarray(total / blocks)
