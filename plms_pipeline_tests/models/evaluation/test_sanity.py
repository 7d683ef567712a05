"""Mistakes that look like skill: each is caught by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.sanity import (
    is_shuffled,
    refuse_early_outcomes,
    refuse_levels,
    refuse_look_ahead,
    refuse_returns_as_prices,
    refuse_shuffled,
)
from plms_pipeline.models.market.bars import Bars, Floats
from plms_pipeline.models.training.features import backward_features
from plms_pipeline_tests.models.worlds import small_bars, small_training


def with_closes(bars: Bars, close: Floats) -> Bars:
    """The same moments with other prices."""
    return replace(bars, open=close, high=close, low=close, close=close)


def last_symbol(bars: Bars) -> tuple[str, slice]:
    return list(bars.slices())[-1]


def test_shuffled_time_is_caught_by_name() -> None:
    """Features of a shuffled path revert to the mean, and any model finds that."""
    bars = small_bars()
    refuse_shuffled(bars)
    symbol, rows = last_symbol(bars)
    close = bars.close.copy()
    np.random.default_rng(3).shuffle(close[rows])
    with pytest.raises(BadInput, match=f"shuffled_time: prices of {symbol} jump") as caught:
        refuse_shuffled(with_closes(bars, close))
    assert caught.value.code == "shuffled_time"


def test_no_honest_market_is_taken_for_a_shuffled_one() -> None:
    """Two hundred walks with heavy tails, some with a bounce between bid and ask."""
    chance = np.random.default_rng(11)
    for number in range(200):
        steps = 0.01 * chance.standard_t(3, 400)
        bounce = 0.003 * chance.choice([-1, 1], 400) if number % 2 else 0.0
        assert not is_shuffled(np.exp(np.cumsum(steps) + bounce))
    assert not is_shuffled(chance.permutation(np.arange(1.0, 100.0)))


def test_returns_in_place_of_prices_are_caught_by_name() -> None:
    """Growth factors look like prices that hardly move, and their returns like a strategy that reverts to the mean."""
    bars = small_bars()
    refuse_returns_as_prices(bars)
    growth = 1.0 + np.random.default_rng(5).normal(0.0, 0.01, bars.count)
    with pytest.raises(BadInput, match="prices look like returns") as caught:
        refuse_returns_as_prices(with_closes(bars, growth))
    assert caught.value.code == "returns_as_prices"


def test_an_outcome_that_was_known_is_caught() -> None:
    """A horizon of nothing predicts perfectly."""
    frame = pd.DataFrame({"made": [1, 2, 3], "known": [2, 2, 4]})
    with pytest.raises(BadInput, match="1 predictions were made") as caught:
        refuse_early_outcomes(frame, made_at="made", known_at="known")
    assert caught.value.code == "outcome_before_prediction"
    refuse_early_outcomes(frame.drop(index=1), made_at="made", known_at="known")


@pytest.mark.parametrize("column", ["realised_return", "next_return", "benchmark_return"])
def test_price_levels_in_place_of_returns_are_caught_by_name(column: str) -> None:
    """The source's whole evaluation was of price levels: a hit rate of one, and no drawdown at all."""
    frame = small_training().predictions.frame()
    refuse_levels(frame)
    frame[column] = 100.0 * np.exp(np.cumsum(frame["next_return"].to_numpy()))
    with pytest.raises(BadInput, match=f"price levels .{column}: median") as caught:
        refuse_levels(frame)
    assert caught.value.code == "levels_as_returns"


def cheating(bars: Bars, rows: slice) -> Mapping[str, Floats]:
    """The honest features and the three usual ways to see the future."""
    close = pd.Series(bars.close[rows])
    return {
        **backward_features(bars, rows),
        "tomorrow": (close.shift(-1) / close - 1.0).fillna(0.0).to_numpy(),
        "rank": close.rank(pct=True).to_numpy(),
        "filled": close.where(close.index % 7 == 0).bfill().ffill().to_numpy(),
    }


def test_features_that_see_the_future_are_caught_by_name() -> None:
    """A shift the wrong way, a rank over the whole sample, a gap filled from behind."""
    refuse_look_ahead(small_bars(), backward_features)
    with pytest.raises(BadInput, match=r"3 × feature that changes .*tomorrow of .*rank of .*filled of ") as caught:
        refuse_look_ahead(small_bars(), cheating)
    assert caught.value.code == "look_ahead_features"


def test_a_feature_that_nobody_uses_may_see_what_it_likes() -> None:
    """An experiment that leaves it out is honest."""
    refuse_look_ahead(small_bars(), cheating, ("momentum_32", "rsi_14"))
    with pytest.raises(BadInput, match=r"1 × feature.*rank of"):
        refuse_look_ahead(small_bars(), cheating, ("momentum_32", "rank"))
