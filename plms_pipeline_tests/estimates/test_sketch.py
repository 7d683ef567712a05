from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.kernels import RELATIVE_ERROR, bucket_of
from plms_pipeline.estimates.sketch import GRIDS, representative, sketch_quantile

values = st.lists(st.floats(1e-6, 1e7), min_size=1, max_size=200)


@given(values, st.floats(0, 1), st.floats(0.9, 1.0))
def test_a_quantile_is_off_by_at_most_the_promised_relative_error(xs: list[float], q: float, forgetting: float) -> None:
    """The sketch is the prior's memory of its tails: an error beyond the promise is a wrong budget."""
    array = np.array(xs)
    summary = summarise(np.zeros(len(xs), np.int32), 1, array, "cost_usd", alpha=0.3, forgetting=forgetting)[0]
    sketch = np.zeros(GRIDS["cost_usd"].size)
    sketch[summary.positions] = summary.weights
    weights = forgetting ** np.arange(len(xs) - 1, -1, -1)
    order = np.argsort(array)
    cumulative = np.cumsum(weights[order])
    exact = array[order][np.searchsorted(cumulative, q * cumulative[-1] * (1 - 1e-12)).clip(0, len(xs) - 1)]
    found = sketch_quantile(sketch, q, GRIDS["cost_usd"])
    # A quantile that falls on the step between two receipts may be either of them.
    steps = np.flatnonzero(np.abs(cumulative - q * cumulative[-1]) <= 1e-9 * cumulative[-1])
    allowed = [exact, *array[order][steps], *array[order][np.minimum(steps + 1, len(xs) - 1)]]
    assert min(abs(found / x - 1) for x in allowed) <= RELATIVE_ERROR * (1 + 1e-9)


@given(st.floats(1e-6, 1e7))
def test_a_bucket_stands_for_every_value_inside_it(x: float) -> None:
    """The bound of one bucket is where the sketch's promise comes from."""
    grid = GRIDS["cost_usd"]
    place = bucket_of(np.log(x), grid.first, grid.size)
    assert abs(representative(place, grid) / x - 1) <= RELATIVE_ERROR * (1 + 1e-9)


def test_what_lies_beyond_the_grid_belongs_to_its_last_bucket() -> None:
    """A receipt of absurd size must not crash the night or land in another lane's memory."""
    grid = GRIDS["duration_ms"]
    assert bucket_of(500.0, grid.first, grid.size) == grid.size - 1
    assert bucket_of(-500.0, grid.first, grid.size) == 0
