"""Does a look at the champion say which of its sentences are no longer true?"""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.models.stages.live import live_stage
from plms_pipeline.models.stages.names import checks_of

DRIFT = {"population_stability_index": 0.3, "js_divergence": 0.01, "ks_statistic": 0.02}


def told(*metrics: str) -> dict[str, bool]:
    alerts = [{"code": f"{metric}_bad", "metric": metric, "value": 1.0, "message": "Too much."} for metric in metrics]
    document: dict[str, Any] = {
        "risk": {"sharpe": -1.2}, "drift": DRIFT, "alerts": alerts, "candidate_id": "c", "rows": 3, "window_count": 3,
        "window_from": None, "window_to": None,
    }  # fmt: skip
    stage = live_stage(document, action="halt", sentence="Stop.")
    # A Sharpe ratio of -1.2 was once exported as 1.2.
    assert stage.facts["sharpe"] == -1.2
    return {one.name: one.passed for one in stage.checks}


@pytest.mark.parametrize(
    ("metrics", "untrue"),
    [
        ((), set()),
        (("feed",), {"live_prices_can_be_trusted"}),
        (("ks_statistic",), {"live_returns_do_not_drift"}),
        (("sharpe", "feed"), {"live_risk_is_within_its_limits", "live_prices_can_be_trusted"}),
    ],
)
def test_each_alert_makes_its_own_sentence_untrue(metrics: tuple[str, ...], untrue: set[str]) -> None:
    """Drift that is told as risk sends the risk lead where data engineering should be."""
    found = told(*metrics)
    assert {name for name, passed in found.items() if not passed} == untrue
    assert list(found) == [one.name for one in checks_of("live_monitor")]
