"""Is what serving did added up, whatever the order and however long the registry was away?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from plms_pipeline.models.records import MARKET
from plms_pipeline.models.serving.actions import write_minutes
from plms_pipeline.models.serving.minutes import MOST_MINUTES, NAMES, Counts, added, answered, minute_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ServingMinute

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTS = st.builds(Counts, **{name: st.integers(0, 9) for name in NAMES})
BOOKS = st.dictionaries(st.integers(0, 5).map(lambda n: START + timedelta(minutes=n)), COUNTS, max_size=5)


def total(book: dict[datetime, Counts]) -> Counts:
    return sum(book.values(), Counts())


@given(first=BOOKS, second=BOOKS, third=BOOKS)
def test_adding_up_knows_no_order(
    first: dict[datetime, Counts], second: dict[datetime, Counts], third: dict[datetime, Counts]
) -> None:
    """Answers end in any order, and what could not be written is added again."""
    assert added(added(first, second), third) == added(first, added(third, second))


def test_a_long_outage_costs_no_count() -> None:
    """Kept for ever they would fill the memory; forgotten they would make the promise look kept."""
    book = {START + timedelta(minutes=n): Counts(requests=1) for n in range(MOST_MINUTES + 50)}
    kept = added({}, book)
    assert len(kept) == MOST_MINUTES
    assert total(kept) == total(book)
    assert max(kept) == max(book)


@pytest.mark.parametrize(
    ("endpoint", "status", "seconds", "counts"),
    [
        ("predict", 200, 0.750, Counts(requests=1)),
        ("predict", 200, 0.751, Counts(requests=1, slow_750=1)),
        ("predict", 503, 0.1, Counts(requests=1, errors=1)),
        ("predict", 0, 0.1, Counts(requests=1, errors=1)),
        ("predict", 422, 0.1, Counts(requests=1)),
        ("predict", 401, 9.0, None),
        ("predict", 403, 0.1, None),
        ("guardrails", 401, 0.1, None),
        ("guardrails", 200, 0.250, Counts(guardrail_requests=1)),
        ("guardrails", 500, 0.251, Counts(guardrail_requests=1, slow_250=1)),
        ("health", 503, 9.0, None),
    ],
)
def test_answers_count_as_what_was_promised(endpoint: str, status: int, seconds: float, counts: Counts | None) -> None:
    """Each promise has its own denominator; a mistake of the sender breaks none."""
    assert answered(endpoint, status, seconds) == counts


def test_counts_of_two_processes_add_up(registry: Registry) -> None:
    """The second would otherwise overwrite the first, or fail."""
    minute = minute_of(START + timedelta(seconds=59))
    assert minute == START
    later = START + timedelta(minutes=1)
    write_minutes(registry, MARKET, {minute: Counts(requests=2, errors=1), later: Counts(requests=1)})
    write_minutes(registry, MARKET, {minute: Counts(requests=3, trades_evaluated=7, violations=1)})
    with registry.reading() as session:
        found = session.execute(
            select(
                ServingMinute.requests, ServingMinute.errors, ServingMinute.trades_evaluated, ServingMinute.violations
            ).order_by(ServingMinute.minute)
        ).all()
    assert [tuple(row) for row in found] == [(5, 1, 7, 1), (1, 0, 0, 0)]
