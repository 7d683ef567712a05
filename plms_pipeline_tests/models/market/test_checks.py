from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.errors import NoData, VerdictNo
from plms_pipeline.models.market.bars import RawBars, content_hash
from plms_pipeline.models.market.checks import Examination, examine
from plms_pipeline.models.market.findings import insist
from plms_pipeline_tests.models.worlds import small_bars


def good() -> RawBars:
    return small_bars().raw()


def spoilt(column: str, row: int, value: float) -> RawBars:
    raw = good()
    values = raw.numbers[column].copy()
    values[row] = value
    return replace(raw, numbers={**raw.numbers, column: values})


def named(found: Examination) -> list[tuple[str, str, int]]:
    return [(one.name, one.severity, one.count) for one in found.findings]


def test_a_sound_market_passes_without_a_word() -> None:
    """A check that cries at sound data is switched off within a week."""
    found = examine(good())
    assert found.findings == ()
    assert content_hash(found.bars) == content_hash(small_bars())
    insist(found.findings, "prices.csv")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", float("nan"), "unreadable_values"),
        ("high", float("inf"), "unreadable_values"),
        ("close", 0.0, "non_positive_prices"),
        ("low", -3.0, "non_positive_prices"),
        ("high", 1e300, "implausible_magnitude"),
        ("low", 5e-324, "implausible_magnitude"),
        ("volume", 1e300, "implausible_magnitude"),
        ("low", 1e9, "high_below_low"),
        ("close", 1e6, "range_misses_open_or_close"),
        ("open", 1e-6, "range_misses_open_or_close"),
        ("volume", -1.0, "negative_volume"),
    ],
)
def test_an_impossible_row_is_taken_out_and_named(column: str, value: float, reason: str) -> None:
    """One bad tick among millions must neither stop the import nor become a return of 4 000 %."""
    found = examine(spoilt(column, 10, value))
    assert (reason, "error", 1) in named(found)
    assert found.rejected.reasons == (reason,)
    assert found.rejected.rows.line.tolist() == [11]
    assert found.bars.count == good().count - 1
    assert "row 11: SIM000" in found.findings[0].sentence


@pytest.mark.parametrize("year", ["0000", "1599", "2263", "9999", "-0044"])
def test_a_year_in_which_nothing_was_traded_is_taken_out(year: str) -> None:
    """A column of time that was misread became the first bar of a symbol, and every mean began with it."""
    raw = good()
    times = raw.timestamp.copy()
    times[10] = np.datetime64(f"{year}-01-01", "us")
    found = examine(replace(raw, timestamp=times))
    assert found.rejected.reasons == ("implausible_time",)
    assert found.bars.count == raw.count - 1


def test_strict_mode_refuses_what_lenient_mode_quarantines() -> None:
    """`--strict-validation` promises that nothing doubtful is trained on."""
    with pytest.raises(VerdictNo, match="non_positive_prices"):
        insist(examine(spoilt("close", 10, 0.0)).findings, "prices.csv")


def test_copies_are_kept_once_and_contradictions_not_at_all() -> None:
    """Whichever of two prices came first in a file is no reason to believe it."""
    raw = good()
    doubled = raw.take(np.concatenate([np.arange(raw.count), [5, 5]]))
    found = examine(doubled)
    assert named(found)[0] == ("duplicate_rows", "error", 2)
    assert content_hash(found.bars) == content_hash(small_bars())
    values = doubled.numbers["volume"].copy()
    values[-1] += 1.0
    found = examine(replace(doubled, numbers={**doubled.numbers, "volume": values}))
    assert named(found)[0] == ("conflicting_duplicates", "error", 3)
    assert found.bars.count == raw.count - 1


def test_a_symbol_without_a_name_or_with_control_characters_is_refused() -> None:
    """A symbol becomes a label, a file name and a line on somebody's terminal."""
    raw = good()
    symbol = raw.symbol.copy()
    symbol[0], symbol[1], symbol[2] = "", "A\x1b[31m", " A"
    found = examine(replace(raw, symbol=symbol))
    assert found.rejected.reasons == ("unreadable_values", "unusable_symbol", "unusable_symbol")
    assert "\x1b" not in found.findings[1].sentence


def test_rows_from_the_newest_to_the_oldest_are_in_order_too() -> None:
    """Half of the vendors deliver backwards; that is no finding. Rows that go to and fro are one."""
    raw = good()
    only = raw.take(np.arange(400))
    assert examine(only.take(np.arange(399, -1, -1))).findings == ()
    mixed = only.take(np.random.default_rng(1).permutation(400))
    assert [one.name for one in examine(mixed).findings] == ["unordered_rows"]


def test_nothing_usable_is_no_data() -> None:
    """An empty market that trains would be a candidate made of nothing."""
    raw = good().take(np.arange(3))
    with pytest.raises(NoData, match="None of the 3 rows"):
        examine(replace(raw, numbers={**raw.numbers, "close": np.full(3, np.nan)}))
    with pytest.raises(NoData):
        examine(raw.take(np.arange(0)))


def test_a_bar_of_the_future_is_refused() -> None:
    """The year 2042 in one row would be the newest bar for ever, and the whole market stale behind it."""
    raw = good()
    times = raw.timestamp.copy()
    times[399] = np.datetime64("2042-01-01")
    found = examine(replace(raw, timestamp=times), as_of=raw.timestamp.max())
    assert [one.name for one in found.findings] == ["future_timestamp"]
    assert found.rejected.reasons == ("future_timestamp",)
    assert examine(raw, as_of=raw.timestamp.max() - np.timedelta64(12, "h")).findings == ()
