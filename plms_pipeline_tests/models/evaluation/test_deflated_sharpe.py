"""Whether a Sharpe ratio is more than luck: the example of the paper, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.deflated_sharpe import (
    deflated_sharpe,
    expected_best_sharpe,
    probabilistic_sharpe,
)


def test_the_example_of_the_paper_comes_out() -> None:
    """Five years of days, an annual ratio of 2.5, the best of 100 trials: 90 %, not the certainty that it looks like."""
    best = expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe(2.5 / math.sqrt(250), best, n=1250, skewness=-3, kurtosis=10)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_fewer_trials_would_have_been_enough_evidence() -> None:
    """The paper's other case: after 46 trials the same ratio holds at 95 %."""
    best = expected_best_sharpe(46, 0.5 / 250)
    found = probabilistic_sharpe(2.5 / math.sqrt(250), best, n=1250, skewness=-3, kurtosis=10)
    assert found == pytest.approx(0.9505, abs=5e-5)


def test_a_ratio_of_nothing_is_even_odds() -> None:
    """Half of all worthless strategies made money."""
    assert probabilistic_sharpe(0.0, 0.0, n=100) == 0.5
    assert probabilistic_sharpe(0.0, 0.0, n=2) == 0.5
    with pytest.raises(BadInput, match="two are the least"):
        probabilistic_sharpe(0.0, 0.0, n=1)


def test_a_single_trial_is_measured_against_zero() -> None:
    """Nothing was selected, so nothing is to be deflated."""
    found = deflated_sharpe(np.random.default_rng(0).normal(0.001, 0.01, 500), trials=1)
    assert found is not None
    assert (found.expected_best, found.deflated) == (0.0, found.probabilistic)


@pytest.mark.parametrize("values", [[], [0.01], [0.01, 0.01, 0.01]])
def test_without_variation_there_is_no_ratio(values: list[float]) -> None:
    """An invented one would pass every gate."""
    assert deflated_sharpe(np.array(values), trials=3) is None


@given(st.integers(1, 10_000), st.integers(1, 10_000))
@settings(max_examples=40)
def test_more_trials_never_make_luck_less_likely(one: int, other: int) -> None:
    """Otherwise trying more would be rewarded."""
    fewer, more = sorted((one, other))
    assert expected_best_sharpe(fewer, 0.1) <= expected_best_sharpe(more, 0.1) + 1e-12


def test_the_best_of_worthless_trials_is_what_is_expected() -> None:
    """Simulated: the largest of 50 standard normal ratios is 2.25 on average."""
    best = np.random.default_rng(5).normal(size=(4_000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(50, 1.0) == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize(("trials", "variance"), [(0, 1.0), (3, -1.0)])
def test_impossible_trials_are_refused(trials: int, variance: float) -> None:
    """Zero trials cannot have led to a candidate."""
    with pytest.raises(BadInput, match="trials"):
        expected_best_sharpe(trials, variance)


def test_one_return_says_nothing() -> None:
    """The message says how many are needed."""
    with pytest.raises(BadInput, match="two are the least"):
        probabilistic_sharpe(1.0, 0.0, n=1)


def test_moments_of_no_distribution_are_refused() -> None:
    """Swapped arguments would give a probability of anything."""
    with pytest.raises(BadInput, match="no distribution"):
        probabilistic_sharpe(1.0, 0.0, n=100, skewness=10.0, kurtosis=1.0)
