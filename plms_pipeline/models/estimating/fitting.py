"""Which scatter and which trust do the receipts of the past speak for?

The scatter by its likelihood, one receipt after the other: each forecast of the filter is of a receipt that it has not seen,
so the likelihood needs no held-out part. The trust by the mean interval score of the logarithm over the later half of
the same receipts, one step ahead: on the log scale, because in dollars or milliseconds one task that hung for a week would
choose. To trust nothing, which is the prior itself, is among the choices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from plms_pipeline.estimates.scores import winkler
from plms_pipeline.measures import BASES, Basis
from plms_pipeline.models.estimating.effects import COMPONENTS, Explained, Levels, Scatter, explain, levels_of
from plms_pipeline.models.estimating.forecasting import quantiles
from plms_pipeline.models.estimating.history import Floats, History
from plms_pipeline.models.estimating.model import Part, Trust

CHOICES: Final = (Trust(), Trust(0.5), Trust(0.75), Trust(1.0), Trust(1.0, by_slope=True))
LEARNT: Final = ("kind", "complexity", "task", "provider_kind", "provider_task")
STEP: Final = 3.0
LEAST, MOST = 1e-3, 10.0
# The trust is chosen on what is left when this share has taught; fewer rows than this choose nothing.
TAUGHT_FIRST: Final = 0.5
FEWEST_TO_CHOOSE: Final = 100


def fit(history: History, start: Part | None = None, *, sweeps: int = 1) -> Part:
    """The model of a measure.

    Args:
        history: every receipt that was completed by now.
        start: an earlier model, from which fewer steps lead to this one.
        sweeps: rounds over the variances.
    """
    levels = levels_of(history)
    scatter = _scatter(history, levels, start.scatter if start else Scatter(), sweeps=sweeps)
    explained = explain(history, scatter, levels)
    return Part(history.measure, scatter, {basis: _trust(history, basis, explained) for basis in BASES})


def _scatter(history: History, levels: Levels, start: Scatter, *, sweeps: int) -> Scatter:
    present = set(levels.component.tolist())
    learnt = [place for place, name in enumerate(COMPONENTS) if name in LEARNT and place in present]
    best, score = start, explain(history, start, levels).log_likelihood
    for _ in range(sweeps):
        before = best
        for place in [*learnt, -1]:
            for factor in (STEP, 1.0 / STEP):
                # On along the same way while it leads upwards.
                while True:
                    tried = _with(best, place, factor)
                    found = explain(history, tried, levels).log_likelihood if tried != best else score
                    if found <= score:
                        break
                    best, score = tried, found
        if best == before:
            break
    return best


def _with(scatter: Scatter, place: int, factor: float) -> Scatter:
    """One variance multiplied, within bounds; -1 is the noise."""
    if place < 0:
        return replace(scatter, noise=_bounded(scatter.noise, factor))
    variances = list(scatter.variances)
    variances[place] = _bounded(variances[place], factor)
    return replace(scatter, variances=tuple(variances))


def _bounded(value: float, factor: float) -> float:
    found = value * factor
    return found if LEAST <= found <= MOST else value


def _trust(history: History, basis: Basis, explained: Explained) -> Trust:
    value = history.value[history.taught[basis]]
    later = (np.arange(value.size) >= TAUGHT_FIRST * value.size) & (value > 0)
    if later.sum() < FEWEST_TO_CHOOSE:
        return Trust()
    scores = [log_score(quantiles(history, basis, explained, one)[later], value[later]) for one in CHOICES]
    return CHOICES[int(np.argmin(scores))]


def log_score(found: Floats, value: Floats) -> float:
    """Mean Winkler score of the logarithm of positive values, (n,), against 39 quantiles, (n, 39)."""
    low, high = (np.log(np.maximum(found[:, place], 1e-12)) for place in (1, 37))
    return float(winkler(low, high, np.log(value)).mean())
