"""From a sample to the whole: laws, textbook values, and that nine of ten intervals hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.extrapolation import (
    PROJECT_SPREAD,
    Prior,
    StratumData,
    extrapolate,
    interval_90,
    log_normal_prior,
    mixed,
    prior_of_values,
)

WORLDS = 400


def world(
    rng: np.random.Generator,
    *,
    strata: int,
    cells: int,
    spread: float,
    unknown: float,
    share: float,
    factor: float = 1.0,
) -> tuple[list[StratumData], float]:
    """A project that happens: log-normal tasks whose centres differ per (lane, provider), and its true total.

    `spread` and `unknown` are log-scale variances, `share` the part that is measured, `factor` how far the whole project
    lies from its priors.
    """
    prior_mean, total, found = 100.0, 0.0, []
    offsets = rng.normal(0, math.sqrt(unknown), cells)
    for place in range(strata):
        size = int(rng.integers(5, 60))
        logs = math.log(prior_mean) - spread / 2 + offsets[place % cells]
        values = factor * np.exp(logs + rng.normal(0, math.sqrt(spread - unknown), size))
        n = math.ceil(size * share)
        prior = log_normal_prior(prior_mean, spread, unknown, place % cells)
        found.append(StratumData(size, values[:n].tolist(), prior))
        total += float(values.sum())
    return found, total


@pytest.mark.parametrize(
    "case",
    [
        {"strata": 12, "cells": 4, "spread": 0.5, "unknown": 0.05, "share": 0.05},
        {"strata": 12, "cells": 4, "spread": 0.5, "unknown": 0.2, "share": 0.0},
        {"strata": 12, "cells": 4, "spread": 1.2, "unknown": 0.4, "share": 0.05},
        {"strata": 12, "cells": 12, "spread": 1.2, "unknown": 0.4, "share": 0.3},
        {"strata": 3, "cells": 3, "spread": 0.5, "unknown": 0.1, "share": 0.05},
        {"strata": 30, "cells": 1, "spread": 2.0, "unknown": 0.8, "share": 0.03},
        {"strata": 30, "cells": 1, "spread": 2.0, "unknown": 0.0, "share": 0.1},
    ],
    ids=str,
)
def test_nine_of_ten_intervals_hold_the_true_total(case: dict[str, float]) -> None:
    """An interval that holds less often than it says makes budgets that run dry. Cautious is allowed, bold is not."""
    rng = np.random.default_rng(20_260_301)
    inside, ratios = 0, []
    for _ in range(WORLDS):
        strata, total = world(rng, **case)  # type: ignore[arg-type]  # numbers, whole where they must be
        found = extrapolate(strata)
        inside += found.low <= total <= found.high
        ratios.append(found.mean / total)
    assert 0.87 <= inside / WORLDS <= 0.99
    assert 0.85 <= float(np.median(ratios)) <= 1.15


@pytest.mark.parametrize("factor", [0.4, 1.5, 3.0])
def test_a_project_unlike_all_history_is_found_by_its_sample(factor: float) -> None:
    """That is what a canary is for: priors alone would miss such a total nearly always."""
    rng = np.random.default_rng(7)
    with_sample, without = 0, 0
    for _ in range(WORLDS):
        strata, total = world(rng, strata=12, cells=4, spread=0.5, unknown=0.05, share=0.1, factor=factor)
        found = extrapolate(strata)
        blind = extrapolate([StratumData(each.size, (), each.prior) for each in strata])
        with_sample += found.low <= total <= found.high
        without += blind.low <= total <= blind.high
    assert with_sample / WORLDS >= 0.80
    assert without / WORLDS <= 0.25


values = st.floats(0.01, 1e6)
priors = st.builds(
    lambda mean, within, unknown, cell: Prior(mean, mean * within, mean * unknown, cell),
    values, st.floats(0.05, 5.0), st.floats(0.01, 3.0), st.integers(0, 2),
)  # fmt: skip
odd = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
odd_priors = st.builds(Prior, odd, odd, odd, st.integers(0, 2))
shares = st.lists(st.floats(0.01, 100.0), max_size=5)
strata_lists = st.lists(
    st.builds(
        lambda size, measured, prior: StratumData(
            max(size, len(measured)), tuple(share * prior.mean for share in measured), prior
        ),
        st.integers(1, 50), shares, priors,
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(strata_lists, st.sampled_from([0.001, 60_000.0, 7.0]))
def test_another_unit_changes_nothing_but_the_unit(strata: Sequence[StratumData], factor: float) -> None:
    """Tokens, milliseconds and dollars are extrapolated alike; the original derived the interval of cost from tokens."""
    one = extrapolate(strata)
    other = extrapolate(
        [
            StratumData(
                each.size, [value * factor for value in each.measured],
                Prior(each.prior.mean * factor, each.prior.within * factor, each.prior.unknown * factor, each.prior.cell),
            )
            for each in strata
        ]
    )  # fmt: skip
    for name in ("mean", "low", "high", "measured"):
        assert getattr(other, name) == pytest.approx(getattr(one, name) * factor, rel=1e-5)
    assert other.surprise == pytest.approx(one.surprise, rel=1e-5)


@given(strata_lists, st.randoms(use_true_random=False))
def test_the_order_of_strata_does_not_matter(strata: list[StratumData], rng: object) -> None:
    """A database returns rows in any order."""
    shuffled = list(strata)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its generator as object here
    assert extrapolate(shuffled).mean == pytest.approx(extrapolate(strata).mean, rel=1e-5)


@given(
    st.lists(
        st.builds(
            lambda size, measured, prior: StratumData(max(size, len(measured)), tuple(measured), prior),
            st.integers(1, 50), st.lists(odd, max_size=5), odd_priors,
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_whatever_it_is_given_the_answer_is_numbers(strata: Sequence[StratumData]) -> None:
    """Sure priors, vague ones, zeros: an answer with a NaN is no JSON."""
    found = extrapolate(strata)
    numbers = (found.mean, found.median, found.low, found.high, found.stddev, found.surprise, found.relative_width)
    assert all(math.isfinite(number) for number in numbers)
    assert found.low <= found.median * (1 + 1e-9) <= found.high * (1 + 2e-9)


@given(strata_lists)
def test_intervals_enclose_their_mean_or_the_measured_and_never_go_below_it(strata: Sequence[StratumData]) -> None:
    """What was spent already cannot be un-spent by an estimate."""
    found = extrapolate(strata)
    assert found.measured <= found.low * (1 + 1e-9) <= found.high * (1 + 2e-9)
    assert found.mean >= found.measured


@given(st.lists(st.lists(values, min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_sample_of_everything_leaves_nothing_to_estimate(measured: list[list[float]]) -> None:
    """The finite-population correction: without it a complete count would still have an interval."""
    found = extrapolate([StratumData(len(each), tuple(each), Prior(1.0, 5.0, 3.0)) for each in measured])
    total = sum(value for each in measured for value in each)
    assert found.mean == pytest.approx(total)
    assert (found.low, found.high) == (pytest.approx(total), pytest.approx(total))


def test_with_a_vague_prior_mean_and_variance_are_those_of_the_textbook() -> None:
    """Cochran, Sampling Techniques: N · mean, and N² (1 - n/N) σ²/n with σ² known."""
    size, sample, sigma = 400, (90.0, 110.0, 105.0, 95.0), 10.0
    strength, squares = 10.0, sum((value - 100.0) ** 2 for value in sample)
    found = extrapolate([StratumData(size, sample, Prior(100.0, sigma, 1e4))])
    pooled = (strength * sigma**2 + squares) / (strength + len(sample) - 1)
    assert found.mean == pytest.approx(size * 100.0)
    assert found.stddev**2 == pytest.approx(size**2 * (1 - len(sample) / size) * pooled / len(sample), rel=1e-4)


def test_without_a_sample_the_priors_are_what_is_known() -> None:
    """An unsampled stratum counts with its prior's mean and variance; strata of one cell err together, others do not."""
    one = [StratumData(10, (), Prior(5.0, 2.0, 1.0, "a")), StratumData(20, (), Prior(3.0, 1.0, 0.5, "a"))]
    found = extrapolate(one)
    assert found.mean == pytest.approx(110.0)
    assert found.stddev**2 == pytest.approx(10 * 4 + 20 * 1 + (10 * 1.0 + 20 * 0.5) ** 2)
    apart = extrapolate([one[0], StratumData(20, (), Prior(3.0, 1.0, 0.5, "b"))])
    assert apart.stddev**2 == pytest.approx(10 * 4 + 20 * 1 + 10**2 + 10**2)
    assert found.ratio is None


