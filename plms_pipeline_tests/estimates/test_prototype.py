from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from plms_pipeline.estimates.backtest import Outcomes
from plms_pipeline.estimates.prototype import _walk, prototype_intervals
from plms_pipeline.estimates.scores import covered, winkler


def test_the_prototype_scores_1_770_on_the_shipped_costs(shipped_outcomes: Callable[..., Outcomes]) -> None:
    """Every ratio on the report is against this number; if it moves, all of them do."""
    found = shipped_outcomes("cost_usd", passed_only=True)
    lane, _, provider, providers = found.codes()
    _, groups = np.unique(lane * len(providers) + provider, return_inverse=True)
    low, high = prototype_intervals(groups, found.value, "cost_usd")
    assert winkler(low, high, found.value).mean() == pytest.approx(1.770, abs=5e-4)
    assert covered(low, high, found.value).mean() == pytest.approx(0.67, abs=0.005)


def test_its_deviation_follows_the_published_worked_example() -> None:
    """The sources' example from (5000, 1000): the baseline must be theirs, defects included."""
    tokens = np.array([2800.0, 3100, 2900, 2700, 20000, 0])
    out = _walk(np.zeros(6, np.int64), tokens, 1, 5000.0, 1000.0, 0.0)
    half = (out[:, 1] - 5000) / 1.645
    assert half[1:] == pytest.approx([0.0, 868.0, 810.04, 764.27, 5860.33], abs=0.01)


def test_its_interval_never_moves_from_the_default_and_ends_at_zero() -> None:
    """The defect that this calibration answers: learning changed the width and never the centre."""
    low, high = prototype_intervals(np.zeros(3, np.int64), np.array([5.0, 5.0, 50.0]), "cost_usd")
    assert low.tolist()[0] == pytest.approx(0.18 - 1.645 * 0.054)
    assert high.tolist()[1] == pytest.approx(0.18 + 1.645 * 0.001)
    assert low[2] == 0.0
