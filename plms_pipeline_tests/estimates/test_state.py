from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.kernels import bucket_of, observe
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.sketch import GRIDS
from plms_pipeline.estimates.state import empty_rows, fold, state_of
from plms_pipeline.estimates.summary import Summary

DAY = date(2026, 1, 1)
days = st.lists(st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=15), min_size=1, max_size=5)


def of(xs: list[float]) -> Summary:
    return summarise(np.zeros(len(xs), np.int32), 1, np.array(xs), "cost_usd", alpha=0.3)[0]


@given(days)
def test_receipts_added_one_by_one_give_the_fold_of_their_days(history: list[list[float]]) -> None:
    """The backtest adds receipts one by one, the live forecast folds days: only if both agree is proven what is served."""
    cell = (4200, "m")
    folded = fold([(DAY + timedelta(days=i), cell, of(xs)) for i, xs in enumerate(history)])
    rows = state_of("cost_usd", folded).rows
    grid = GRIDS["cost_usd"]
    stepped = empty_rows([0], [0], "cost_usd")
    for x in (x for xs in history for x in xs):
        observe(stepped, 0, math.log(x), bucket_of(math.log(x), grid.first, grid.size), METHOD.forgetting)
    np.testing.assert_array_equal(rows.counts, stepped.counts)
    np.testing.assert_allclose(rows.moments, stepped.moments, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(rows.sketches, stepped.sketches, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(rows.last, stepped.last)


@settings(max_examples=25)
@given(days, st.randoms())
def test_the_order_in_which_days_arrive_does_not_matter(history: list[list[float]], random: object) -> None:
    """A receipt that comes a week late must lead to the prior that it would have led to in time."""
    items = [(DAY + timedelta(days=i), (4200, name), of(xs)) for i, xs in enumerate(history) for name in ("a", "b")]
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined] - hypothesis' own random
    one, other = state_of("cost_usd", fold(items)), state_of("cost_usd", fold(shuffled))
    np.testing.assert_array_equal(one.rows.sketches, other.rows.sketches)
    np.testing.assert_array_equal(one.rows.moments, other.rows.moments)
    assert one.lanes == other.lanes
    assert one.providers == {"a": 0, "b": 1}
