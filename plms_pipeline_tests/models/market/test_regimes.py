"""Does a label of volatility say what was known at its bar, and no more?"""

from __future__ import annotations

import numpy as np

from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.regimes import HIGH, LOW, MIDDLE, UNKNOWN, volatility_regimes
from plms_pipeline_tests.models.worlds import market, small_bars


def oracle(close: np.ndarray, place: int) -> str:
    """The rule as it is written, computed the slow way."""
    returns = np.diff(np.log(close), prepend=np.nan)

    def deviation(at: int) -> float:
        last = returns[max(at - 63, 0) : at + 1]
        last = last[np.isfinite(last)]
        return float(last.std(ddof=1)) if last.size >= 32 else float("nan")

    among = np.array([deviation(at) for at in range(max(place - 511, 0), place + 1)])
    known = among[np.isfinite(among)]
    if known.size < 64:
        return UNKNOWN
    rank = float((known <= among[-1]).mean())
    return LOW if rank <= 0.4 else HIGH if rank >= 0.75 else MIDDLE


def test_labels_follow_the_rule_of_the_document() -> None:
    """A regime by another rule than the one that is told explains nothing."""
    bars = market(symbols=2, bars=700).bars()
    found = volatility_regimes(bars)
    for _, rows in bars.slices():
        for place in (0, 31, 32, 94, 95, 96, 200, 511, 650, 699):
            assert found.labels[rows][place] == oracle(bars.close[rows], place), place
    assert set(found.labels) == {UNKNOWN, LOW, MIDDLE, HIGH}
    assert found.count == int((found.labels != UNKNOWN).sum())


def test_bars_that_come_later_change_no_label() -> None:
    """The source ranked over the whole sample: a crash years later turned a wild day into a calm one."""
    bars = small_bars()
    until = np.unique(bars.timestamp)[300]
    calmer = Bars(
        bars.symbols, bars.starts, bars.timestamp,
        *(np.where(bars.timestamp > until, getattr(bars, name)[0], getattr(bars, name)) for name in
          ("open", "high", "low", "close", "volume")),
        bars.extras,
    )  # fmt: skip
    then = bars.timestamp <= until
    now, other = volatility_regimes(bars).labels, volatility_regimes(calmer).labels
    assert now[then].tolist() == other[then].tolist()
    assert now[~then].tolist() != other[~then].tolist()


def test_rows_find_the_label_of_their_symbol_and_moment() -> None:
    """A label of the neighbour's crash explains nobody's return."""
    bars = small_bars()
    found = volatility_regimes(bars)
    names = np.array(bars.symbols, dtype=object)[bars.codes]
    mixed = np.random.default_rng(3).permutation(bars.count)[:200]
    assert found.of(names[mixed], bars.timestamp[mixed]).tolist() == found.labels[mixed].tolist()
    strangers = np.array(["NOBODY", bars.symbols[0]], dtype=object)
    never = np.array(["1990-01-01", "2190-01-01"], dtype="datetime64[us]")
    assert found.of(strangers, never).tolist() == [UNKNOWN, UNKNOWN]
    assert found.frame().columns.tolist() == ["timestamp", "symbol", "name", "value"]
