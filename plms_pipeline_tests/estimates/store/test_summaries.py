from __future__ import annotations

from datetime import date, timedelta

import pytest

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.beliefs import DayFact
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline_tests.estimates.conftest import NOON, Book

DAY = NOON.date()


def fact(n: int) -> DayFact:
    return DayFact(DAY, 4200, "m", "cost_usd", "effort", n, b"x" * n, "d" * 64)


def test_an_older_view_of_a_day_never_replaces_a_newer_one(book: Book) -> None:
    """Two workers summarise a day; the slower one read it before the last receipt came."""
    book.add("m", "1.0")
    book.add("m", "2.0")
    with book.registry.writing() as session:
        assert kept.replace_day(session, DAY, [fact(2)], seq=2)
    with book.registry.writing() as session:
        assert not kept.replace_day(session, DAY, [fact(1)], seq=1)
        assert not kept.replace_day(session, date(2020, 1, 1), [], seq=1)
    with book.registry.reading() as session:
        assert kept.summaries(session, before=DAY + timedelta(days=1)) == [fact(2)]
        assert kept.summaries(session, before=DAY) == []


def test_the_correction_of_a_day_is_the_newest_not_after_it(book: Book) -> None:
    """A night for the past must not see the corrections of the future."""
    with book.registry.writing() as session:
        for offset, value in ((0, 1.1), (5, 1.3)):
            kept.put_corrections(
                session, DAY + timedelta(days=offset), "cost_usd", "effort", {4200: Correction(value, 7)}
            )
        kept.put_corrections(session, DAY, "cost_usd", "effort", {4200: Correction(1.2, 9)})
    with book.registry.reading() as session:
        for offset, value in ((0, 1.2), (4, 1.2), (5, 1.3), (9, 1.3)):
            held = kept.corrections(session, on=DAY + timedelta(days=offset))
            assert held[4200, "cost_usd", "effort"].value == pytest.approx(value)
        assert kept.corrections(session, on=DAY - timedelta(days=1)) == {}
