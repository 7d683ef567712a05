from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.estimates.adaptive import NARROWEST, WIDEST, Scan, corrections_of_forecasts, distance

RIGHT = np.abs(np.random.default_rng(1).standard_normal(4000)) / 1.6448536


@pytest.mark.parametrize("truth", [0.9, 1.0, 1.15, 1.3])
def test_the_factor_finds_how_wrong_the_intervals_are_from_both_sides(truth: float) -> None:
    """Outcomes that scatter wider or closer than forecast must widen or narrow the next night's intervals by as much."""
    scan = Scan.start(1)
    scan.add_day(np.zeros(RIGHT.size, np.int64), RIGHT * truth)
    assert scan.current()[0].value == pytest.approx(truth, rel=0.06)


def test_a_lane_without_history_takes_the_factor_of_all_lanes() -> None:
    """A new lane must not start from the assumption that all is well while every other lane has been too narrow."""
    scan = Scan.start(2)
    scan.add_day(np.zeros(RIGHT.size, np.int64), RIGHT * 1.3)
    assert scan.current()[1].value == pytest.approx(1.3, rel=0.06)
    assert scan.current()[1].n == 0


@settings(max_examples=30)
@given(st.lists(st.floats(0, 50), max_size=50))
def test_no_history_can_push_the_factor_beyond_its_limits(found: list[float]) -> None:
    """One absurd day may widen an interval and never make it vanish."""
    scan = Scan.start(1)
    scan.add_day(np.zeros(len(found), np.int64), np.minimum(np.array(found), 6.0))
    assert NARROWEST <= scan.current()[0].value <= WIDEST


def test_a_forecast_is_corrected_by_earlier_days_only() -> None:
    """A factor that knew the outcomes of its own day would make the backtest look better than the service."""
    lanes = np.zeros(8000, np.int64)
    made = np.repeat([1, 2], 4000)
    distances = np.concatenate([RIGHT * 1.3, RIGHT * 1.3])
    factors, held = corrections_of_forecasts(lanes, made, made, distances, np.ones(8000), n_lanes=1, today=2)
    assert factors[:4000] == pytest.approx(1.0)
    assert factors[4000] == pytest.approx(1.3, rel=0.06)
    assert held[0].n == 4000


def test_a_long_task_counts_on_the_day_it_ended() -> None:
    """A task that runs for a week says nothing about the intervals of the days in between."""
    factors, _ = corrections_of_forecasts(
        np.zeros(2, np.int64), np.array([1, 3]), np.array([5, 3]), np.array([6.0, 0.1]), np.ones(2), n_lanes=1, today=9
    )
    assert factors == pytest.approx(1.0)


def test_distance_is_one_at_the_ends_and_zero_outcomes_are_placed() -> None:
    """Zero costs are facts; taking their logarithm must not make the night fail or the factor explode."""
    low, median, high = np.full(5, 1.0), np.full(5, 2.0), np.full(5, 8.0)
    actual = np.array([1.0, 2.0, 8.0, 4.0, 0.0])
    assert distance(low, median, high, actual).tolist() == pytest.approx([1.0, 0.0, 1.0, 0.5, 6.0])
    assert distance(np.zeros(1), np.ones(1), np.ones(1) * 2, np.zeros(1)).tolist() == [0.0]


def spread_evenly(n: int) -> np.ndarray:
    """Distances of n outcomes of a right method without luck."""
    return np.interp((np.arange(n) + 0.5) / n, np.linspace(0, 1, RIGHT.size), np.sort(RIGHT))


@pytest.mark.parametrize("truth", [0.85, 1.3])
def test_outcomes_that_come_in_batches_move_other_lanes_less(truth: float) -> None:
    """A hundred tasks of one family are a few outcomes: counted in full they overrode the assumption in either direction."""
    scan = Scan.start(2)
    scan.add_day(np.zeros(100, np.int64), spread_evenly(100) * truth)
    independent, dependent = scan.current(1.0)[1].value, scan.current(6.0)[1].value
    assert abs(dependent - 1.0) < abs(independent - 1.0) - 0.03
    scan.add_day(np.zeros(3000, np.int64), spread_evenly(3000) * truth)
    assert scan.current(6.0)[1].value == pytest.approx(scan.current(1.0)[1].value, rel=0.04)


def test_few_outcomes_leave_a_margin() -> None:
    """The plain quantile of few outcomes holds the next one too seldom (Vovk et al. 2005); without any there is no margin."""
    scan = Scan.start(1)
    assert scan.current(6.0)[0].value == pytest.approx(1.0)
    scan.add_day(np.zeros(40, np.int64), spread_evenly(40))
    assert 1.01 < scan.current()[0].value < 1.1


def test_one_bad_day_is_not_answered_twice() -> None:
    """The state widens after a bad day by itself; doubling the interval on top of it made the days after cover 98 of 100."""
    scan = Scan.start(1)
    scan.add_day(np.zeros(165, np.int64), RIGHT[:165] * 4.0)
    assert scan.current(4.0)[0].value <= 1.4


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000))
def test_a_scan_in_one_go_is_the_scan_day_by_day(days: int, seed: int) -> None:
    """Tonight's factors must be those that tomorrow's longer scan finds for today."""
    rng = np.random.default_rng(seed)
    n = 4 * days
    ended = np.sort(rng.integers(0, days + 1, n))
    made = ended - rng.integers(0, 3, n)
    lanes, distances = rng.integers(0, 2, n), np.abs(rng.standard_normal(n))
    today = int(rng.integers(0, days + 2))
    known = ended < today
    whole, _ = corrections_of_forecasts(lanes, made, ended, distances, np.ones(n), n_lanes=2, today=days + 5)
    _, held = corrections_of_forecasts(
        lanes[known], made[known], ended[known], distances[known], np.ones(known.sum()), n_lanes=2, today=today
    )
    for i in np.flatnonzero(made == today):
        assert whole[i] == pytest.approx(held[lanes[i]].value, rel=1e-12)
