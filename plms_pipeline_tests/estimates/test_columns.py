from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.method import METHOD


def brute_force(xs: list[float], alpha: float, forgetting: float) -> dict[str, float]:
    """One receipt after the other, as a person would write it down."""
    logs = [math.log(x) for x in xs if x > 0]
    a, b = 1.0, 0.0
    for x in xs:
        a, b = a * (1 - alpha), b * (1 - alpha) + alpha * x
    sums = [0.0] * 7
    previous = None
    for log_value in logs:
        sums = [value * forgetting for value in sums]
        sums[0] += 1
        sums[1] += log_value
        sums[2] += log_value**2
        if previous is not None:
            for place, value in enumerate((1.0, log_value, previous, log_value * previous)):
                sums[3 + place] += value
        previous = log_value
    return {
        "n": len(logs), "n_zero": len(xs) - len(logs), "log_mean": float(np.mean(logs)), "a": a, "b": b,
        "log_m2": float(np.var(logs) * len(logs)), **{f"m{place}": value for place, value in enumerate(sums)},
    }  # fmt: skip


@given(
    st.lists(st.one_of(st.floats(1e-3, 1e3), st.just(0.0)), min_size=1, max_size=60).filter(any),
    st.floats(0.01, 0.99),
    st.floats(0.5, 1.0),
)
def test_the_kernel_finds_what_a_plain_loop_finds(xs: list[float], alpha: float, forgetting: float) -> None:
    """The fast pass runs newest first; the definition runs oldest first. They must be the same numbers."""
    found = summarise(np.zeros(len(xs), np.int32), 1, np.array(xs), "cost_usd", alpha=alpha, forgetting=forgetting)[0]
    want = brute_force(xs, alpha, forgetting)
    assert (found.n, found.n_zero) == (want["n"], want["n_zero"])
    assert found.log_mean == pytest.approx(want["log_mean"], rel=1e-9, abs=1e-9)
    assert found.log_m2 == pytest.approx(want["log_m2"], rel=1e-9, abs=1e-7)
    # Both sums lose what is smaller than the last digit of their largest term.
    assert (found.ewma_a, found.ewma_b) == pytest.approx((want["a"], want["b"]), rel=1e-9, abs=1e-13 * max(1, *xs))
    np.testing.assert_allclose(found.moments, [want[f"m{place}"] for place in range(7)], rtol=1e-9, atol=1e-9)
    assert found.weights.sum() == pytest.approx(want["m0"], rel=1e-9)


@given(st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=40), st.floats(0.1, 10))
def test_other_units_shift_the_logs_and_scale_the_mean(xs: list[float], scale: float) -> None:
    """Dollars or cents: nothing but the unit may change."""
    one, other = (
        summarise(np.zeros(len(xs), np.int32), 1, np.array(xs) * factor, "cost_usd", alpha=0.3)[0]
        for factor in (1, scale)
    )
    assert other.log_mean == pytest.approx(one.log_mean + math.log(scale), abs=1e-9)
    assert other.log_m2 == pytest.approx(one.log_m2, abs=1e-7)
    assert other.ewma_b == pytest.approx(one.ewma_b * scale, rel=1e-9)


def test_groups_do_not_touch_each_other_and_unknown_values_are_nobodys() -> None:
    """A receipt without a cost says nothing about cost; another provider's receipt says nothing about this one."""
    groups = np.array([0, 1, 0, 1, 2], np.int32)
    found = summarise(groups, 4, np.array([1.0, 10.0, 2.0, np.nan, np.nan]), "cost_usd", alpha=0.3)
    assert sorted(found) == [0, 1]
    assert found[0].n == 2
    assert found[1].n == 1
    assert found[0].log_mean == pytest.approx(math.log(2) / 2)


def test_a_million_faded_receipts_cost_no_precision() -> None:
    """Weights that fade for years must neither overflow nor lose the newest receipts."""
    xs = np.full(1_000_000, 5.0)
    xs[-1] = 50.0
    found = summarise(np.zeros(xs.size, np.int32), 1, xs, "cost_usd", alpha=0.3)[0]
    assert found.n == xs.size
    assert found.moments[0] == pytest.approx(1 / (1 - METHOD.forgetting), rel=1e-12)
    assert found.ewma_b == pytest.approx(0.7 * 5.0 + 0.3 * 50.0, rel=1e-12)
