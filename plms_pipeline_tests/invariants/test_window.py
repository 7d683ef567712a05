"""Does the window of a night cover everything that changed, however rows come in?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.invariants.window import Day, days_to_prove, first_unproven, is_full_night

FIRST = date(2025, 1, 1)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 3, 1, 7, tzinfo=UTC), True),  # Sunday 02:00 in New York
        (datetime(2026, 3, 2, 3, tzinfo=UTC), True),  # Monday in UTC, Sunday 22:00 in New York
        (datetime(2026, 3, 1, 4, tzinfo=UTC), False),  # Sunday in UTC, Saturday 23:00 in New York
        (datetime(2026, 3, 8, 7, tzinfo=UTC), True),  # the spring night, a Sunday
        (datetime(2026, 3, 4, 7, tzinfo=UTC), False),
    ],
)
def test_sunday_is_where_the_night_has_its_date(moment: datetime, expected: bool) -> None:
    """Counted in UTC the weekly proof would fall on another night than the report says."""
    assert is_full_night(moment) is expected


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5), st.booleans())
def test_every_id_above_the_mark_and_the_newest_floor_are_covered(
    mark: int, newest: int, floor: int, full: bool
) -> None:
    """A row that the window skips is a row that nobody looks at until Sunday."""
    above = first_unproven(mark, newest, full=full, floor=floor)
    assert 0 <= above <= mark
    assert full is False or above == 0
    assert newest - above >= min(newest, floor)


days = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 50), st.sampled_from(["proven", "changed", "new"])), max_size=20
)


@given(days, st.integers(0, 200))
def test_changed_days_are_always_proven_and_the_newest_up_to_the_floor(
    drawn: list[tuple[int, int, str]], floor: int
) -> None:
    """A day that changed after its proof holds receipts that no proof has seen."""
    book = [Day(FIRST + timedelta(days=i), seq, n) for i, (seq, n, _) in enumerate(drawn)]
    marks = {
        day.day: day.changed_seq - (state == "changed")
        for day, (_, _, state) in zip(book, drawn, strict=True)
        if state != "new"
    }
    chosen = days_to_prove(book, marks, full=False, floor=floor)
    assert {day.day for day in book if marks.get(day.day) != day.changed_seq} <= chosen
    newest = sorted(book, key=lambda day: day.day, reverse=True)
    left_out = [day for day in newest if day.day not in chosen]
    if left_out:
        later = sum(day.n for day in newest if day.day > left_out[0].day)
        assert later >= floor
    assert days_to_prove(book, marks, full=True, floor=floor) == {day.day for day in book}
