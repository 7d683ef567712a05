"""What is believed of each task of a plan, in the form that an extrapolation asks for?

The beliefs are those of the estimates (effort: what a task takes when it succeeds), with last night's correction. A measure
that no receipt knows has the factory's centre and spread, and says that it rests on nothing. Where a promoted model of
estimates is heard, each task has a belief of its own: that of a task without its effect, times the factor of the task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.beliefs import Beliefs
from plms_pipeline.estimates.extrapolation import Prior, log_normal_prior, prior_of_values
from plms_pipeline.estimates.method import FACTORY, METHOD
from plms_pipeline.estimates.outlook import Outlook
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import State
from plms_pipeline.measures import MEASURES, Basis, Measure
from plms_pipeline.runs.passport import PlannedTask

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

    def times(self, factor: float) -> Belief:
        """The same of a task that takes `factor` times as much; what is not known stays that of its (lane, provider)."""
        was = self.prior
        return replace(self, prior=Prior(was.mean * factor, was.within * factor, was.unknown * factor, was.cell))


def beliefs_of_tasks(
    beliefs: Beliefs, corrections: Corrections, plan: Iterable[PlannedTask], heard: Outlook | None = None
) -> dict[tuple[str, Measure], Belief]:
    """What is believed of each measure of each task, by its id.

    Args:
        corrections: last night's, by (lane, measure, basis).
        heard: what the promoted model of estimates says; None: the priors alone.
    """
    states = beliefs.bases[BASIS].states
    by_cell: dict[tuple[Cell, Measure], Belief] = {}
    found: dict[tuple[str, Measure], Belief] = {}
    tasks = list(plan)
    for measure in MEASURES:
        model = None if heard is None else heard.parts.get((measure, BASIS))
        left = None if model is None or heard is None else heard.state((measure, BASIS))
        for task in tasks:
            cell = (task.lane_id, task.provider)
            if (cell, measure) not in by_cell:
                kept = corrections.get((cell[0], measure, BASIS), Correction(1.0, 0)).value
                correction = kept if model is None else model.corrections.get(cell[0], 1.0)
                by_cell[cell, measure] = _belief(left or states.get(measure), measure, cell, correction)
            one = by_cell[cell, measure]
            if model is not None:
                words = (task.task_kind or "", task.complexity or "", task.task_id)
                one = one.times(model.factor(task.provider, words))
            found[task.task_id, measure] = one
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
