"""Which constants does the calibration rest on, and what is assumed before the first receipt?

Named and bounded in one tuple that the compiled kernels read, so that the backtest and the live forecast cannot differ.
Chosen to hold over other sets and orders of models, not for the best score on one: halving or doubling any of them moves
the coverage of costs by at most 1.1 points and their Winkler score by at most 2 %, but for the two assumed spreads: twice
as wide they cost 17 % and 9 % until enough was seen (the section "How well it holds" of ARCHITECTURE.md). What the data can
say for themselves (spread, how much providers and lanes differ, how dependent neighbouring receipts are) is learnt; these
numbers only say how long the assumption lasts.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from plms_pipeline.measures import Measure

METHOD_VERSION: Final = 1
COVERAGE: Final = 0.90
QUANTILES: Final[tuple[float, ...]] = tuple(round(0.025 * step, 3) for step in range(1, 40))

FACTORY: Final[dict[Measure, float]] = {"tokens": 3000.0, "duration_ms": 300_000.0, "cost_usd": 0.18}


class Method(NamedTuple):
    """The constants. Strengths count effective receipts; spreads are standard deviations of the natural logarithm."""

    forgetting: float = 0.995  # weight of a receipt falls by this factor with each later one of its (lane, provider)
    own_strength: float = 10.0  # receipts until the own histogram weighs as much as the borrowed shape
    factory_spread: float = 1.2  # of one provider's receipts in one lane, before any was seen
    factory_strength: float = 30.0
    provider_spread: float = 1.2  # between the centres of providers
    provider_strength: float = 1.0  # providers until the measured spread weighs as much as the assumed one
    factory_providers: float = 0.5  # how many providers the factory default counts for
    lane_spread: float = 1.0  # between lanes, within a provider
    lane_strength: float = 1.0
    lane_shrinkage: float = 10.0  # receipts until a lane's own offset weighs as much as none
    cell_spread: float = 0.2  # of a (lane, provider) around what its lane and its provider say
    evidence_limit: float = 200.0  # a centre is never held to be known better than from so many receipts
    borrowed_limit: float = (
        30.0  # at most so many receipts of shape come from other lanes of a provider, and from the rest
    )
    dependence: float = 0.7  # correlation of neighbouring receipts that is assumed
    dependence_strength: float = 200.0


METHOD: Final = Method()


def log_centre(measure: Measure) -> float:
    """The factory default of a measure on the log scale."""
    return math.log(FACTORY[measure])
