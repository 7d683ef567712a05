"""When a budget is gone, give or take: laws of the interval, textbook limits, and processes that are let happen."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.budget.depletion import FACTORY_VARIATION, STRENGTH, Burnt, Lumps, depletion_interval

Z_90 = 1.6448536269514722

usd = st.floats(1e-6, 1e6)
minutes = st.floats(1 / 60, 1e5)
receipts = st.integers(1, 10_000)
variation = st.floats(0, 100)


def ends(free: float, run: Burnt, costs: float, durations: float, seen: Burnt | None = None) -> tuple[float, float]:
    return depletion_interval(free, seen or run, run, costs=costs, durations=durations)


@given(usd, usd, minutes, receipts, variation, variation, st.data())
def test_the_interval_holds_its_point_and_is_never_negative(
    free: float, spent: float, took: float, n: int, costs: float, durations: float, data: st.DataObject
) -> None:
    """A runway whose interval does not hold the runway is one of two wrong numbers."""
    seen = Burnt(
        spent * data.draw(st.floats(1e-3, 1)), took * data.draw(st.floats(1e-3, 1)), data.draw(st.integers(1, n))
    )
    low, high = ends(free, Burnt(spent, took, n), costs, durations, seen)
    assert 0 <= low <= free / seen.rate <= high < math.inf


@given(usd, usd, minutes, receipts, variation, variation, st.floats(0, 10), st.sampled_from(["costs", "durations"]))
def test_more_spread_of_costs_or_durations_never_makes_the_interval_narrower(
    free: float, spent: float, took: float, n: int, costs: float, durations: float, more: float, where: str
) -> None:
    """Uneven attempts that looked surer than even ones were why it held in two of three cases."""
    run = Burnt(spent, took, n)
    narrow = ends(free, run, costs, durations)
    wide = ends(free, run, costs + more * (where == "costs"), durations + more * (where == "durations"))
    assert wide[0] <= narrow[0] * (1 + 1e-9)
    assert wide[1] >= narrow[1] * (1 - 1e-9)


@given(usd, usd, minutes, receipts, variation, variation)
def test_more_receipts_of_the_same_rate_never_make_the_interval_wider(
    free: float, spent: float, took: float, n: int, costs: float, durations: float
) -> None:
    """Smaller lumps and a better known rate are both good news."""
    few, many = (ends(free, Burnt(spent, took, count), costs, durations) for count in (n, 2 * n))
    assert few[0] <= many[0] * (1 + 1e-9)
    assert few[1] >= many[1] * (1 - 1e-9)


@given(usd, usd, minutes, receipts, variation, variation, st.floats(0.01, 100))
def test_neither_currency_nor_unit_of_time_matters(
    free: float, spent: float, took: float, n: int, costs: float, durations: float, factor: float
) -> None:
    """Cents and hours must not tell another story than dollars and minutes."""
    base = ends(free, Burnt(spent, took, n), costs, durations)
    assert ends(free * factor, Burnt(spent * factor, took, n), costs, durations) == pytest.approx(base, rel=1e-6)
    slower = ends(free, Burnt(spent, took * factor, n), costs, durations)
    assert slower == pytest.approx((base[0] * factor, base[1] * factor), rel=1e-6)


@given(usd, usd, minutes, receipts)
def test_without_any_spread_only_the_last_receipt_is_waited_for(free: float, spent: float, took: float, n: int) -> None:
    """Equal attempts at equal distances take a budget when they must, rounded up to a receipt: half of one on the average."""
    run = Burnt(spent, took, n)
    assert ends(free, run, 0.0, 0.0) == pytest.approx((free / run.rate, (free + spent / n / 2) / run.rate), rel=1e-6)


def test_many_receipts_give_the_variance_of_a_cumulative_process() -> None:
    """Textbook: n of the past and m to come make (c²_x + c²_t) (1/n + 1/m) of the logarithm's variance."""
    low, high = ends(4e6, Burnt(1e6, 1e6, 1_000_000), 2.0, 1.5)
    reach = Z_90 * math.sqrt(3.5 * (1e-6 + 0.25e-6))
    assert math.log(4e6 / low) == pytest.approx(reach, rel=0.01)
    assert math.log(high / 4e6) == pytest.approx(reach, rel=0.01)


