from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from plms_pipeline.estimates.scores import covered, crps_of_quantiles, pit_histogram, winkler

numbers = st.floats(-1e3, 1e3)


@cache
def published() -> Any:
    """scoringrules by numpy alone: with numba it compiles everything it has for seconds, wherever it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        import scoringrules
    return scoringrules


@pytest.mark.live
@given(numbers, st.floats(0, 1e3), numbers)
def test_the_winkler_score_is_the_published_interval_score(low: float, width: float, actual: float) -> None:
    """An own variant of the score would make the promised ratio mean something else."""
    ours = winkler(np.array([low]), np.array([low + width]), np.array([actual]))[0]
    assert ours == pytest.approx(float(published().interval_score(actual, low, low + width, 0.1)), rel=1e-9, abs=1e-9)


@pytest.mark.live
@given(st.floats(-3, 3))
def test_the_quantile_crps_tends_to_the_crps_of_the_distribution(actual: float) -> None:
    """CRPS from 999 quantiles of a normal against the closed form."""
    levels = np.arange(1, 1000) / 1000
    ours = crps_of_quantiles(norm.ppf(levels)[None, :], levels, np.array([actual]))[0]
    assert ours == pytest.approx(float(published().crps_normal(actual, 0.0, 1.0)), abs=4e-3)


def test_both_ends_of_an_interval_belong_to_it() -> None:
    """`coverage_90` counts low ≤ x ≤ high."""
    low, high = np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0])
    assert covered(low, high, np.array([1.0, 2.0, 2.0000001])).tolist() == [True, True, False]


def test_a_calibrated_forecast_has_a_flat_pit() -> None:
    """A tilted or U-shaped histogram on the report is a finding, so a flat one must come out flat."""
    levels = np.arange(0.05, 1.0, 0.05)
    quantiles = np.tile(norm.ppf(levels), (20_000, 1))
    shares = pit_histogram(quantiles, np.random.default_rng(3).standard_normal(20_000))
    assert len(shares) == 20
    assert sum(shares) == pytest.approx(1.0)
    assert max(abs(share - 0.05) for share in shares) < 0.006
    assert pit_histogram(quantiles[:0], np.zeros(0)) == []
