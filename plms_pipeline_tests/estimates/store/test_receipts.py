from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.registry.tables import Decision
from plms_pipeline_tests.estimates.conftest import NOON, Book


def decide(book: Book, decision: str, number: int, lane: str = "4200") -> None:
    with book.registry.writing() as session:
        session.add(Decision(
            decision_id=f"d{number}", kind="accept_ungated", subject_type="lane", subject_id=lane, decision=decision,
            reason="measured by hand", actor="x", actor_verified=False, decided_at=NOON,
        ))  # fmt: skip


def test_receipts_come_in_canonical_order_with_unknown_as_nan(book: Book) -> None:
    """Ties of time are broken by the natural key in bytes, on every database alike."""
    book.add("b", "2.000001", at=NOON + timedelta(seconds=1))
    book.add("a", None, at=NOON, took=timedelta(seconds=2))
    book.add("c", "0.5", at=NOON)
    with book.registry.reading() as session:
        found = books.receipts_of_day(session, NOON.date())
        assert len(books.receipts_of_day(session, NOON.date(), until=NOON)) == 2
        assert len(books.receipts_since(session, date(2026, 2, 2), until=NOON)) == 0
    assert found.provider.tolist() == ["a", "c", "b"]
    np.testing.assert_array_equal(found.measures["cost_usd"], [np.nan, 0.5, 2.000001])
    np.testing.assert_array_equal(found.measures["duration_ms"], [2000, np.nan, np.nan])
    assert (found.completed_ms - found.started_ms).tolist() == [2000, 0, 0]


def test_a_lane_accepts_ungated_runs_by_its_newest_decision(book: Book) -> None:
    """An ungated lane teaches only after a person said so, and no longer when they take it back."""
    book.add("m", "1.0", validation="ungated")
    for number, (decision, accepted) in enumerate((("approve", True), ("reject", False), ("approve", True))):
        decide(book, decision, number)
        with book.registry.reading() as session:
            found = books.receipts_of_day(session, NOON.date())
        assert found.policy["lane_accepts_ungated"].tolist() == [accepted]
        assert len(found.outcomes("cost_usd", "effort").value) == accepted


def test_lanes_are_found_by_number_name_and_alias(book: Book) -> None:
    """People and other systems name lanes differently."""
    with book.registry.reading() as session:
        words = books.lane_words(session)
        names = books.lane_names(session)
    assert words["4200"] == 4200
    assert all(words[name.casefold()] == lane for lane, name in names.items())
