from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from plms_pipeline.estimates.actions.believing import beliefs_at, summarise_stale_days
from plms_pipeline.estimates.beliefs import Beliefs
from plms_pipeline.registry.tables import DaySummary, ReceiptDay
from plms_pipeline_tests.estimates.conftest import NOON, Book

LATER = NOON + timedelta(days=30)


def beliefs(book: Book, as_of: object = LATER) -> Beliefs:
    with book.registry.reading() as session:
        return beliefs_at(session, as_of, alpha=0.3)  # type: ignore[arg-type] - a datetime


def assert_same(one: Beliefs, other: Beliefs) -> None:
    for basis, part in one.bases.items():
        assert part.tallies == other.bases[basis].tallies
        assert set(part.states) == set(other.bases[basis].states)
        for measure, state in part.states.items():
            rows, others = state.rows, other.bases[basis].states[measure].rows
            np.testing.assert_array_equal(rows.counts, others.counts)
            np.testing.assert_allclose(rows.moments, others.moments, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(rows.sketches, others.sketches, rtol=1e-9, atol=1e-12)


def test_stored_summaries_say_what_the_receipts_say(book: Book) -> None:
    """A forecast must not depend on whether the night has run."""
    for i in range(12):
        book.add(f"m{i % 3}", f"{i + 1}.5", at=NOON + timedelta(hours=7 * i), took=timedelta(seconds=i + 1))
    fresh = beliefs(book)
    days = list(summarise_stale_days(book.registry, alpha=0.3))
    assert [day.day for day in days] == sorted({(NOON + timedelta(hours=7 * i)).date() for i in range(12)})
    assert_same(fresh, beliefs(book))
    assert list(summarise_stale_days(book.registry, alpha=0.3)) == []


def test_a_late_receipt_leads_to_the_beliefs_of_one_that_was_in_time(book: Book) -> None:
    """Order of arrival must not be a way to move a prior."""
    for i in (0, 2, 1):
        book.add("m", f"{i + 1}", at=NOON + timedelta(days=i))
        list(summarise_stale_days(book.registry, alpha=0.3))
    stepwise = beliefs(book)
    with book.registry.writing() as session:
        for day in session.scalars(select(ReceiptDay)):
            day.summarised_seq = 0
    list(summarise_stale_days(book.registry, alpha=0.3))
    assert_same(stepwise, beliefs(book))
    assert stepwise.bases["effort"].states["cost_usd"].cells[4200, "m"].last == pytest.approx(np.log(3))


def test_only_what_was_completed_by_the_instant_counts(book: Book) -> None:
    """A night repeated for a past date must see the books of that instant, also in the middle of a day."""
    for hours in (0, 2, 30):
        book.add("m", "2.0", at=NOON + timedelta(hours=hours))
    list(summarise_stale_days(book.registry, alpha=0.3))
    for hours, n in ((-1, 0), (0, 1), (1, 1), (2, 2), (29, 2), (30, 3)):
        tally = beliefs(book, NOON + timedelta(hours=hours)).bases["effort"].tallies
        assert (tally[4200, "m"].included if tally else 0) == n


def test_another_alpha_summarises_every_day_again(book: Book) -> None:
    """Summaries of two α must never be folded into one mean."""
    book.add("m", "2.0")
    book.add("m", "4.0", at=NOON + timedelta(days=1))
    list(summarise_stale_days(book.registry, alpha=0.3))
    assert len(list(summarise_stale_days(book.registry, alpha=0.5))) == 2
    assert list(summarise_stale_days(book.registry, alpha=0.5)) == []


def test_a_change_during_summarising_leaves_the_day_stale(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt that lands between reading and writing a day must not be lost until somebody touches the day again."""
    from plms_pipeline.estimates.actions import believing

    book.add("m", "2.0")
    real = believing.day_facts

    def meanwhile(*args: object, **kwargs: object) -> object:
        if book.written == 1:
            book.add("m", "8.0")
        return real(*args, **kwargs)  # type: ignore[arg-type] - passed through

    monkeypatch.setattr(believing, "day_facts", meanwhile)
    list(summarise_stale_days(book.registry, alpha=0.3))
    assert len(list(summarise_stale_days(book.registry, alpha=0.3))) == 1
    assert beliefs(book).bases["effort"].tallies[4200, "m"].included == 2


def test_a_day_whose_receipts_no_longer_teach_loses_its_summaries(book: Book) -> None:
    """An exclusion marks its day: the old summary must go, or the run teaches for ever."""
    from plms_pipeline.registry.tables import ProjectRun

    run = book.add("m", "2.0")
    list(summarise_stale_days(book.registry, alpha=0.3))
    with book.registry.writing() as session:
        row = session.scalars(select(ProjectRun).where(ProjectRun.run_id == run)).one()
        row.validation_pass_override, row.override_reason, row.overridden_by = False, "wrong data", "somebody"
        row.overridden_at = NOON
        book.touch(session, NOON.date())
    list(summarise_stale_days(book.registry, alpha=0.3))
    with book.registry.reading() as session:
        kept = session.scalars(select(DaySummary).where(DaySummary.basis == "effort", DaySummary.measure == "cost_usd"))
        assert list(kept) == []
    assert beliefs(book).bases["effort"].total().excluded == {"judged_good": 1}
    assert beliefs(book).bases["spend"].total().included == 1
