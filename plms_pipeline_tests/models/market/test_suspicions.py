from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline.models.market.generator import Fault, FaultKind, World, generate
from plms_pipeline.models.market.suspicions import levels_as_returns, suspicions
from plms_pipeline_tests.models.worlds import small_bars

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "samples" / "sp500_daily.csv.gz"


def names(bars: Bars, as_of: str | None = None) -> list[str]:
    instant = None if as_of is None else np.datetime64(as_of, "us")
    return [one.name for one in suspicions(bars, as_of=instant, stale_after_bars=5.0)]


@pytest.mark.parametrize(
    ("kind", "expected"), [("gap", "gaps"), ("stale_feed", "stale_feed"), ("duplicate_rows", "duplicate_rows")]
)
def test_each_fault_of_the_feed_is_found_by_the_check_that_names_it(kind: FaultKind, expected: str) -> None:
    """A fault that no check names is found by whoever loses money on it."""
    world = World(symbols=2, bars=300, faults=(Fault(kind, at=0.5, bars=20, symbol="SIM001"),))
    found = examine(generate(world, 1).raw).findings
    assert [one.name for one in found] == [expected]
    assert "SIM001" in found[0].sentence


def test_a_night_and_a_weekend_are_no_gaps() -> None:
    """An exchange that closes every night has no hole every morning."""
    days = np.busday_offset("2024-01-01", np.arange(60)).astype("datetime64[us]")
    hours = (9 * 60 + 30 + 15 * np.arange(26)) * np.timedelta64(60_000_000, "us")
    times = (days[:, None] + hours).ravel()
    bars = generate(World(symbols=1, bars=times.size), 1).bars()
    assert names(replace(bars, timestamp=times)) == []
    later = times + np.where(np.arange(times.size) >= 400, np.timedelta64(21, "D"), np.timedelta64(0, "D"))
    assert names(replace(bars, timestamp=later)) == ["gaps"]


def test_a_symbol_that_stopped_is_stale() -> None:
    """A model that trades on last month's close does so with full confidence."""
    bars = small_bars()
    last = bars.timestamp.max()
    assert names(bars, str(last + np.timedelta64(3, "D"))) == []
    assert names(bars, str(last + np.timedelta64(30, "D"))) == ["stale_end"]


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.1])
def test_a_split_that_nobody_adjusted_is_found(ratio: float) -> None:
    """A 2:1 split in the training data is a crash of fifty per cent that nobody suffered."""
    bars = small_bars()
    factor = np.where(np.arange(bars.count) % 400 >= 250, 1.0 / ratio, 1.0)
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    split = replace(bars, **prices, volume=bars.volume / factor)
    assert names(split) == ["suspicious_splits"]


def test_a_crash_on_heavy_trading_is_no_split() -> None:
    """Real falls by half happen, and must stay in the data."""
    bars = small_bars()
    factor = np.where(np.arange(bars.count) % 400 >= 250, 0.5, 1.0)
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    panic = np.where(np.arange(bars.count) % 400 == 250, 40.0, 1.0)
    assert names(replace(bars, **prices, volume=bars.volume * panic)) == []


def test_shuffled_time_is_named() -> None:
    """With timestamps shuffled, tomorrow's prices teach yesterday's and every backtest shines."""
    bars = small_bars()
    order = np.concatenate(
        [rows.start + np.random.default_rng(3).permutation(rows.stop - rows.start) for _, rows in bars.slices()]
    )
    mixed = {name: getattr(bars, name)[order] for name in ("open", "high", "low", "close")}
    assert names(replace(bars, **mixed)) == ["shuffled_time"]


def test_growth_factors_in_place_of_prices_are_named() -> None:
    """A column of 1 + return passes every test of types and is no price."""
    bars = small_bars()
    factors = 1.0 + 0.01 * np.random.default_rng(5).standard_normal(bars.count)
    assert "returns_as_prices" in names(replace(bars, open=factors, high=factors, low=factors, close=factors))


def test_returns_in_place_of_prices_are_named() -> None:
    """Half of them are rejected as not above zero; what is left must not pass for a market of tiny prices."""
    raw = small_bars().raw()
    returns = 0.01 * np.random.default_rng(5).standard_normal(raw.count)
    numbers = dict.fromkeys(("open", "high", "low", "close"), returns) | {"volume": raw.numbers["volume"]}
    found = [one.name for one in examine(replace(raw, numbers=numbers)).findings]
    assert found[0] == "non_positive_prices"
    assert "returns_as_prices" in found


def test_price_levels_mistaken_for_returns_are_named() -> None:
    """The source's `realised_return` was a price: Sharpe 0.915, hit rate 1.0 and drawdown 0 on its own example."""
    bars = small_bars()
    rows = slice(0, 400)
    found = levels_as_returns(bars.close[rows], "realised_return")
    assert found is not None
    assert found.name == "levels_as_returns"
    assert found.severity == "error"
    assert "realised_return" in found.sentence
    assert levels_as_returns(np.full(5, 101.0)) is not None


@pytest.mark.parametrize("scale", [1e-4, 0.01, 0.2])
def test_returns_are_not_mistaken_for_levels(scale: float) -> None:
    """A check that refuses honest returns would block every candidate."""
    returns = scale * np.random.default_rng(1).standard_normal(400)
    assert levels_as_returns(returns) is None
    # Interest is always above zero and remembers itself.
    assert levels_as_returns(np.full(400, scale * 1e-2) * (1.0 + np.arange(400) / 400)) is None
    assert levels_as_returns(np.array([0.3])) is None


def test_the_shipped_index_has_one_gap_and_no_other_fault() -> None:
    """Eleven September 2001 closed the exchange for a week; a check that misses it, or cries at holidays, is no check."""
    found = examine(read_prices(SAMPLE)).findings
    assert [(one.name, one.count) for one in found] == [("gaps", 1)]
    assert "2001-09-10" in found[0].offenders[0]
