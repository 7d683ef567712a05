"""What is a model of estimates, once it is trained?

Per measure the scatter of the effects, and per basis how far their word is taken: by which share the effect of a task moves the
prior, and whether by the slope of its provider. Nothing else is kept: what is known of tasks and providers is read from
the receipts whenever a forecast is made, so that a model never forgets, or insists on, what has changed since its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plms_pipeline.measures import BASES, Basis, Measure
from plms_pipeline.models.estimating.effects import Scatter


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the effect of a task moves the prior: by `share` of it, times the provider's slope when `by_slope`.

    A share of 0 is the prior itself.
    """

    share: float = 0.0
    by_slope: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The model of one measure."""

    measure: Measure
    scatter: Scatter
    trust: Mapping[Basis, Trust]


@dataclass(frozen=True, slots=True)
class EstimatesModel:
    """The models by measure, and the (measure, basis) in which they beat the priors: only there their word counts."""

    parts: Mapping[Measure, Part]
    serves: frozenset[tuple[Measure, Basis]] = field(default_factory=frozenset)

    def may_serve(self, measure: Measure, basis: Basis) -> bool:
        """Whether this model is heard, or the prior alone."""
        return (measure, basis) in self.serves and measure in self.parts


def untrusting(measure: Measure) -> Part:
    """A part that takes nobody's word: the prior itself."""
    return Part(measure, Scatter(), {basis: Trust() for basis in BASES})
