from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import RawBars, canonical, content_hash, from_frame, merge, select, to_frame
from plms_pipeline_tests.models.worlds import small_bars


def raw(*rows: tuple[str, str, float]) -> RawBars:
    close = np.array([row[2] for row in rows], dtype=float)
    return RawBars(
        np.array([row[0] for row in rows], dtype="datetime64[us]"),
        np.array([row[1] for row in rows], dtype=object),
        {"open": close, "high": close, "low": close, "close": close, "volume": np.zeros(close.size)},
    )


ROWS = (("2024-01-02", "B", 4.0), ("2024-01-02", "A", 2.0), ("2024-01-01", "B", 3.0), ("2024-01-01", "A", 1.0))


@settings(max_examples=10)
@given(st.permutations(ROWS))
def test_the_hash_does_not_depend_on_the_order_of_the_rows(rows: list[tuple[str, str, float]]) -> None:
    """A vendor that sorts its file otherwise would start a retraining on the same data."""
    assert content_hash(canonical(raw(*rows))) == content_hash(canonical(raw(*ROWS)))


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume", "alt"])
def test_one_changed_number_changes_the_hash(column: str) -> None:
    """A correction of the past that nobody notices is never learnt from."""
    bars = small_bars()
    values = (bars.extras[column] if column == "alt" else getattr(bars, column)).copy()
    values[100] = np.nextafter(values[100], np.inf)
    changed = replace(bars, extras={"alt": values}) if column == "alt" else replace(bars, **{column: values})
    assert content_hash(changed) != content_hash(bars)


def test_names_and_bounds_are_part_of_the_hash() -> None:
    """Bars of A called B, or a bar moved from A to B, are other data."""
    hashes = {
        content_hash(canonical(raw(*rows)))
        for rows in (
            (("2024-01-01", "A", 1.0), ("2024-01-02", "A", 1.0)),
            (("2024-01-01", "B", 1.0), ("2024-01-02", "B", 1.0)),
            (("2024-01-01", "A", 1.0), ("2024-01-02", "B", 1.0)),
        )
    }
    assert len(hashes) == 3


def test_bars_are_sorted_by_symbol_and_time() -> None:
    """Every feature relies on a symbol being one slice in the order of time."""
    bars = canonical(raw(*ROWS))
    assert bars.symbols == ("A", "B")
    assert bars.close.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert [(name, rows.start, rows.stop) for name, rows in bars.slices()] == [("A", 0, 2), ("B", 2, 4)]
    assert bars.calendar().size == 2


def test_bars_that_were_not_checked_are_refused() -> None:
    """A duplicate would be trained on twice, a missing price would become a missing return of the next day."""
    with pytest.raises(BadInput, match="A has two bars at 2024-01-01"):
        canonical(raw(("2024-01-01", "A", 1.0), ("2024-01-01", "A", 2.0)))
    with pytest.raises(BadInput, match="1 rows lack"):
        canonical(raw(("2024-01-01", "A", float("nan")), ("2024-01-02", "A", 2.0)))


def test_a_frame_and_back_is_the_same_market() -> None:
    """People open bars in pandas; what they hand back must be what they got."""
    bars = small_bars()
    assert content_hash(canonical(from_frame(to_frame(bars)))) == content_hash(bars)
    assert str(to_frame(bars)["timestamp"].dt.tz) == "UTC"


def test_a_frame_without_a_column_names_it() -> None:
    """`KeyError: 'close'` helps nobody who exported the wrong table."""
    with pytest.raises(BadInput, match="no column close"):
        from_frame(to_frame(small_bars()).drop(columns="close"))


def test_a_selection_keeps_only_what_was_asked_for() -> None:
    """A snapshot as of a moment must hold nothing later."""
    bars = small_bars()
    moment = bars.timestamp[200]
    chosen = select(bars, [bars.symbols[1]], until=moment)
    assert chosen.symbols == (bars.symbols[1],)
    assert chosen.timestamp.max() == moment
    with pytest.raises(BadInput, match="no bars of ZZZ"):
        select(bars, ["ZZZ"])


def test_newer_bars_replace_older_ones() -> None:
    """A vendor's correction that arrives twice with two values must end as the newer value, once."""
    old = canonical(raw(("2024-01-01", "A", 1.0), ("2024-01-02", "A", 2.0)))
    new = canonical(raw(("2024-01-02", "A", 9.0), ("2024-01-03", "A", 3.0)))
    assert merge(old, new).close.tolist() == [1.0, 9.0, 3.0]
    assert content_hash(merge(old, old)) == content_hash(old)


def test_a_bar_that_changes_its_owner_changes_the_hash() -> None:
    """The bounds of the symbols are part of the content: the columns alone may be equal."""
    days = ("2024-01-01", "2024-01-02", "2024-01-03")
    one, other = (raw(*zip(days, owners, (1.0,) * 3, strict=True)) for owners in ("AAB", "ABB"))
    assert content_hash(canonical(one)) != content_hash(canonical(other))


def test_equal_numbers_have_equal_hashes() -> None:
    """Minus zero is zero, and one NaN is as unknown as another: a vendor's library must not start a training."""
    bars = small_bars()
    zeros, minus = np.zeros(bars.count), -np.zeros(bars.count)
    assert content_hash(replace(bars, volume=zeros)) == content_hash(replace(bars, volume=minus))
    unknown = np.full(bars.count, np.nan)
    assert content_hash(replace(bars, extras={"a": unknown})) == content_hash(replace(bars, extras={"a": -unknown}))