def test_estimates_are_those_of_the_conditional_normal_distribution() -> None:
    """The oracle: every task a coordinate of one large normal vector, conditioned on the measured ones by brute force."""
    strata = [
        StratumData(4, (130.0,), Prior(100.0, 30.0, 20.0, "a")),
        StratumData(3, (90.0,), Prior(80.0, 20.0, 10.0, "a")),
        StratumData(5, (), Prior(60.0, 25.0, 15.0, "b")),
    ]
    mean, owner, seen, observed = [], [], [], []
    for place, stratum in enumerate(strata):
        for number in range(stratum.size):
            if number < len(stratum.measured):
                seen.append(len(mean))
                observed.append(stratum.measured[number])
            mean.append(stratum.prior.mean)
            owner.append(place)
    n = len(mean)
    covariance = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            one, other = strata[owner[i]].prior, strata[owner[j]].prior
            covariance[i, j] = PROJECT_SPREAD**2 * one.mean * other.mean
            covariance[i, j] += one.unknown * other.unknown * (one.cell == other.cell)
            covariance[i, j] += one.within**2 * (i == j)
    left = [place for place in range(n) if place not in seen]
    gain = covariance[np.ix_(left, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    expected = np.array(mean)[left] + gain @ (np.array(observed) - np.array(mean)[seen])
    spread = covariance[np.ix_(left, left)] - gain @ covariance[np.ix_(seen, left)]
    found = extrapolate(strata)
    assert found.surprise == 1.0
    assert found.mean == pytest.approx(sum(observed) + expected.sum())
    assert found.stddev**2 == pytest.approx(spread.sum())


def test_the_interval_is_that_of_a_log_normal() -> None:
    """The oracle: quantiles of a large sample with the given mean and variance."""
    mean, variance = 50.0, 900.0
    spread = math.log1p(variance / mean**2)
    draws = np.exp(math.log(mean) - spread / 2 + math.sqrt(spread) * np.random.default_rng(1).standard_normal(400_000))
    assert interval_90(mean, variance) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])), rel=0.01)
    assert interval_90(0.0, 4.0) == (0.0, 0.0)


