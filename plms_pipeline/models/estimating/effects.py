"""What does it make of a task that it is this one, of this kind, done by this provider?

A linear mixed model of the logarithm of the measure: a provider, a lane, a kind, a complexity, a task, a provider on a kind,
and a provider on a task each have an effect, drawn from a normal distribution whose variance is learnt. Their posterior is
updated with one receipt after another in the order of completion (the Kalman filter of a state that stands still), so that a
forecast knows exactly what had been completed when its task began; an effect that was seen little is shrunk towards none.

Costs of one provider are three times as scattered as those of another, and one that hung for a week must not move a task for
ever. So each receipt counts by the fading variance of its provider's own misses, and a miss beyond three deviations counts as
three. How strongly a provider feels the difficulty of tasks differs, too: its slope is learnt from its own receipts and shrunk
towards that of all.

Only what concerns the task is handed on. The level of lane and provider is left to the priors, which follow it faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.estimates.compiling import compiled
from plms_pipeline.estimates.method import log_centre
from plms_pipeline.models.estimating.history import Floats, History, Ints, Mask, Words

COMPONENTS: Final = ("overall", "provider", "lane", "kind", "complexity", "task", "provider_kind", "provider_task")
# Components whose effects are the task's own; the others are the priors' to know.
OF_THE_TASK: Final = ("kind", "complexity", "task", "provider_kind", "provider_task")
# A (levels × levels) matrix is kept: what comes first has a level, later ones lean on kind and provider alone.
MAX_LEVELS: Final = 2_000

CLIP: Final = 3.0  # deviations beyond which a miss counts no more
FADING: Final = 0.99  # of a provider's misses, per receipt
NOISE_STRENGTH: Final = 20.0  # receipts until a provider's own scatter weighs as much as the assumed one
SLOPE_STRENGTH: Final = 20.0  # sum of squared effects until a provider's own slope weighs as much as that of all
STEEPEST: Final = 1.3
ASSUMED_SLOPE: Final = 0.7
SMALLEST: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Scatter:
    """What is learnt of the effects: the variance of each component, and of a receipt around them all (log scale)."""

    variances: tuple[float, ...] = (9.0, 2.0, 0.1, 0.1, 0.1, 0.3, 0.05, 0.3)
    noise: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Per receipt, as known when it began: the effect of its task on the log scale, and its provider's slope. (n,).

    `log_likelihood` of the receipts that were read, one after the other, up to a constant.
    """

    effect: Floats
    slope: Floats
    log_likelihood: float


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Which effects each row has: (n, components) numbers of levels, -1 for none, and the component of each level."""

    numbers: Ints
    component: Ints


def levels_of(history: History) -> Levels:
    """Number the levels in order of first appearance, so that what comes later changes no earlier row."""
    n = len(history)
    provider = history.provider.astype(str)
    words: dict[str, Words] = {
        "overall": np.full(n, "all", dtype=object), "provider": history.provider, "lane": history.lane_id.astype(object),
        "kind": history.kind, "complexity": history.complexity, "task": history.task,
        "provider_kind": _pairs(provider, history.kind), "provider_task": _pairs(provider, history.task),
    }  # fmt: skip
    numbers = np.full((n, len(COMPONENTS)), -1, dtype=np.int64)
    component: list[int] = []
    known: dict[tuple[int, object], int] = {}
    seen: set[object] = set()
    columns = list(enumerate(words[name].tolist() for name in COMPONENTS))
    pair = COMPONENTS.index("provider_task")
    for row in range(n):
        for place, values in columns:
            word = values[row]
            if word in ("", None):
                continue
            # Most pairs of provider and task are seen once: a level of their own would only be noise, thousands of times.
            if place == pair and word not in seen:
                seen.add(word)
                continue
            number = known.get((place, word), -1)
            if number < 0 and len(component) < MAX_LEVELS:
                number = known[place, word] = len(component)
                component.append(place)
            numbers[row, place] = number
    return Levels(numbers, np.asarray(component, dtype=np.int64))


def _pairs(first: Words, second: Words) -> Words:
    return np.asarray([(one, other) if other else "" for one, other in zip(first, second, strict=True)] + [None],
                      dtype=object)[:-1]  # fmt: skip


def explain(history: History, scatter: Scatter, levels: Levels | None = None) -> Explained:
    """The effect of each row's task as known when it began.

    Args:
        levels: `levels_of(history)`, when it is at hand.
    """
    found = levels_of(history) if levels is None else levels
    _, provider = np.unique(history.provider.astype(str), return_inverse=True)
    visible = history.visible()
    is_seen: Mask = history.value > 0
    logs = np.log(np.where(is_seen, history.value, 1.0)) - log_centre(history.measure)
    effect, slope = np.zeros(len(history)), np.ones(len(history))
    is_told = np.asarray([name in OF_THE_TASK for name in COMPONENTS])
    likelihood = _walk(
        found.numbers, is_told, provider.astype(np.int64), int(provider.max(initial=-1)) + 1, logs, is_seen, visible,
        np.argsort(visible, kind="stable"), np.asarray(scatter.variances)[found.component], scatter.noise, effect, slope,
    )  # fmt: skip
    return Explained(effect, slope, float(likelihood))


@compiled
def _walk(
    numbers: Ints, is_told: Mask, provider: Ints, n_providers: int, logs: Floats, is_seen: Mask, visible: Ints,
    order: Ints, variances: Floats, noise: float, effect: Floats, slope: Floats,
) -> float:  # fmt: skip
    """Fill `effect` and `slope`, each row from the first `visible` rows alone; the log likelihood."""
    size = variances.size
    covariance = np.zeros((size, size))
    for level in range(size):
        covariance[level, level] = variances[level]
    mean = np.zeros(size)
    misses = np.zeros((n_providers, 2))
    sums = np.zeros((n_providers, 5))
    gain = np.zeros(size)
    likelihood = 0.0
    done = 0
    for place in range(order.size):
        row = order[place]
        while done < visible[row]:
            if is_seen[done]:
                likelihood += _learn(
                    numbers[done], logs[done], effect[done], noise, mean, covariance, misses[provider[done]],
                    sums[provider[done]], gain,
                )  # fmt: skip
            done += 1
        for column in range(numbers.shape[1]):
            if is_told[column] and numbers[row, column] >= 0:
                effect[row] += mean[numbers[row, column]]
        slope[row] = _slope(sums, provider[row])
    return likelihood


@compiled
def _learn(
    levels: Ints, value: float, told: float, noise: float, mean: Floats, covariance: Floats, misses: Floats, sums: Floats,
    gain: Floats,
) -> float:  # fmt: skip
    """Take one receipt into the posterior; its log likelihood, up to a constant."""
    gain[:] = 0.0
    expected = 0.0
    for level in levels:
        if level >= 0:
            expected += mean[level]
            gain += covariance[level]
    unknown = 0.0
    for level in levels:
        if level >= 0:
            unknown += gain[level]
    own = (misses[0] + NOISE_STRENGTH * noise) / (misses[1] + NOISE_STRENGTH)
    variance = unknown + own
    miss = value - expected
    deviations = miss / np.sqrt(variance)
    clipped = min(max(deviations, -CLIP), CLIP)
    # Beyond the clip the loss is linear (Huber), as the update is.
    loss = 2.0 * abs(clipped * deviations) - clipped * clipped
    misses[0] = misses[0] * FADING + clipped * clipped * own
    misses[1] = misses[1] * FADING + 1.0
    step = clipped / np.sqrt(variance)
    for level in range(mean.size):
        if abs(gain[level]) > SMALLEST:
            mean[level] += gain[level] * step
            share = gain[level] / variance
            # The whole row, zeros included: contiguous, it is several times faster than picking.
            for other in range(mean.size):
                covariance[level, other] -= share * gain[other]
    sums[0] += 1.0
    sums[1] += told
    sums[2] += value
    sums[3] += told * told
    sums[4] += told * value
    found: float = -0.5 * (np.log(variance) + loss)
    return found


@compiled
def _slope(sums: Floats, provider: int) -> float:
    """Receipts on told effects within providers, least squares, shrunk twice: to all providers, and these to 0.7."""
    squares, products = SLOPE_STRENGTH, ASSUMED_SLOPE * SLOPE_STRENGTH
    own_squares = own_products = 0.0
    for other in range(sums.shape[0]):
        n = sums[other, 0]
        if n > 1.0:
            square = sums[other, 3] - sums[other, 1] * sums[other, 1] / n
            product = sums[other, 4] - sums[other, 1] * sums[other, 2] / n
            squares += square
            products += product
            if other == provider:
                own_squares, own_products = square, product
    shared = products / squares
    found = (own_products + SLOPE_STRENGTH * shared) / (own_squares + SLOPE_STRENGTH)
    bounded: float = min(max(found, 0.0), STEEPEST)
    return bounded
