"""Drift: against scipy, on the worlds to which the sources were blind, and on data that are no bell."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.coarse import cells_of, largest_distance
from plms_pipeline.models.evaluation.drift import (
    DriftThresholds,
    drift,
    drift_alerts,
    drift_of_columns,
    js_divergence,
    kolmogorov_smirnov,
    population_stability_index,
    profile_from,
    profile_of,
)
from plms_pipeline.models.evaluation.returns import Floats

REFERENCE = np.random.default_rng(1).normal(size=2_000)
PROFILE = profile_of(REFERENCE)
LIMITS = DriftThresholds()


@pytest.mark.parametrize(
    ("observed", "what"),
    [(REFERENCE + 1, "shift"), (REFERENCE + 10, "jump"), (REFERENCE * 2, "rescale"), (REFERENCE / 3, "shrink")],
)
def test_a_pure_shift_or_rescale_is_seen(observed: Floats, what: str) -> None:
    """Each sample on a grid of its own, as in the sources, gives 0 for all of them."""
    found = drift(PROFILE, observed)
    assert found.population_stability_index > 0.2, what
    assert found.js_divergence > 0.05, what
    assert {alert.code for alert in drift_alerts(found, LIMITS)} >= {"psi_above_limit", "js_above_limit"}


def test_one_outlier_cannot_hide_a_shift() -> None:
    """On cells of equal widths a single 1e9 puts everything else into one cell."""
    plain, with_outlier = drift(PROFILE, REFERENCE + 1), drift(PROFILE, np.append(REFERENCE + 1, 1e9))
    assert with_outlier.population_stability_index == pytest.approx(plain.population_stability_index, rel=0.02)


def test_the_same_distribution_raises_no_alert() -> None:
    """A window of 512 from the same world stays below every limit."""
    chance = np.random.default_rng(2)
    for _ in range(20):
        assert not drift_alerts(drift(PROFILE, chance.normal(size=512)), LIMITS)


@given(
    st.lists(st.one_of(st.floats(-5, 5), st.integers(-3, 3).map(float)), min_size=1, max_size=60),
    st.lists(st.one_of(st.floats(-5, 5), st.integers(-3, 3).map(float)), min_size=1, max_size=60),
)
@settings(max_examples=60)
def test_the_kolmogorov_smirnov_statistic_is_exact(first: list[float], second: list[float]) -> None:
    """Interpolated distribution functions, as in the sources, miss the largest distance; ties are where others err."""
    a, b = np.array(first), np.array(second)
    found = drift(profile_of(a), b)
    expected = max(abs(float(np.mean(a <= x)) - float(np.mean(b <= x))) for x in np.concatenate([a, b]))
    assert found.ks_statistic == pytest.approx(expected, abs=1e-12)
    assert 0.0 <= found.js_divergence <= 1.0
    assert found.population_stability_index >= 0.0


def test_the_kolmogorov_smirnov_statistic_is_scipys() -> None:
    """On samples of the length of a window, with ties."""
    chance = np.random.default_rng(6)
    for observed in (chance.normal(size=5_000), chance.normal(0.05, 1, 3_001), np.round(chance.normal(size=4_000), 1)):
        reference = np.round(chance.normal(size=4_321), 2)
        expected = ks_2samp(reference, observed, method="asymp").statistic
        assert drift(profile_of(reference), observed).ks_statistic == pytest.approx(expected, abs=1e-12)


@pytest.mark.live
def test_long_samples_are_judged_as_if_they_were_sorted() -> None:
    """Live because it is compiled: what is not sorted because it cannot hold the largest distance does not hold it."""
    chance = np.random.default_rng(6)
    worlds: tuple[Callable[[int], Floats], ...] = (
        lambda n: chance.normal(size=n),
        lambda n: chance.standard_cauchy(n) * 1e300,
        lambda n: chance.integers(0, 5, n).astype(float),
        lambda n: np.where(chance.random(n) < 0.5, 0.0, chance.lognormal(0, 3, n)),
        lambda n: np.full(n, 3.0),
        lambda n: np.round(chance.normal(size=n), 2),
    )
    for number in range(120):
        world = worlds[number % len(worlds)]
        first, observed = (world(int(chance.integers(1, 9_000))) for _ in range(2))
        observed = observed + (chance.normal(0, 0.1) if number % 4 else 0.0)
        first, observed = (values[np.isfinite(values)] for values in (first, observed))
        profile, ascending = profile_of(first), np.sort(observed)
        cells = cells_of(profile.reference, profile.edges, observed)
        assert largest_distance(cells, profile.reference, observed) == kolmogorov_smirnov(profile.reference, ascending)
        below = [0, *np.searchsorted(ascending, profile.edges), ascending.size]
        assert cells.counts(profile.edges).tolist() == np.diff(below).tolist()
    long, other = chance.normal(size=60_000), chance.normal(0.01, 1, 50_000)
    expected = ks_2samp(long, other, method="asymp").statistic
    assert drift(profile_of(long), other).ks_statistic == pytest.approx(expected, abs=1e-12)


def test_the_divergence_is_scipys_squared_distance() -> None:
    """In bits, so that 1 is as far apart as can be."""
    p, q = np.array([10.0, 0.0, 30.0, 60.0]), np.array([25.0, 5.0, 0.0, 70.0])
    assert js_divergence(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)
    assert js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert js_divergence(p, p) == 0.0


def test_the_stability_index_by_hand() -> None:
    """Half a value more in each cell: (9.5, 1.5) against (4.5, 6.5) of 11."""
    expected = (5 / 11) * np.log(9.5 / 4.5) + (-5 / 11) * np.log(1.5 / 6.5)
    assert population_stability_index(np.array([4.0, 6.0]), np.array([9.0, 1.0])) == pytest.approx(expected)


@pytest.mark.parametrize("moved", [-1.0, 1e-6, 1.0])
def test_leaving_a_constant_is_seen(moved: float) -> None:
    """A feed that always said 0.02 and now says something else has no quantiles to tell it by."""
    found = drift(profile_of(np.full(100, 0.02)), np.full(100, 0.02 + moved))
    assert found.population_stability_index > 1
    assert found.ks_statistic == 1.0


def test_more_zeros_than_before_are_seen() -> None:
    """A value that fills cells alone has one of its own: the volume of a halted symbol."""
    chance = np.random.default_rng(3)
    volume = np.where(chance.random(1_000) < 0.5, 0.0, chance.lognormal(size=1_000))
    halted = np.where(chance.random(1_000) < 0.8, 0.0, chance.lognormal(size=1_000))
    assert drift(profile_of(volume), halted).population_stability_index > 0.2
    assert drift(profile_of(volume), volume).population_stability_index == 0.0


def test_a_stored_profile_judges_as_the_one_that_was_made() -> None:
    """The reference of a champion is kept for months."""
    again = profile_from(json.loads(json.dumps(PROFILE.as_document())))
    observed = REFERENCE[:300] + 0.3
    assert drift(again, observed) == drift(PROFILE, observed)


def test_what_is_no_profile_is_refused() -> None:
    """The message says to make it anew."""
    with pytest.raises(BadInput, match="no drift profile"):
        profile_from({"edges": [1]})


def test_nothing_observed_is_unknown_and_an_alert() -> None:
    """The sources said 0: a feed that died looked like one that had not drifted."""
    found = drift(PROFILE, np.array([np.nan, np.inf]))
    assert (found.population_stability_index, found.observed, found.missing) == (None, 0, 2)
    assert [alert.code for alert in drift_alerts(found, LIMITS, subject="volume")] == [
        "population_stability_index_unknown", "js_divergence_unknown", "ks_statistic_unknown",
    ]  # fmt: skip


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    """One NaN must not turn every figure into one."""
    with_gap = drift(PROFILE, np.append(REFERENCE, [np.nan, -np.inf]))
    assert (with_gap.ks_statistic, with_gap.missing) == (0.0, 2)


def test_columns_are_compared_by_name() -> None:
    """Positions would compare volume with price after the first reordering."""
    profiles = {"a": PROFILE, "b": profile_of(REFERENCE + 5)}
    found = drift_of_columns(profiles, {"b": REFERENCE + 5, "a": REFERENCE})
    assert [found[name].ks_statistic for name in "ab"] == [0.0, 0.0]
    with pytest.raises(BadInput, match="no column `b`"):
        drift_of_columns(profiles, {"a": REFERENCE})


def test_a_limit_that_is_off_is_not_judged() -> None:
    """None is off, not zero."""
    assert not drift_alerts(drift(PROFILE, REFERENCE + 9), DriftThresholds(psi=None, js=None, ks=None))


def test_an_empty_reference_is_refused() -> None:
    """Nothing can drift from nothing."""
    with pytest.raises(NoData, match="no finite value"):
        profile_of(np.array([np.nan]))
    with pytest.raises(BadInput, match="two are the least"):
        profile_of(REFERENCE, bins=1)


@pytest.mark.parametrize("given_", [{"psi": -0.1}, {"js": float("nan")}, {"ks": float("inf")}])
def test_a_drift_limit_is_a_finite_size(given_: dict[str, float]) -> None:
    """Nothing is ever above NaN."""
    with pytest.raises(BadInput, match=next(iter(given_))):
        DriftThresholds(**given_)
