"""Are predictions of new bars those that the whole history would give, and is what cannot be scored named?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import Unprocessable
from plms_pipeline.models.market.bars import Bars, select
from plms_pipeline.models.serving import rows
from plms_pipeline.models.training.features import features
from plms_pipeline_tests.models.worlds import small_bars

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def as_rows(bars: Bars) -> list[dict[str, Any]]:
    """Bars as a request holds them."""
    names = np.array(bars.symbols, dtype=object)[bars.codes].tolist()
    numbers = {name: values.tolist() for name, values in bars.numbers().items()}
    extras = {name: values.tolist() for name, values in bars.extras.items()}
    return [
        {
            "timestamp": bars.timestamp[place].astype(datetime).replace(tzinfo=UTC), "symbol": names[place],
            **{name: values[place] for name, values in numbers.items()},
            "extras": {name: values[place] for name, values in extras.items()},
        }
        for place in range(bars.count)
    ]  # fmt: skip


def before(bars: Bars, count: int) -> Bars:
    """All but the newest `count` moments."""
    return select(bars, until=bars.calendar()[-count - 1])


def test_new_bars_are_laid_over_the_history() -> None:
    """Whoever has one new bar of each symbol would otherwise have to send a hundred."""
    whole = small_bars()
    newest = rows.checked(
        rows.raw_of([row for row in as_rows(whole) if row["timestamp"] > _moment(whole, -2)]), as_of=NOW
    )
    assert newest.count == len(whole.symbols)
    joined = rows.asked_bars(before(whole, 1), newest, None)
    for name, values in whole.numbers().items():
        assert np.array_equal(getattr(joined, name), values)


def test_only_the_symbols_that_were_sent_are_scored() -> None:
    """An answer about a symbol that nobody asked about would be about an old bar."""
    whole = small_bars()
    sent = select(whole, [whole.symbols[1]])
    assert rows.asked_bars(whole, sent, None).symbols == (whole.symbols[1],)


def test_the_past_that_is_left_out_cannot_be_seen_in_a_number() -> None:
    """Every mean that looks back for ever has to have forgotten what lies before the tail."""
    bars = small_bars(symbols=1, bars=rows.TAIL + 400)
    short = features(rows.tail(bars)).values[-50:]
    assert np.allclose(short, features(bars).values[-50:], rtol=1e-12, atol=1e-14)


@given(count=st.integers(1, 30))
def test_a_tail_is_the_newest_bars_of_each_symbol(count: int) -> None:
    """One symbol's end must not be taken for another's."""
    bars = small_bars()
    kept = rows.tail(bars, count)
    for name, place in kept.slices():
        whole = dict(bars.slices())[name]
        assert np.array_equal(kept.close[place], bars.close[whole][-count:])


def test_a_row_that_cannot_be_is_named() -> None:
    """Left out quietly, the answer would be about the bar before it."""
    row = as_rows(before(small_bars(), 390))[0]
    with pytest.raises(Unprocessable, match="high_below_low") as refused:
        rows.checked(rows.raw_of([{**row, "high": row["low"] / 2}]), as_of=NOW)
    assert refused.value.code == "bars_not_valid"


def test_without_history_and_bars_there_is_nothing_to_score() -> None:
    """A server whose snapshot was purged still scores what it is sent."""
    with pytest.raises(Unprocessable, match="Send `bars`"):
        rows.asked_bars(None, None, None)


def test_an_unknown_symbol_is_named() -> None:
    """A misspelt symbol is a mistake of the sender, not of the server."""
    with pytest.raises(Unprocessable, match="NOBODY"):
        rows.asked_bars(small_bars(), None, ["NOBODY"])


def _moment(bars: Bars, place: int) -> datetime:
    found: datetime = bars.calendar()[place].astype(datetime)
    return found.replace(tzinfo=UTC)
