"""Which of the newest returns count, and when are they too few to say anything?

Drift of a handful of returns is noise: with 100 of them the grid has four cells, so that an index of 0.2 is rare by luck, and
more cells come with more returns. Below `FEWEST` nothing is judged, and that is said: a monitor that alarms on its first
day is switched off on its second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from plms_pipeline.models.evaluation.drift import BINS, DriftThresholds, profile_of
from plms_pipeline.models.evaluation.live import WINDOW, snapshot
from plms_pipeline.models.evaluation.returns import TRADING_DAYS, Floats
from plms_pipeline.models.evaluation.thresholds import Alert, OperationsThresholds

FEWEST: Final = 100
PER_CELL: Final = 25
TOO_FEW: Final = "too_few_returns"


@dataclass(frozen=True, slots=True)
class Rules:
    """How live returns are judged; `bins` None: as many cells as both samples allow, at most `drift.BINS`."""

    window: int = WINDOW
    bins: int | None = None
    fewest: int = FEWEST
    periods_per_year: float = TRADING_DAYS
    risk: OperationsThresholds = field(default_factory=OperationsThresholds)
    drift: DriftThresholds = field(default_factory=DriftThresholds)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The snapshot as JSON has it, and the alerts in it; `judged` False when the returns were too few."""

    document: dict[str, Any]
    alerts: tuple[Alert, ...]
    judged: bool

    @property
    def codes(self) -> tuple[str, ...]:
        """The stable codes, each once."""
        return tuple(dict.fromkeys(alert.code for alert in self.alerts))


def limits_of(rules: Rules) -> dict[str, dict[str, float | None]]:
    """The limits in force, by the name of the figure; None is no limit.

    Under `risk` a figure is broken below its limit, so that of a drawdown is negative as the drawdown is; under `drift` above.
    """
    risk, drift = rules.risk, rules.drift
    return {
        "risk": {
            "sharpe": risk.min_sharpe,
            "max_drawdown": None if risk.max_drawdown is None else -risk.max_drawdown,
            "value_at_risk": risk.min_tail_return,
        },
        "drift": {"population_stability_index": drift.psi, "js_divergence": drift.js, "ks_statistic": drift.ks},
    }


def judged(reference: Floats, live: Floats, rules: Rules) -> Judgement:
    """The newest returns against those that were approved.

    Args:
        reference: (n,) simple returns of the evaluation.
        live: (m,) simple returns since, in the order of time.

    Raises:
        NoData: the reference holds no finite value.
        BadInput: the window is empty, or these are no returns.
    """
    newest = live[np.isfinite(live)][-max(rules.window, 1) :]
    known = min(newest.size, int(np.isfinite(reference).sum()))
    bins = rules.bins or min(BINS, max(2, known // PER_CELL))
    found = snapshot(
        profile_of(reference, bins=bins), live, window=rules.window, periods_per_year=rules.periods_per_year,
        risk_limits=rules.risk, drift_limits=rules.drift,
    )  # fmt: skip
    is_enough = found.window_count >= rules.fewest
    document = found.as_document()
    document["drift"]["cells"] = bins
    document["limits"] = limits_of(rules)
    document["judged"] = is_enough
    if not is_enough:
        document["alerts"] = []
        document["reasons"] = {**document["reasons"], "alerts": TOO_FEW}
    return Judgement(document, found.alerts if is_enough else (), is_enough)
