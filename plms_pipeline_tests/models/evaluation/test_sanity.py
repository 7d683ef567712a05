"""Mistakes that look like skill: each is caught by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.sanity import is_shuffled, leaking_features, refuse_early_outcomes, refuse_shuffled


def bars(n: int = 300) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    at = pd.date_range("2024-01-01", periods=n, tz="UTC")
    frames = []
    for name in "AB":
        close = 100 * np.exp(np.cumsum(chance.normal(0, 0.01, n)))
        frames.append(pd.DataFrame({"timestamp": at, "symbol": name, "close": close}))
    return pd.concat(frames, ignore_index=True)


def test_shuffled_time_is_caught_by_name() -> None:
    """Features of a shuffled path revert to the mean, and any model finds that."""
    frame = bars()
    refuse_shuffled(frame)
    rows = frame["symbol"] == "B"
    frame.loc[rows, "close"] = frame.loc[rows, "close"].sample(frac=1, random_state=3).to_numpy()
    with pytest.raises(BadInput, match="Prices of B jump") as caught:
        refuse_shuffled(frame)
    assert caught.value.code == "shuffled_time"


def test_no_honest_market_is_taken_for_a_shuffled_one() -> None:
    """Two hundred walks with heavy tails, some with a bounce between bid and ask."""
    chance = np.random.default_rng(11)
    for number in range(200):
        steps = 0.01 * chance.standard_t(3, 400)
        bounce = 0.003 * chance.choice([-1, 1], 400) if number % 2 else 0.0
        assert not is_shuffled(np.exp(np.cumsum(steps) + bounce))
    assert not is_shuffled(chance.permutation(np.arange(1.0, 100.0)))


def test_an_outcome_that_was_known_is_caught() -> None:
    """A horizon of nothing predicts perfectly."""
    frame = pd.DataFrame({"made": [1, 2, 3], "known": [2, 2, 4]})
    with pytest.raises(BadInput, match="1 predictions were made") as caught:
        refuse_early_outcomes(frame, made_at="made", known_at="known")
    assert caught.value.code == "outcome_before_prediction"
    refuse_early_outcomes(frame.drop(index=1), made_at="made", known_at="known")


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """One honest feature and the three usual ways to see the future."""
    close = frame.groupby("symbol")["close"]
    return pd.DataFrame(
        {
            "momentum": close.pct_change(5),
            "tomorrow": close.shift(-1) / frame["close"],
            "rank": close.rank(pct=True),
            "filled": close.transform(lambda prices: prices.where(prices.index % 7 == 0).bfill()),
        }
    )


def test_features_that_see_the_future_are_caught_by_name() -> None:
    """A shift the wrong way, a rank over the whole sample, a gap filled from behind."""
    frame = bars(120)
    cuts = [frame["timestamp"].iloc[60], frame["timestamp"].iloc[95]]
    assert leaking_features(features, frame, timestamp="timestamp", cuts=cuts) == ("tomorrow", "rank", "filled")
    honest = leaking_features(lambda rows: features(rows)[["momentum"]], frame, timestamp="timestamp", cuts=cuts)
    assert honest == ()
