from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.method import FACTORY, QUANTILES
from plms_pipeline.estimates.predictive import predict, predict_over_lanes, stretched
from plms_pipeline.estimates.state import Cell, State, state_of
from plms_pipeline.estimates.summary import Summary


def of(xs: np.ndarray) -> Summary:
    return summarise(np.zeros(len(xs), np.int32), 1, xs, "cost_usd", alpha=0.3)[0]


def state(cells: dict[Cell, np.ndarray]) -> State:
    return state_of("cost_usd", {cell: of(xs) for cell, xs in cells.items()})


def lognormal(n: int, centre: float, spread: float, seed: int = 0) -> np.ndarray:
    return np.exp(centre + spread * np.random.default_rng(seed).standard_normal(n))


def test_before_any_receipt_the_factory_default_is_the_centre_and_the_interval_is_wide() -> None:
    """The first forecast ever: ±30 % around $0.18 would promise a knowledge that nobody has."""
    found = predict(state({}), 4200, "new")
    low, high = found.interval()
    assert found.median == pytest.approx(FACTORY["cost_usd"], rel=0.02)
    assert np.log(high / low) / (2 * 1.645) > 1.2


def test_with_many_receipts_the_quantiles_are_those_of_the_receipts() -> None:
    """What was seen a thousand times needs no assumption."""
    found = predict(state({(4200, "m"): lognormal(4000, -1.0, 0.5)}), 4200, "m")
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        # The sketch forgets: some 200 receipts count, so a quantile keeps a sampling error.
        assert np.log(found.quantile(q)) == pytest.approx(-1.0 + 0.5 * norm.ppf(q), abs=0.2)


def test_each_receipt_of_a_new_provider_narrows_its_interval_and_pulls_it_there() -> None:
    """The first receipts of a provider are the expensive ones: they must count at once, and not be over-trusted."""
    others = {(4200, f"p{i}"): lognormal(300, np.log(0.1 * (i + 1)), 0.6, i) for i in range(6)}
    widths, medians = [], []
    for n in (0, 1, 3, 10, 100):
        own = {(4200, "new"): lognormal(n, np.log(5.0), 0.6, 9)} if n else {}
        found = predict(state(others | own), 4200, "new")
        low, high = found.interval()
        widths.append(np.log(high / low))
        medians.append(found.median)
    assert widths[0] > widths[1] > widths[2]
    assert widths[-1] < 0.75 * widths[0]
    assert medians[0] < 1.0 < medians[2]
    assert medians[-1] == pytest.approx(5.0, rel=0.15)


def test_a_known_provider_in_a_new_lane_is_forecast_from_its_other_lanes() -> None:
    """The provider says more than the lane: a cheap model stays cheap in another kind of work."""
    known = {
        (4200, "cheap"): lognormal(200, np.log(0.01), 0.5), (4200, "dear"): lognormal(200, np.log(1.0), 0.5, 1),
        (4201, "dear"): lognormal(200, np.log(1.5), 0.5, 2),
    }  # fmt: skip
    found = predict(state(known), 4201, "cheap")
    assert 0.008 < found.median < 0.08


def test_dependent_receipts_count_for_less() -> None:
    """A hundred receipts that came as five batches of one kind say as much as five, and the interval must know."""
    rng = np.random.default_rng(4)
    free = np.exp(rng.standard_normal(400))
    batches = np.exp(np.repeat(rng.standard_normal(40), 10) + 0.05 * rng.standard_normal(400))
    loose, tight = (predict(state({(4200, "m"): xs}), 4200, "new") for xs in (batches, free))
    assert loose.centre is not None
    assert tight.centre is not None
    assert loose.centre.design_effect > 2 * tight.centre.design_effect


@settings(max_examples=30)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.floats(0.9, 2.0))
def test_quantiles_ascend_and_the_density_is_whole(xs: list[float], correction: float) -> None:
    """A low end above the median, or mass that got lost at the edge, is a forecast that cannot be."""
    found = predict(state({(4200, "m"): np.array(xs)}), 4200, "m")
    quantiles = found.quantiles(correction)
    assert len(quantiles) == len(QUANTILES) == 39
    assert quantiles == sorted(quantiles)
    assert found.density.sum() == pytest.approx(1.0, abs=2e-3)


def test_zeros_are_a_chance_of_nothing_and_not_a_tiny_price() -> None:
    """A cached answer costs nothing: half the receipts at 0 must put the lower end at 0 and leave the upper end alone."""
    xs = lognormal(400, 0.0, 0.3)
    mixed = np.where(np.arange(400) % 2 == 0, 0.0, xs)
    found = predict(state({(4200, "m"): mixed}), 4200, "m")
    assert found.zero == pytest.approx(0.5, abs=0.02)
    assert found.interval()[0] == 0.0
    assert found.quantile(0.95) == pytest.approx(np.exp(0.3 * norm.ppf(0.9)), rel=0.1)
    assert found.sample(np.array([0.1, 0.99]))[0] == 0.0


def test_over_all_lanes_is_the_mixture_of_the_lanes() -> None:
    """A provider's prior over all lanes must cover what each of its lanes does, in proportion."""
    known = {(4200, "m"): lognormal(300, 0.0, 0.2), (6100, "m"): lognormal(300, 5.0, 0.2, 1)}
    found = predict_over_lanes(state(known), "m")
    assert found.quantile(0.25) == pytest.approx(1.0, rel=0.3)
    assert found.quantile(0.75) == pytest.approx(np.exp(5.0), rel=0.3)
    assert predict_over_lanes(state({}), None).median == pytest.approx(FACTORY["cost_usd"], rel=0.02)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_a_correction_of_one_changes_nothing_and_the_median_never_moves(value: float, median: float) -> None:
    """The correction is about width; where the centre lies was learnt."""
    assert stretched(value, median, 1.0) == pytest.approx(value, rel=1e-9)
    assert stretched(median, median, 1.7) == median
    assert stretched(0.0, median, 1.7) == 0.0
