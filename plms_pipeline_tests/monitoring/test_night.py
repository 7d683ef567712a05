"""Does each night stand for one instant, also when the clocks change?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.monitoring.night import as_of_date, night_of, parse_night

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST_DAY = date(2023, 1, 1)


@given(st.dates(min_value=date(2023, 1, 1), max_value=date(2100, 1, 1)))
def test_the_night_of_a_date_is_reported_under_that_date(day: date) -> None:
    """A report filed under the wrong date hides a missing night."""
    assert night_of(as_of_date(day)) == day


@given(st.dates(min_value=date(2023, 1, 1), max_value=date(2100, 1, 1)))
def test_nights_follow_each_other_by_23_to_25_hours(day: date) -> None:
    """A night that is skipped or run twice loses or repeats a report."""
    step = as_of_date(day + timedelta(days=1)) - as_of_date(day)
    assert timedelta(hours=23) <= step <= timedelta(hours=25)


def test_the_spring_night_is_three_o_clock_daylight_time() -> None:
    """02:00 on 2026-03-08 does not exist in New York."""
    as_of = as_of_date(date(2026, 3, 8))
    assert as_of == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert as_of.astimezone(ZoneInfo("America/New_York")).hour == 3


def test_the_autumn_night_is_two_o_clock_standard_time() -> None:
    """On 2026-11-01 the hour before 02:00 happens twice, 02:00 itself once."""
    assert as_of_date(date(2026, 11, 1)) == datetime(2026, 11, 1, 7, tzinfo=UTC)


def test_late_evening_in_new_york_belongs_to_its_own_date() -> None:
    """At 23:30 in New York it is tomorrow in UTC."""
    assert night_of(datetime(2026, 7, 2, 3, 30, tzinfo=UTC)) == date(2026, 7, 1)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "2026-13-01", "", " ", "2026-02-30", "99999-01-01", "0001-01-01T00", "20250805", "2025-W32-2",
        " 2025-08-05", "2025-08-05\n", "٢٠٢٥-٠٨-٠٥",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    """The person at three in the morning needs the form, not a traceback."""
    with pytest.raises(BadInput, match="YYYY-MM-DD"):
        parse_night(text, now=NOW, first_day=FIRST_DAY)


def test_a_night_that_has_not_come_is_refused() -> None:
    """A report about the future would be believed."""
    with pytest.raises(BadInput, match="still to come"):
        parse_night("2026-11-22", now=NOW, first_day=FIRST_DAY)
    assert parse_night("2026-11-21", now=NOW, first_day=FIRST_DAY) < NOW


@pytest.mark.parametrize("text", ["0001-01-01", "2022-12-31"])
def test_a_night_before_the_books_begin_is_refused(text: str) -> None:
    """A mistyped year gave an empty report that said "ok"."""
    with pytest.raises(BadInput, match="PLMS_FIRST_DAY"):
        parse_night(text, now=NOW, first_day=FIRST_DAY)
    assert parse_night("2023-01-01", now=NOW, first_day=FIRST_DAY) == as_of_date(FIRST_DAY)
