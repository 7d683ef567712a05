"""Are the features of new bars those that a look at the whole past would give?"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.models.market.bars import Floats
from plms_pipeline.models.training.lookback import LOOK_BACK, deviation, look_back, moved, seen, smoothed
from plms_pipeline.models.training.trailing import following_features, trail_of


def market(seed: int, bars: int, *, still: float) -> tuple[Floats, Floats]:
    """Closes and volumes of one symbol, with stretches in which neither moves."""
    rng = np.random.default_rng(seed)
    moves = np.where(rng.random(bars) < still, 0.0, rng.normal(0.0, 0.02, bars))
    volume = np.where(rng.random(bars) < still, 1000.0, rng.lognormal(10.0, 1.0, bars).round())
    return 10.0 ** rng.uniform(-6, 6) * np.exp(np.cumsum(moves)), volume


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    past=st.integers(LOOK_BACK, 400),
    new=st.integers(1, 130),
    symbols=st.integers(1, 4),
    still=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_features_of_new_bars_are_those_of_the_whole_past(
    seed: int, past: int, new: int, symbols: int, still: float
) -> None:
    """To the bit: a difference in the last place of a mean becomes any number where nothing varies (0/0 of rounding)."""
    made = [market(seed + number, past + new, still=still) for number in range(symbols)]
    trails: list[Any] = [trail_of(close[:past], volume[:past]) for close, volume in made]
    found, volatility = following_features(
        trails, np.array([close[past:] for close, _ in made]), np.array([volume[past:] for _, volume in made])
    )
    for number, (close, volume) in enumerate(made):
        whole = look_back(close, volume)
        expected = seen(whole)
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert np.array_equal(found[name][number], values[past:]), name
        assert np.array_equal(volatility[number], deviation(whole.returns)[past:])


def test_a_past_that_is_too_short_has_no_trail() -> None:
    """The next bar would have features of windows that are not full."""
    close, volume = market(1, LOOK_BACK, still=0.0)
    assert trail_of(close[1:], volume[1:]) is None
    assert trail_of(close, volume) is not None


@given(
    values=st.lists(st.sampled_from([0.0, 1.0, 1.0, 3.3, 1e-9, 7e5]), min_size=2, max_size=30),
    weight=st.floats(0.01, 0.99),
)
def test_one_step_is_one_step_of_the_mean(values: list[float], weight: float) -> None:
    """Pandas rounds the weight on its way; a step that does not would drift away from the mean that was trained on."""
    whole = smoothed(np.array(values), weight)
    stepped = whole[:1]
    for place in range(1, len(values)):
        stepped = moved(stepped, np.array([values[place]]), weight)
        assert stepped[0] == whole[place]
