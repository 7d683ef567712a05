"""The newest returns against what was approved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.drift import DriftThresholds, profile_of
from plms_pipeline.models.evaluation.live import snapshot
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

APPROVED = np.random.default_rng(1).normal(0.001, 0.01, 2_000)
PROFILE = profile_of(APPROVED)


def test_what_behaves_as_approved_is_silent() -> None:
    """And the snapshot is JSON with the keys of the sources."""
    found = snapshot(
        PROFILE, np.random.default_rng(2).normal(0.001, 0.01, 900), risk_limits=OperationsThresholds(min_sharpe=-9)
    )
    assert (found.alerts, found.window_count) == ((), 512)
    document = json.loads(json.dumps(found.as_document(), allow_nan=False))
    assert set(document) == {"risk", "reasons", "drift", "alerts", "window_count"}
    assert {"population_stability_index", "js_divergence", "ks_statistic"} <= set(document["drift"])


def test_losses_and_drift_alert_by_code() -> None:
    """The sources exported the size of a Sharpe ratio: -1.2 showed as 1.2."""
    limits = OperationsThresholds(min_sharpe=0.5, max_drawdown=0.1, min_tail_return=-0.02)
    found = snapshot(PROFILE, np.random.default_rng(3).normal(-0.002, 0.03, 512), risk_limits=limits)
    assert [alert.code for alert in found.alerts] == [
        "psi_above_limit", "js_above_limit", "ks_above_limit", "sharpe_below_minimum", "drawdown_above_limit",
        "value_at_risk_below_floor",
    ]  # fmt: skip
    assert found.risk["sharpe"] < 0


def test_only_the_window_counts_and_unknown_returns_do_not() -> None:
    """A bad year that is over must not alert for ever; a gap is no return of 0."""
    live = np.concatenate([np.full(100, -0.2), APPROVED[:400], [np.nan]])
    assert snapshot(PROFILE, live, window=400).alerts == ()
    assert snapshot(PROFILE, live, window=400).window_count == 400


def test_a_feed_that_is_silent_alerts() -> None:
    """Nothing to judge is not nothing wrong."""
    found = snapshot(PROFILE, np.array([np.nan]), drift_limits=DriftThresholds(psi=None, js=None))
    assert [alert.code for alert in found.alerts] == ["ks_statistic_unknown"]


def test_an_empty_window_is_refused() -> None:
    """A window of 0 would be all of the past in Python."""
    with pytest.raises(BadInput, match="one is the least"):
        snapshot(PROFILE, APPROVED, window=0)
