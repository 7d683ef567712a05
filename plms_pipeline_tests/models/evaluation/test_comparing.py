"""Is a challenger called better only when it is?"""

from __future__ import annotations

import numpy as np
import pytest

from plms_pipeline.errors import NoData
from plms_pipeline.models.evaluation.comparing import Judged, compared

DAYS = np.arange(400).astype("datetime64[D]").astype("datetime64[us]")
FOLDS = np.arange(400) // 100


def path(values: np.ndarray, moments: np.ndarray = DAYS) -> Judged:
    return Judged(moments, values, FOLDS[: values.size])


def test_a_challenger_is_better_or_worse_only_beyond_chance() -> None:
    """Of two equal models one has the larger Sharpe ratio every time."""
    chance = np.random.default_rng(5)
    ours = chance.normal(0.0, 0.01, 400)
    for shift, told in ((0.0, "neither more nor less"), (0.004, "earned more"), (-0.004, "earned less")):
        other = ours + chance.normal(shift, 0.005, 400)
        found = compared(path(other), path(ours), resamples=500)
        assert told in found.sentence
        assert found.difference.point == pytest.approx(float((other - ours).mean()))


def test_figures_are_those_of_the_moments_in_common() -> None:
    """A challenger that skipped the crash looked better than the training that was judged in it."""
    ours = np.full(400, 0.01)
    ours[:100] = -0.5
    theirs = path(np.full(300, 0.01), DAYS[100:])
    found = compared(theirs, path(ours), resamples=100)
    assert (found.moments, found.first[:10], found.last[:10]) == (300, str(DAYS[100])[:10], str(DAYS[-1])[:10])
    assert found.training["total_return"] == pytest.approx(1.01**300 - 1)
    assert found.training["roi_mean"] == pytest.approx(1.01**100 - 1)
    assert found.training["roi_std"] == pytest.approx(0.0, abs=1e-12)
    document = found.as_document("challenger")
    assert {"roi_mean", "roi_std", "sharpe", "sortino", "max_drawdown", "cvar"} <= document.keys()
    with pytest.raises(NoData, match="no moment in common"):
        compared(path(ours[:100], DAYS[:100]), theirs)