def test_the_ends_are_the_moments_whose_spend_reaches_the_budget_one_time_of_twenty_and_nineteen() -> None:
    """What Newton's steps find is what a search through all moments finds."""
    free, run, costs, durations = 1.2, Burnt(0.8, 8.0, 4), 1.5, 2.0

    def reach(level: float, sign: int) -> float:
        """The first s beyond which the spend until e^-s (or e^s) of the expected moment is further off than z deviations."""
        steps = np.arange(0, 12, 1e-5)
        spread = np.sqrt(3.5 / 4 + np.log1p(3.5 * 0.2 / level * np.exp(sign * steps)))
        return float(steps[np.argmax(steps >= Z_90 * spread)])

    last = free + 0.2 * 2.5 / 2
    expected = (free / 0.1 * math.exp(-reach(free, 1)), last / 0.1 * math.exp(reach(last, -1)))
    assert ends(free, run, costs, durations) == pytest.approx(expected, rel=1e-4)


def test_a_window_moves_the_rate_as_far_as_it_contradicts_the_run_by_more_than_chance() -> None:
    """Ten noisy minutes must not outvote hours; a change of pace that many receipts show must."""
    run = Burnt(100.0, 1000.0, 500)
    alone = ends(50.0, run, 1.0, 1.0)
    noise = ends(50.0, run, 1.0, 1.0, Burnt(1.1, 10.0, 2))
    assert noise == pytest.approx(alone)
    # What is told as the point is inside, however little speaks for it.
    assert ends(50.0, run, 1.0, 1.0, Burnt(1.5, 10.0, 2)) == pytest.approx((50 / 0.15, alone[1]))
    fast = Burnt(60.0, 10.0, 300)
    changed, window = ends(50.0, run, 1.0, 1.0, fast), ends(50.0, fast, 1.0, 1.0)
    assert changed == pytest.approx(window, rel=0.1)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_the_spread_of_many_amounts_is_their_own_and_that_of_few_the_factory_s(amounts: list[float]) -> None:
    """Two equal receipts do not prove that all are equal."""
    values = np.asarray(amounts)
    told = Lumps(len(values), float((values**2).sum() / values.sum() ** 2)).variation
    own = float(((values - values.mean()) ** 2).sum() / values.mean() ** 2)
    assert told == pytest.approx((own + STRENGTH * FACTORY_VARIATION) / (len(values) - 1 + STRENGTH), abs=1e-6)
    assert told > 0


def test_nothing_known_is_the_spread_of_the_factory() -> None:
    """A log-normal of spread 1.2 varies by 1.79 of its mean."""
    assert Lumps().variation == Lumps(1, 1.0).variation == pytest.approx(1.7946**2, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "gap"),
    [
        ("poisson", lambda rng, n: rng.exponential(1.0, n)),
        ("regular", lambda rng, n: rng.uniform(0.9, 1.1, n)),
        ("heavy", lambda rng, n: rng.lognormal(-0.72, 1.2, n)),
    ],
)
def test_the_interval_of_a_process_that_happens_holds_nine_times_of_ten(
    name: str, gap: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    """The Poisson process was the only one for which it did; where the spread is known, all of them must."""
    rng, held = np.random.default_rng(7), 0
    costs, durations = math.expm1(0.64), {"poisson": 1.0, "regular": 0.01 / 3, "heavy": math.expm1(1.44)}[name]
    for _ in range(300):
        at, cost = np.cumsum(gap(rng, 600)), rng.lognormal(0, 0.8, 600)
        spent, now = float(cost[:30].sum()), float(at[29])
        gone = float(at[np.searchsorted(np.cumsum(cost), spent + 30.0)]) - now
        low, high = ends(30.0, Burnt(spent, now, 30), costs, durations)
        held += low <= gone <= high
    assert 0.86 <= held / 300 <= 0.97
