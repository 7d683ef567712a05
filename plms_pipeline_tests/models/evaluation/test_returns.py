"""What the portfolio earned in each period, and what cannot be a return."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.returns import Returns, paired, portfolio_path, returns_of


def test_price_levels_are_refused_by_name() -> None:
    """The sources judged prices as returns: a Sharpe ratio of 0.9 without any model, and no drawdown ever."""
    prices = 100 * np.exp(np.cumsum(np.full(50, 0.001)))
    with pytest.raises(BadInput, match="price levels") as caught:
        returns_of(prices, kind="simple", name="close")
    assert caught.value.code == "levels_for_returns"
    assert "`close`" in str(caught.value)


def test_price_levels_of_pennies_are_refused_too() -> None:
    """A price of 0.30 is small enough to be a return, but it never loses and hardly moves."""
    pennies = 0.3 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 200)))
    with pytest.raises(BadInput, match="close to the last"):
        returns_of(pennies, kind="simple")
    cash = returns_of(0.0001 + 0.00001 * np.sin(np.arange(200) / 30), kind="simple")
    assert cash.values.size == 200


def test_text_among_returns_is_refused() -> None:
    """`n/a` that silently becomes unknown hides a broken feed."""
    with pytest.raises(BadInput, match="`r` holds something that is no number"):
        portfolio_path(pd.DataFrame({"t": [1], "r": ["n/a"]}), "r", timestamp="t", kind="simple")


def test_a_simple_return_cannot_lose_more_than_everything() -> None:
    """Equity below zero has drawdowns of more than all there is."""
    with pytest.raises(BadInput, match="more than everything"):
        returns_of(np.array([0.01, 0.0, -1.2]), kind="simple")


def test_infinite_returns_are_refused() -> None:
    """A price of zero in the feed must not become an infinite profit."""
    with pytest.raises(BadInput, match="infinite"):
        returns_of(np.array([0.01, np.inf]), kind="log")


def test_log_returns_are_judged_as_the_simple_returns_that_they_mean() -> None:
    """Otherwise the same path would have two total returns."""
    made = returns_of(np.log1p(np.array([0.1, -0.05])), kind="log")
    assert made.values == pytest.approx([0.1, -0.05])


def test_unknown_returns_are_left_out_and_counted() -> None:
    """An unknown return that counts as 0 makes every risk smaller."""
    made = returns_of(np.array([0.01, np.nan, 0.02]), kind="simple")
    assert (made.values.tolist(), made.dropped) == ([0.01, 0.02], 1)


def test_returns_and_benchmark_are_paired_before_anything_is_left_out() -> None:
    """Leaving out each one's gaps on its own shifts one against the other, and beta becomes noise."""
    ours, theirs = paired(np.array([0.01, np.nan, 0.03]), np.array([0.1, 0.2, np.nan]), kind="simple")
    assert (ours.values.tolist(), theirs.values.tolist(), ours.dropped) == ([0.01], [0.1], 2)


def test_returns_and_benchmark_of_different_lengths_are_refused() -> None:
    """Cutting the longer one compares different days."""
    with pytest.raises(BadInput, match="same periods"):
        paired(np.array([0.01]), np.array([0.1, 0.2]), kind="simple")


def test_symbols_of_one_moment_are_one_return_of_the_portfolio() -> None:
    """Symbols written one after the other are a path that nobody ever held."""
    frame = pd.DataFrame({"t": [2, 1, 2, 1], "r": [0.04, 0.01, np.nan, 0.03]})
    path = portfolio_path(frame, "r", timestamp="t", kind="simple")
    assert path.to_dict() == pytest.approx({1: 0.02, 2: 0.04})
    assert portfolio_path(frame, "r", timestamp="t", kind="simple", weighting="sum")[1] == pytest.approx(0.04)


def test_log_returns_of_symbols_are_averaged_as_simple_ones() -> None:
    """Half of +100 % and half of -50 % is +25 %, not the 0 % of their logarithms."""
    frame = pd.DataFrame({"t": [1, 1, 2, 2], "r": [np.log(2), np.log(0.5), 0.0, 0.0]})
    assert portfolio_path(frame, "r", timestamp="t", kind="log")[1] == pytest.approx(0.25)


def test_a_moment_whose_returns_are_all_unknown_is_unknown() -> None:
    """A sum over nothing is 0 to pandas, and would be a day without risk."""
    frame = pd.DataFrame({"t": [1, 2], "r": [np.nan, 0.01]})
    assert portfolio_path(frame, "r", timestamp="t", kind="simple", weighting="sum").isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (pd.DataFrame({"t": [1]}), BadInput, "no column `r`"),
        (pd.DataFrame({"r": [0.1]}), BadInput, "no column `t`"),
        (pd.DataFrame({"t": [], "r": []}), NoData, "no rows"),
        (pd.DataFrame({"t": [None, 1], "r": [0.1, 0.1]}), BadInput, "1 rows have no `t`"),
    ],
)
def test_a_frame_that_is_no_path_is_refused_by_name(frame: pd.DataFrame, error: type, words: str) -> None:
    """Whoever reads the message must know which column to mend."""
    with pytest.raises(error, match=words):
        portfolio_path(frame, "r", timestamp="t", kind="simple")


@pytest.mark.parametrize("a_year", [0.0, -1.0, float("nan")])
def test_a_year_has_periods_in_it(a_year: float) -> None:
    """The sources annualised bars of a quarter of an hour as if they were days."""
    with pytest.raises(BadInput, match="periods_per_year"):
        Returns(np.zeros(1), a_year)