def test_a_prior_from_values_splits_their_variance_as_a_log_normal_does() -> None:
    """What is unknown of a (lane, provider) is wrong for all of its tasks at once; halving it would halve the caution."""
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    from scipy.stats import norm

    drawn = np.exp(3.0 + math.sqrt(0.8) * norm.ppf(quantiles))
    found, exact = prior_of_values(drawn, 0.3, "c"), log_normal_prior(math.exp(3.4), 0.8, 0.3, "c")
    assert found.mean == pytest.approx(exact.mean, rel=0.01)
    assert found.within == pytest.approx(exact.within, rel=0.03)
    assert found.unknown == pytest.approx(exact.unknown, rel=0.03)


def test_a_stratum_of_two_providers_varies_by_their_difference_too() -> None:
    """One cheap and one dear provider in a stratum are no two tasks of a middling one."""
    cheap, dear = Prior(1.0, 0.1, 0.2, "a"), Prior(9.0, 0.1, 0.4, "b")
    found = mixed({cheap: 3, dear: 1})
    assert found.mean == pytest.approx(3.0)
    assert found.within**2 == pytest.approx(0.01 + (3 * 4 + 36) / 4)
    assert found.unknown == pytest.approx(0.25)
    assert mixed({cheap: 5}) is cheap


@pytest.mark.parametrize(
    "stratum",
    [
        StratumData(1, (1.0, 2.0), Prior(1.0, 1.0, 1.0)),
        StratumData(2, (-1.0,), Prior(1.0, 1.0, 1.0)),
        StratumData(2, (float("nan"),), Prior(1.0, 1.0, 1.0)),
        StratumData(2, (), Prior(float("inf"), 1.0, 1.0)),
    ],
)
def test_numbers_that_cannot_be_are_refused(stratum: StratumData) -> None:
    """A NaN would make the whole answer NaN, which no JSON can hold."""
    with pytest.raises(BadInput) as caught:
        extrapolate([stratum])
    assert caught.value.code == "bad_rehearsal_data"
