"""Does what is live still behave as what was approved?

The newest returns against the profile of the approved ones and against limits: the snapshot of the sources (`risk`, `drift`,
`alerts`, `window_count`), whose alerts have stable codes. The figures keep their signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.drift import Drift, DriftThresholds, Profile, drift, drift_alerts
from plms_pipeline.models.evaluation.returns import TRADING_DAYS, Floats, returns_of
from plms_pipeline.models.evaluation.risk import Figures, risk_figures
from plms_pipeline.models.evaluation.thresholds import RULES, Alert, OperationsThresholds, Rule, judged

WINDOW: Final = 512
# Live, a tail is that of the window's returns: there may be no trades.
_TAIL: Final = Rule(
    "min_tail_return", "risk", "value_at_risk", "floor", "value_at_risk_below_floor", "The value at risk of the window"
)
_LIVE: Final = (*(rule for rule in RULES if rule.source == "risk"), _TAIL)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the newest returns.

    Attributes:
        window_count: returns in the window.
        alerts: those of drift, then those of risk.
    """

    risk: Figures
    drift: Drift
    alerts: tuple[Alert, ...]
    window_count: int

    def as_document(self) -> dict[str, Any]:
        """The snapshot, as JSON has it."""
        return {
            "risk": self.risk.as_document(),
            "reasons": dict(self.risk.reasons),
            "drift": self.drift.as_document(),
            "alerts": [alert.as_document() for alert in self.alerts],
            "window_count": self.window_count,
        }


def snapshot(
    profile: Profile, live: Floats, *, window: int = WINDOW, periods_per_year: float = TRADING_DAYS,
    risk_limits: OperationsThresholds | None = None, drift_limits: DriftThresholds | None = None,
) -> Snapshot:  # fmt: skip
    """Risk and drift of the newest returns.

    Args:
        profile: of the returns that were approved.
        live: (n,) simple returns in the order of time; what is not finite is left out.
        window: how many of the newest count.
        risk_limits: of which `min_sharpe`, `max_drawdown` and `min_tail_return` (a return here) are asked.
        drift_limits: None: 0.2, 0.05 and 0.15.

    Raises:
        BadInput: the window is empty, or these are no returns.
    """
    if window < 1:
        raise BadInput(f"A window of {window} returns shows nothing; one is the least.")
    newest = live[np.isfinite(live)][-window:]
    risk = risk_figures(returns_of(newest, kind="simple", periods_per_year=periods_per_year, name="live returns"))
    found = drift(profile, newest)
    alerts = list(drift_alerts(found, drift_limits or DriftThresholds(), subject="the live returns"))
    for rule in _LIVE:
        limit = getattr(risk_limits, rule.threshold, None)
        alert = None if limit is None else judged(rule, risk[rule.metric], limit)
        if alert is not None:
            alerts.append(alert)
    return Snapshot(risk, found, tuple(alerts), int(newest.size))
