"""What is believed of one task of each (lane, provider), in the form that an extrapolation asks for?

The beliefs are those of the estimates (effort: what a task takes when it succeeds), with last night's correction. A measure
that no receipt knows has the factory's centre and spread, and says that it rests on nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.beliefs import Beliefs
from plms_pipeline.estimates.extrapolation import Prior, log_normal_prior, prior_of_values
from plms_pipeline.estimates.method import FACTORY, METHOD
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import State
from plms_pipeline.measures import MEASURES, Basis, Measure

BASIS: Final[Basis] = "effort"
VALUES: Final = 2000

Cell = tuple[int, str]
Corrections = Mapping[tuple[int, str, str], Correction]


@dataclass(frozen=True, slots=True)
class Belief:
    """The prior of one task of a (lane, provider), and how many receipts of just these stand behind it.

    `is_known` tells whether any receipt at all knows the measure.
    """

    prior: Prior
    n: int
    is_known: bool


def beliefs_of_cells(
    beliefs: Beliefs, corrections: Corrections, cells: Iterable[Cell]
) -> dict[tuple[Cell, Measure], Belief]:
    """What is believed of each measure of each (lane, provider).

    Args:
        corrections: last night's, by (lane, measure, basis).
    """
    states = beliefs.bases[BASIS].states
    found: dict[tuple[Cell, Measure], Belief] = {}
    for cell in sorted(set(cells)):
        for measure in MEASURES:
            correction = corrections.get((cell[0], measure, BASIS), Correction(1.0, 0)).value
            found[cell, measure] = _belief(states.get(measure), measure, cell, correction)
    return found


def _belief(state: State | None, measure: Measure, cell: Cell, correction: float) -> Belief:
    if state is None:
        # The factory gives a centre of which nothing is known but how much providers and lanes differ: one error for all.
        unknown = METHOD.provider_spread**2 + METHOD.lane_spread**2
        mean = FACTORY[measure] * math.exp(unknown / 2)
        return Belief(log_normal_prior(mean, unknown + METHOD.factory_spread**2, unknown, measure), 0, is_known=False)
    predicted = predict(state, *cell)
    values = predicted.sample((np.arange(VALUES) + 0.5) / VALUES, correction)
    unknown = predicted.centre.variance * correction**2 if predicted.centre is not None else 0.0
    own = state.cells.get(cell)
    return Belief(prior_of_values(values, unknown, cell), own.count if own is not None else 0, is_known=True)
