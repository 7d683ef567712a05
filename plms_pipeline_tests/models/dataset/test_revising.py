"""Does a new file of prices change exactly what it says, and is what it replaced kept?"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.models.dataset.revising import merged
from plms_pipeline.models.market.bars import NUMBERS, Bars, RawBars, canonical, content_hash

Table = dict[tuple[str, int], tuple[float, float | None]]
keys = st.tuples(st.sampled_from("ABC"), st.integers(0, 4))
# A close, and a signal; None: this file has no such column at all.
tables = st.tuples(
    st.dictionaries(keys, st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([math.nan, 5.0, 6.0])), min_size=1),
    st.booleans(),
)


def bars(table: Table, *, has_signal: bool = False) -> Bars:
    rows = sorted(table.items())
    close = np.array([value[0] for _, value in rows])
    return canonical(
        RawBars(
            np.array([np.datetime64("2024-01-01", "us") + np.timedelta64(key[1], "D") for key, _ in rows]),
            np.array([key[0] for key, _ in rows], dtype=object),
            dict.fromkeys(NUMBERS, close),
            {"alt": np.array([value[1] for _, value in rows], dtype=np.float64)} if has_signal else {},
        )
    )


def table_of(found: Bars) -> dict[tuple[str, int], tuple[float, float]]:
    raw = found.raw()
    days = ((raw.timestamp - np.datetime64("2024-01-01", "us")) // np.timedelta64(1, "D")).tolist()
    signal = found.extras.get("alt", np.full(found.count, np.nan)).tolist()
    return {(symbol, day): (close, alt) for symbol, day, close, alt in zip(
        raw.symbol.tolist(), days, found.close.tolist(), signal, strict=True
    )}  # fmt: skip


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@given(tables, tables)
@settings(max_examples=60, deadline=None)
def test_the_dataset_is_what_a_dictionary_would_be(old: tuple[Table, bool], new: tuple[Table, bool]) -> None:
    """A signal that a plain file of prices does not have once vanished from every row that the file repeated."""
    known, file = bars(old[0], has_signal=old[1]), bars(new[0], has_signal=new[1])
    before = table_of(known)
    expected, added, revised = dict(before), 0, 0
    for key, (close, alt) in table_of(file).items():
        if key not in before:
            added += 1
            expected[key] = (close, alt)
            continue
        said = (close, alt if new[1] else before[key][1])
        revised += not (said[0] == before[key][0] and same(said[1], before[key][1]))
        expected[key] = said
    done = merged(known, file)
    found = table_of(done.bars)
    assert found.keys() == expected.keys()
    assert all(same(found[key][0], expected[key][0]) and same(found[key][1], expected[key][1]) for key in expected)
    assert (done.added, done.revised.count, done.unchanged) == (added, revised, file.count - added - revised)


@given(tables, tables)
@settings(max_examples=30, deadline=None)
def test_the_same_file_again_changes_nothing(old: tuple[Table, bool], new: tuple[Table, bool]) -> None:
    """Whoever is in doubt imports again, and no training may follow from it."""
    file = bars(new[0], has_signal=new[1])
    once = merged(bars(old[0], has_signal=old[1]), file).bars
    again = merged(once, file)
    assert content_hash(again.bars) == content_hash(once)
    assert (again.added, again.revised.count) == (0, 0)


def test_what_was_replaced_is_told() -> None:
    """A vendor who corrects the past moves every figure computed on it; somebody has to be able to see what moved."""
    done = merged(bars({("A", 0): (1.0, None), ("A", 1): (1.0, None)}), bars({("A", 1): (2.0, None)}))
    assert done.revised.symbol == ("A",)
    assert str(done.revised.timestamp[0])[:10] == "2024-01-02"
    assert (done.revised.before["close"].tolist(), done.revised.after["close"].tolist()) == ([1.0], [2.0])
