from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Floats, canonical
from plms_pipeline.models.training.features import (
    WARM_UP,
    backward_features,
    features,
    following,
    look_ahead,
    realised_volatility,
    relative_strength,
)
from plms_pipeline_tests.models.worlds import market, small_bars

FEATURES = (
    "log_return_1", "log_return_5", "momentum_32", "rsi_14", "ema_ratio_12_26", "ema_distance_50", "macd_hist",
    "bollinger_band_width", "realised_vol_20", "volume_zscore", "regime_score", "rolling_skew_30", "drawdown", "extra_alt",
)  # fmt: skip


@settings(max_examples=15)
@given(st.integers(WARM_UP, 398), st.integers(0, 2**31), st.floats(0.1, 10.0))
def test_no_feature_of_the_past_changes_when_the_future_does(cut: int, seed: int, factor: float) -> None:
    """One feature that looks ahead turns noise into a Sharpe ratio that nobody will ever be paid."""
    bars = small_bars(1)
    later = np.arange(bars.count) > cut
    noise = np.where(later, factor * np.random.default_rng(seed).uniform(0.5, 2.0, bars.count), 1.0)
    other = replace(
        bars,
        **{name: values * noise for name, values in bars.numbers().items()},
        extras={"alt": np.where(later, 99.0, bars.extras["alt"])},
    )
    assert np.array_equal(features(bars).values[: cut + 1], features(other).values[: cut + 1], equal_nan=True)


def test_our_features_do_not_look_ahead() -> None:
    """The check that guards other people's features must find ours innocent."""
    assert look_ahead(small_bars(2)) is None


def cheating(bars: Bars, rows: slice) -> dict[str, Floats]:
    close = bars.close[rows]
    ranks = np.argsort(np.argsort(close)) / close.size
    return {
        **backward_features(bars, rows),
        "tomorrow": np.append(np.diff(close), 0.0),
        "rank_in_history": ranks,
        "centred_mean": np.convolve(close, np.ones(5) / 5, mode="same"),
    }


def test_features_that_look_ahead_are_named() -> None:
    """The source ranked volatility over the whole sample; such features must be caught by name, and only they."""
    found = look_ahead(small_bars(2), cheating)
    assert found is not None
    assert found.name == "look_ahead_features"
    assert {offender.split(" of ")[0] for offender in found.offenders} == {
        "tomorrow",
        "rank_in_history",
        "centred_mean",
    }


def test_a_price_in_other_units_has_the_same_features() -> None:
    """One model serves symbols of four dollars and of four thousand."""
    bars = small_bars(1)
    dear = {name: getattr(bars, name) * 1_000.0 for name in ("open", "high", "low", "close")}
    assert features(replace(bars, **dear)).values[WARM_UP:] == pytest.approx(features(bars).values[WARM_UP:], abs=1e-9)


def test_a_symbol_has_the_same_features_alone_and_in_company() -> None:
    """A window that reaches into the neighbour's history is a jump of hundreds of per cent."""
    bars = small_bars(3)
    alone = canonical(bars.raw().take(np.arange(400, 800)))
    assert np.array_equal(features(alone).values, features(bars).values[400:800], equal_nan=True)


def test_the_first_bars_have_no_features() -> None:
    """Windows that are not full are made of what is not there."""
    found = features(small_bars(2))
    assert found.names == FEATURES
    assert not found.usable[:WARM_UP].any()
    assert not found.usable[400 : 400 + WARM_UP].any()
    assert found.usable[WARM_UP:400].all()
    assert np.isfinite(found.values[found.usable]).all()


def test_known_values_come_out() -> None:
    """Formulas against their textbooks, by hand."""
    rising = 100.0 * 1.01 ** np.arange(60)
    assert relative_strength(rising)[-1] == 1.0
    assert relative_strength(np.full(60, 5.0))[-1] == 0.5
    assert realised_volatility(rising)[-1] == pytest.approx(np.log(1.01))
    bars = small_bars(1)
    found = backward_features(bars, slice(0, 400))
    row, close, log = 300, bars.close, np.log(bars.close)
    deviation = np.sqrt(np.mean(np.diff(log)[row - 20 : row] ** 2))
    assert found["momentum_32"][row] == pytest.approx((log[row] - log[row - 32]) / (deviation * np.sqrt(32)))
    assert found["drawdown"][row] == pytest.approx(close[row] / close[row - 99 : row + 1].max() - 1)
    last = close[row - 19 : row + 1]
    assert found["bollinger_band_width"][row] == pytest.approx(4 * last.std() / last.mean())


def test_exponential_means_agree_with_pandas() -> None:
    """The same names in every charting library mean this formula."""
    import pandas as pd

    bars = small_bars(1)
    close = pd.Series(bars.close)
    found = backward_features(bars, slice(0, 400))
    ratio = close.ewm(span=12, adjust=False).mean() / close.ewm(span=26, adjust=False).mean() - 1
    assert found["ema_ratio_12_26"] == pytest.approx(ratio.to_numpy(), abs=1e-12)


def test_a_feed_that_stands_still_gives_no_rows() -> None:
    """A return in units of a volatility of zero is infinite confidence in nothing."""
    bars = small_bars(1)
    close = bars.close.copy()
    close[200:240] = close[199]
    found = features(replace(bars, close=close))
    assert found.usable[199]
    assert not found.usable[219:240].any()


def test_too_short_a_history_is_no_data() -> None:
    """Better no candidate than one made of half-filled windows."""
    short = canonical(small_bars(1).raw().take(np.arange(WARM_UP)))
    with pytest.raises(NoData, match="more than 100 bars"):
        features(short)
    with pytest.raises(BadInput, match="no feature alpha"):
        features(small_bars(1), names=("alpha",))


def test_what_follows_stays_within_the_symbol() -> None:
    """The last bar of one symbol is not followed by the first of the next."""
    bars = market(2, 150).bars()
    returns, times = following(bars, 3)
    assert np.flatnonzero(np.isnan(returns)).tolist() == [147, 148, 149, 297, 298, 299]
    assert np.isnat(times[147])
    assert returns[10] == pytest.approx(np.log(bars.close[13] / bars.close[10]))
    assert times[10] == bars.timestamp[13]
