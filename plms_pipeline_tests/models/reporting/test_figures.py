"""Do the figures of a report add up, and is there one drawdown?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.risk import risk_figures
from plms_pipeline.models.reporting import figures
from plms_pipeline.models.reporting.reading import Columns, Rows, rows_of

DAYS = pd.date_range("2024-01-01", periods=400, freq="D", tz="UTC")
returns = st.floats(-0.2, 0.2, allow_nan=False).map(lambda value: round(value, 6))


def frame(table: dict[str, list[float]], **more: list[object]) -> pd.DataFrame:
    rows = [
        {"symbol": symbol, "window_end": DAYS[place], "realised_return": value}
        for symbol, values in table.items()
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**more)


def read(table: dict[str, list[float]], **more: list[object]) -> Rows:
    return rows_of(frame(table, **more), Columns())


def test_the_deepest_drawdown_is_told_with_its_days() -> None:
    """The source told 8.64 % in one section and 9.12 % in another: the second was money, not a fraction."""
    # 1.1, 0.88, 0.968, 1.1616: from the first day to the second, back on the fourth.
    rows = read({"A": [0.1, -0.2, 0.1, 0.2]})
    episode = figures.deepest(rows.path)
    assert episode is not None
    assert episode.depth == pytest.approx(-0.2)
    assert (episode.start, episode.end, episode.steps, episode.recovered) == (
        "2024-01-01",
        "2024-01-02",
        1,
        "2024-01-04",
    )


def test_a_drawdown_from_the_start_has_no_day_of_its_beginning() -> None:
    """Equity begins at one, before the first return."""
    episode = figures.deepest(read({"A": [-0.5, -0.5, 0.1]}).path)
    assert episode is not None
    assert (episode.depth, episode.start, episode.end, episode.steps, episode.recovered) == (
        pytest.approx(-0.75), None, "2024-01-02", 2, None,
    )  # fmt: skip
    assert figures.deepest(read({"A": [0.1, 0.1]}).path) is None


@given(st.lists(returns, min_size=2, max_size=60))
@settings(max_examples=30, deadline=None)
def test_every_section_has_the_same_drawdown(values: list[float]) -> None:
    """Two definitions in one report make both unbelievable."""
    path = read({"A": values}).path
    risk = risk_figures(path.returns)
    episode = figures.deepest(path)
    equity, highest, worst = 1.0, 1.0, 0.0
    for value in values:
        equity *= 1 + value
        highest = max(highest, equity)
        worst = min(worst, equity / highest - 1)
    assert risk["max_drawdown"] == figures.profit(path, risk).max_drawdown
    assert (episode.depth if episode else 0.0) == risk["max_drawdown"] == pytest.approx(worst, abs=1e-12)


@given(st.lists(st.tuples(returns, returns, st.booleans()), min_size=2, max_size=40))
@settings(max_examples=30, deadline=None)
def test_what_symbols_added_is_what_the_portfolio_made(rows: list[tuple[float, float, bool]]) -> None:
    """Contributions that add up to something else explain nothing; B is not always there."""
    table = frame({"A": [one[0] for one in rows], "B": [one[1] for one in rows]})
    there = [True] * len(rows) + [one[2] for one in rows]
    found = rows_of(table[np.array(there)], Columns())
    shares = figures.attribution(found.frame, "value", timestamp="timestamp", symbol="symbol", weighting="mean")
    total = float(found.path.returns.values.sum())
    assert sum(one.pnl for one in shares) == pytest.approx(total, abs=1e-12)
    assert sum(one.weight for one in shares) == pytest.approx(1.0)
    assert [one.pnl for one in shares] == sorted((one.pnl for one in shares), reverse=True)
    if all(one.contribution is not None for one in shares):
        assert sum(one.contribution or 0.0 for one in shares) == pytest.approx(1.0)


def test_contributions_of_nothing_are_unknown() -> None:
    """A share of a total that is rounding would be any number."""
    rows = read({"A": [0.1, 0.1], "B": [-0.1, -0.1]})
    shares = figures.attribution(rows.frame, "value", timestamp="timestamp", symbol="symbol", weighting="mean")
    assert [(one.symbol, one.contribution) for one in shares] == [("A", None), ("B", None)]


def test_a_regime_is_a_portfolio_of_its_rows() -> None:
    """Labels belong to rows: a day may be quiet for one symbol and wild for another."""
    rows = read({"A": [0.1, 0.2], "B": [0.3, -0.1]}, regime__volatility=["calm", "wild", "calm", None])
    found = {one.label: one for one in figures.regimes(
        rows.frame, "value", timestamp="timestamp", weighting="mean", periods_per_year=252.0
    )}  # fmt: skip
    assert set(found) == {"calm", "wild", "unknown"}
    assert found["calm"].cumulative == pytest.approx(0.2)
    assert (found["calm"].samples, found["calm"].weight, found["wild"].hit_rate) == (2, 0.5, 1.0)


def test_logarithmic_returns_are_told_as_simple_ones() -> None:
    """Read as simple, every loss is too large and every gain too small."""
    simple = [0.1, -0.2, 0.05]
    table = frame({"A": [float(np.log1p(one)) for one in simple]})
    path = rows_of(table, Columns(kind="log")).path
    assert path.returns.values == pytest.approx(simple)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (frame({"A": [100.0, 101.0, 102.0]}), "price levels"),
        (frame({"A": [0.1]}).drop(columns="realised_return"), "realised_return"),
        (frame({"A": [0.1]}).drop(columns="window_end"), "--timestamp-column"),
        (pd.concat([frame({"A": [0.1]})] * 2), "repeat a moment"),
        (frame({"A": [0.1, 0.2]}).assign(window_end=["2024-01-01", "yesterday"]), "yesterday"),
    ],
)
def test_what_is_no_table_of_returns_is_refused_by_name(made: pd.DataFrame, words: str) -> None:
    """Prices taken for returns had no drawdown and a hit rate of one."""
    with pytest.raises(BadInput, match=words):
        rows_of(made, Columns())


def test_no_rows_are_no_data() -> None:
    """An empty report reads like a flat market."""
    with pytest.raises(NoData):
        rows_of(frame({"A": [0.1]}).iloc[:0], Columns())


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_epochs_are_read_in_their_unit(factor: int) -> None:
    """JSON of pandas has milliseconds; as nanoseconds every bar would be of 1970."""
    seconds = [int(day.timestamp()) * factor for day in DAYS[:2]]
    path = rows_of(frame({"A": [0.1, 0.2]}).assign(window_end=seconds), Columns()).path
    assert path.moments == ("2024-01-01", "2024-01-02")
