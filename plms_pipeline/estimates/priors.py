"""What is written down as a prior, at which levels, and when is it a new version?

Per (lane, provider), and for what has no receipts of its own yet: a provider over all lanes, a lane for a provider never seen
(`*`), and both unknown. The columns of the sources hold the α mean and a deviation that one outlier cannot blow up; the
JSON holds the predictive distribution as quantiles, which is what a forecast is. Numbers are rounded to nine
digits before they are hashed, so that another library version does not look like news.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from plms_pipeline.estimates.attempts import belief_of
from plms_pipeline.estimates.beliefs import BasisBeliefs, Beliefs, Tally
from plms_pipeline.estimates.method import FACTORY
from plms_pipeline.estimates.predictive import Predictive, predict, predict_over_lanes
from plms_pipeline.estimates.sketch import GRIDS, representatives, sketch_quantile
from plms_pipeline.estimates.state import Cell, State
from plms_pipeline.estimates.summary import Summary
from plms_pipeline.measures import Basis, Measure

ANY: Final = "*"
CLIPPED: Final = (0.025, 0.975)
# A tail needs receipts: below this an extreme one is most of what is known.
MIN_CLIPPED: Final = 40


@dataclass(frozen=True, slots=True)
class Prior:
    """One prior at one level; `body` is what is hashed: per measure n, n_zero, mean, stddev and 39 quantiles,
    and for spend in one lane what an attempt takes (`attempt`: the terms of a total)."""

    lane_id: int | None
    provider: str
    basis: Basis
    n: int
    attempts_per_task: float | None
    body: Mapping[str, Any]
    predictives: Mapping[Measure, Predictive]

    @property
    def key(self) -> tuple[int | None, str, str]:
        """Lane (None: all), provider (`*`: all) and basis."""
        return self.lane_id, self.provider, self.basis


def priors_of(beliefs: Beliefs) -> list[Prior]:
    """All priors that rest on at least one receipt, in order of basis, lane and provider."""
    found = [prior for basis, part in beliefs.bases.items() for prior in _of_basis(basis, part)]
    return sorted(found, key=lambda prior: (prior.basis, prior.lane_id is None, prior.lane_id or 0, prior.provider))


def _of_basis(basis: Basis, part: BasisBeliefs) -> Iterator[Prior]:
    overall = part.total()
    cells = sorted(cell for cell, tally in part.tallies.items() if tally.included)
    for lane, provider in cells:
        yield _prior(basis, part, overall, lane, provider, [(lane, provider)])
    for provider in sorted({provider for _, provider in cells}):
        yield _prior(basis, part, overall, None, provider, [cell for cell in cells if cell[1] == provider])
    for lane in sorted({lane for lane, _ in cells}):
        yield _prior(basis, part, overall, lane, ANY, [cell for cell in cells if cell[0] == lane])
    if cells:
        yield _prior(basis, part, overall, None, ANY, cells)


def _prior(
    basis: Basis, part: BasisBeliefs, overall: Tally, lane: int | None, provider: str, cells: list[Cell]
) -> Prior:
    tally = Tally()
    for cell in cells:
        tally = tally.plus(part.tallies[cell])
    body: dict[str, Any] = {}
    predictives: dict[Measure, Predictive] = {}
    for measure, state in part.states.items():
        mine = [cell for cell in cells if cell in state.cells]
        if mine:
            name = None if provider == ANY else provider
            found = predict(state, lane, name) if lane is not None else predict_over_lanes(state, name)
            predictives[measure] = found
            body[measure] = _numbers(state, mine, found)
            if basis == "spend" and lane is not None:
                body[measure]["attempt"] = belief_of(found, tally, overall).as_json()
    attempts = rounded(attempts_per_task(tally)) if basis == "spend" else None
    if attempts is not None:
        body["attempts_per_task"] = attempts
    return Prior(lane, provider, basis, tally.included, attempts, body, predictives)


def attempts_per_task(tally: Tally) -> float:
    """Receipts per task; 1 when no first attempt is known."""
    return max(1.0, tally.included / tally.tasks) if tally.tasks else 1.0


def _numbers(state: State, cells: list[Cell], found: Predictive) -> dict[str, Any]:
    mean, deviation = moments(state, cells)
    return {
        "n": sum(state.cells[cell].count for cell in cells),
        "n_zero": sum(state.cells[cell].n_zero for cell in cells),
        "mean": rounded(mean),
        "stddev": rounded(deviation),
        "quantiles": [rounded(value) for value in found.quantiles()],
    }


def moments(state: State, cells: list[Cell]) -> tuple[float, float]:
    """The α mean, which started at the factory default, and the deviation of fading receipts; outliers are clipped here.

    Both are read with values clipped to the 2.5 % and 97.5 % quantiles of what has not faded: one task that hung for a week
    stays in the state and does not set the mean of the next months. Over several (lane, provider) the means are
    weighted by what has not faded.
    """
    grid = GRIDS[state.measure]
    summaries = [state.cells[cell] for cell in cells]
    means = [_clipped_mean(summary, state.measure) for summary in summaries]
    weights = [max(float(summary.moments[0]), 1e-300) for summary in summaries]
    sketch = np.zeros(grid.size)
    for summary in summaries:
        sketch[summary.positions] += summary.weights
    if not sketch.any():
        return float(np.average(means, weights=weights)), 0.0
    low, high = (sketch_quantile(sketch, q, grid) for q in CLIPPED)
    values = np.clip(representatives(grid), low, high)
    middle = float(np.average(values, weights=sketch))
    deviation = float(np.sqrt(np.average((values - middle) ** 2, weights=sketch)))
    return float(np.average(means, weights=weights)), deviation


def _clipped_mean(summary: Summary, measure: Measure) -> float:
    mean = summary.ewma_a * FACTORY[measure] + summary.ewma_b
    if summary.n < MIN_CLIPPED:
        return mean
    sketch = np.zeros(GRIDS[measure].size)
    sketch[summary.positions] = summary.weights
    return float(min(mean, sketch_quantile(sketch, CLIPPED[1], GRIDS[measure])))


def rounded(value: float) -> float:
    """Nine significant digits."""
    return float(f"{value:.9g}")
