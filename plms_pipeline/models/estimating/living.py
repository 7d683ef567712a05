"""Does a promoted model of estimates still hold, on what was begun after its promotion?

The same forecasts as at its training, one step ahead, beside those of the priors. A promotion was granted on five hundred and
more forecasts; live there are a few dozen at first, so a limit is broken only by more than chance: coverage by more than 2.58
standard errors beyond what was promised, the Winkler score when even the lower limit of its ratio to the priors' lies above 1.
Below `FEWEST` nothing is judged, and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from plms_pipeline.measures import Basis, Measure
from plms_pipeline.models.estimating.effects import explain
from plms_pipeline.models.estimating.forecasting import prior_quantiles, quantiles
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.judging import figures
from plms_pipeline.models.estimating.model import Part
from plms_pipeline.models.estimating.walkforward import Forecasts

FEWEST: Final = 50
WINDOW: Final = 1_000
DEVIATIONS: Final = 2.58
PROMISED: Final = (0.88, 0.92)
COVERAGE_OFF: Final = "estimates_coverage_off"
WORSE: Final = "estimates_worse_than_priors"
CODES: Final = (COVERAGE_OFF, WORSE)
# Of the figures, what a look keeps: what people read, and gauges tell.
KEPT: Final = (
    "n", "coverage_90", "coverage_90_priors", "winkler", "winkler_priors", "winkler_ratio", "winkler_ratio_low",
    "winkler_ratio_high", "crps_ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """One limit that was broken; `code` is stable."""

    code: str
    measure: Measure
    basis: Basis
    value: float
    threshold: float
    message: str

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "code": self.code, "metric": f"{self.measure}.{self.basis}", "value": self.value, "threshold": self.threshold,
            "message": self.message,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lived:
    """One (measure, basis) since the promotion: figures (with `n` alone when there are none), and what is wrong."""

    measure: Measure
    basis: Basis
    figures: Mapping[str, Any]
    judged: bool
    alerts: tuple[Alert, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        kept = {name: self.figures.get(name) for name in KEPT}
        return {"measure": self.measure, "basis": self.basis, "judged": self.judged, **kept}


def lived(history: History, part: Part, bases: tuple[Basis, ...], *, since_ms: int) -> list[Lived]:
    """How a measure's model did on what began at a moment or later, for some bases.

    Args:
        history: everything that is completed by now.
    """
    if not (history.started_ms >= since_ms).any():
        return [Lived(history.measure, basis, {"n": 0}, judged=False) for basis in bases]
    explained = explain(history, part.scatter)
    found = []
    for basis in bases:
        mask = history.taught[basis]
        rows = np.flatnonzero(history.started_ms[mask] >= since_ms)
        rows = rows[np.argsort(history.started_ms[mask][rows], kind="stable")][-WINDOW:]
        if not rows.size:
            found.append(Lived(history.measure, basis, {"n": 0}, judged=False))
            continue
        ours = quantiles(history, basis, explained, part.trust[basis])[rows]
        theirs = prior_quantiles(history, basis)[rows]
        told = figures(Forecasts(basis, history.part(np.flatnonzero(mask)[rows]), ours, theirs))
        found.append(judged(history.measure, basis, told))
    return found


def judged(measure: Measure, basis: Basis, told: Mapping[str, Any]) -> Lived:
    """The figures of live forecasts against what was promised."""
    n = int(told["n"])
    if n < FEWEST:
        return Lived(measure, basis, told, judged=False)
    alerts = []
    coverage, name = float(told["coverage_90"]), f"{measure} ({basis})"
    chance = DEVIATIONS * math.sqrt(0.9 * 0.1 / n)
    low, high = PROMISED[0] - chance, PROMISED[1] + chance
    if not low <= coverage <= high:
        alerts.append(Alert(
            COVERAGE_OFF, measure, basis, coverage, low if coverage < low else high,
            f"Of {n} forecasts of {name} since the promotion {coverage:.1%} held; {low:.1%} to {min(high, 1):.1%} is chance.",
        ))  # fmt: skip
    least = told.get("winkler_ratio_low")
    if least is not None and math.isfinite(least) and least > 1.0:
        alerts.append(Alert(
            WORSE, measure, basis, float(told["winkler_ratio"]), 1.0,
            f"Since the promotion the priors forecast {name} better: Winkler is {told['winkler_ratio']:.3f} of theirs, "
            f"at least {least:.3f}.",
        ))  # fmt: skip
    return Lived(measure, basis, told, judged=True, alerts=tuple(alerts))
