"""Intervals by resampling blocks: against brute force, against theory, and around the very figure that is shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation import blocks
from plms_pipeline.models.evaluation.bootstrap import (
    bootstrap,
    bootstrap_information,
    information_coefficient,
    interval_of,
    resampled_figures,
)
from plms_pipeline.models.evaluation.returns import Floats, Returns
from plms_pipeline.models.evaluation.risk import risk_figures


def daily(n: int = 500, seed: int = 1) -> Returns:
    return Returns(np.random.default_rng(seed).normal(0.0005, 0.01, n))


def drawn_paths(r: Floats, drawn: blocks.Plan) -> list[Floats]:
    """Every resample written out, period by period."""
    inside = np.arange(drawn.length)
    return [r[np.concatenate([(start + inside) % drawn.n for start in starts])[: drawn.n]] for starts in drawn.starts.T]


@pytest.mark.parametrize(("n", "length"), [(30, 7), (30, 30), (30, 1), (12, 4)])
def test_resampled_figures_are_those_of_the_paths_written_out(n: int, length: int) -> None:
    """Folding blocks is fast, and worth nothing if it gives other figures than `risk`."""
    r = daily(n)
    drawn = blocks.plan(n, length, resamples=25, seed=3)
    fast = resampled_figures(r, drawn)
    for number, one in enumerate(drawn_paths(r.values, drawn)):
        slow = risk_figures(Returns(one)).values
        for name, values in fast.items():
            expected = np.nan if slow[name] is None else slow[name]
            assert values[number] == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), name


def test_a_path_that_loses_everything_is_resampled_without_a_word() -> None:
    """The logarithm of nothing is minus infinity, and must not become an error or a NaN."""
    r = np.where(np.arange(60) == 30, -1.0, 0.01)
    drawn = blocks.plan(60, 5, resamples=40, seed=0)
    fast = resampled_figures(Returns(r), drawn)
    ruined = np.array([(one == -1.0).any() for one in drawn_paths(r, drawn)])
    assert (fast["max_drawdown"] == -1.0).tolist() == ruined.tolist()
    assert (fast["total_return"] == -1.0).tolist() == ruined.tolist()


def test_every_interval_holds_the_figure_that_is_shown_beside_it() -> None:
    """The sources put an annualised interval around a ratio per period: 0.06 in [-3.2, 4.8]."""
    r = daily()
    found = bootstrap(r, resamples=500)
    figures = risk_figures(r)
    for name, interval in found.intervals.items():
        assert interval.point == figures[name]
        assert interval.low is not None
        assert interval.low <= interval.point <= interval.high, name


def test_the_same_seed_gives_the_same_limits() -> None:
    """A summary that is made again must have the same bytes."""
    one, same, other = (bootstrap(daily(), resamples=200, seed=seed) for seed in (4, 4, 5))
    assert one == same
    assert one.intervals["sharpe"] != other.intervals["sharpe"]


def test_what_hangs_together_makes_wider_intervals() -> None:
    """Single periods drawn from a trending market promise twice the certainty that there is."""
    chance = np.random.default_rng(2)
    shocks = chance.normal(0, 0.01, 2_000)
    trending = shocks.copy()
    for t in range(1, trending.size):
        trending[t] += 0.7 * trending[t - 1]
    trending = np.clip(trending, -0.5, None)
    as_blocks, single = (bootstrap(Returns(trending), resamples=400, length=length) for length in (None, 1))
    widths = [found.intervals["average_return"] for found in (as_blocks, single)]
    wide, narrow = (interval.high - interval.low for interval in widths)  # type: ignore[operator] # both are known
    assert 1.7 < wide / narrow < 3.0
    assert as_blocks.block_length > 15


def test_blocks_are_at_least_of_the_cube_root() -> None:
    """Volatility comes in spells that the returns themselves do not show."""
    assert blocks.block_length(daily(1_000).values) == 10
    assert blocks.block_length(np.zeros(27)) == 3
    assert blocks.block_length(np.zeros(0)) == 1


@pytest.mark.parametrize(("shift", "scale"), [(0.05, 1.0), (-1.0, 1.0), (0.0, 1e-4), (3.0, 100.0)])
def test_the_length_of_blocks_knows_neither_level_nor_unit(shift: float, scale: float) -> None:
    """Of a fund that rises every day alike, blocks as long as three roots would be drawn: too wide an interval."""
    chance = np.random.default_rng(4)
    path = chance.normal(0, 0.01, 900)
    for t in range(1, path.size):
        path[t] += 0.3 * path[t - 1]
    assert 10 <= blocks.block_length(path) < 60
    assert blocks.block_length(shift + scale * path) == blocks.block_length(path)


def test_the_interval_of_the_mean_is_the_one_of_theory() -> None:
    """For independent periods the limits are those of the normal distribution."""
    r = daily(2_000)
    interval = bootstrap(r, resamples=4_000).intervals["average_return"]
    width = 2 * 1.96 * r.values.std() / np.sqrt(2_000)
    assert interval.high - interval.low == pytest.approx(width, rel=0.08)


def test_a_handful_of_periods_has_no_interval() -> None:
    """Nine returns say nothing about the tenth, and the limits would look like knowledge."""
    assert bootstrap(daily(9)).intervals["sharpe"].low is None


def test_a_figure_that_resamples_do_not_have_gets_no_interval() -> None:
    """A Sortino ratio without losses is unknown, not huge."""
    found = bootstrap(Returns(np.linspace(0.001, 0.01, 50)), resamples=50)
    assert (found.intervals["sortino"].point, found.intervals["sortino"].low) == (None, None)
    found = bootstrap(Returns(np.full(50, 0.001)), resamples=50)
    assert (found.intervals["sharpe"].point, found.intervals["sharpe"].low) == (None, None)


def test_the_information_coefficient_is_spearmans() -> None:
    """One outlier must neither make nor break a model."""
    chance = np.random.default_rng(8)
    x, y = chance.normal(size=200), chance.normal(size=200)
    y = y + 0.3 * x
    assert information_coefficient(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert information_coefficient(np.ones(5), np.arange(5.0)) is None
    assert information_coefficient(np.ones(1), np.ones(1)) is None


def test_symbols_that_move_together_are_no_further_evidence() -> None:
    """Ten copies of one symbol have the interval of one: a market that moves as one is not ten experiments."""
    chance = np.random.default_rng(9)
    x, t = chance.normal(size=300), pd.Series(np.arange(300))
    y = chance.normal(size=300) + 0.2 * x
    one = bootstrap_information(t, x, y, resamples=300)
    ten = bootstrap_information(pd.concat([t] * 10), np.tile(x, 10), np.tile(y, 10), resamples=300)
    assert ten.point == pytest.approx(one.point, abs=1e-9)
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high), abs=1e-6)


def test_the_interval_of_the_information_coefficient_is_the_one_of_theory() -> None:
    """For independent rows its deviation is about 1 / √n."""
    chance = np.random.default_rng(10)
    x, y = chance.normal(size=(2, 1_000))
    found = bootstrap_information(pd.Series(np.repeat(np.arange(500), 2)), x, y, resamples=2_000)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(1_000), rel=0.12)


def test_too_few_moments_have_no_interval() -> None:
    """Many symbols at nine moments are nine draws."""
    x = np.arange(90.0)
    assert bootstrap_information(pd.Series(np.repeat(np.arange(9), 10)), x, x[::-1].copy()).low is None


def test_a_level_is_a_share() -> None:
    """95 for 0.95 would otherwise be a quantile error from inside numpy."""
    with pytest.raises(BadInput, match="between 0 and 1"):
        interval_of(0.0, np.zeros(3), 95.0)


@pytest.mark.parametrize(("n", "resamples"), [(0, 10), (10, 0)])
def test_nothing_cannot_be_drawn(n: int, resamples: int) -> None:
    """The message says what must be 1 or more."""
    with pytest.raises(BadInput, match="1 or more"):
        blocks.plan(n, 3, resamples=resamples, seed=0)
