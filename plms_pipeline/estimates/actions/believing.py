"""What is believed at an instant, and which days have to be summarised again?

Whoever asks gets the same answer whether the night has run or not: days whose stored summaries are current are read, the
others and the day that the instant cuts are summarised on the spot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from plms_pipeline.estimates.beliefs import RECEIPTS, Beliefs, DayFact, beliefs_of
from plms_pipeline.estimates.daily import day_facts
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.estimates.summary import is_current
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class SummarisedDay:
    """One day that was summarised: how many facts were stored and how many receipts they rest on."""

    day: date
    facts: int
    included: dict[str, int]


def beliefs_at(session: Session, as_of: datetime, *, alpha: float, before: date | None = None) -> Beliefs:
    """Everything believed at an instant, from receipts completed by then.

    Args:
        as_of: aware.
        before: when given, only days before this one count.
    """
    return beliefs_of(facts_at(session, as_of, alpha=alpha, before=before), forgetting=METHOD.forgetting)


def facts_at(session: Session, as_of: datetime, *, alpha: float, before: date | None = None) -> Iterator[DayFact]:
    """The day facts behind `beliefs_at`."""
    as_of = as_of.astimezone(UTC)
    until = min(before, as_of.date()) if before else as_of.date()
    stored = kept.summaries(session, before=until)
    stale = set(stale_days(session, stored, alpha=alpha))
    yield from (fact for fact in stored if fact.day not in stale)
    for day in sorted(stale):
        if day < until:
            yield from day_facts(books.receipts_of_day(session, day), alpha=alpha, forgetting=METHOD.forgetting)
    if before is None or as_of.date() < before:
        today = books.receipts_of_day(session, as_of.date(), until=as_of)
        yield from day_facts(today, alpha=alpha, forgetting=METHOD.forgetting)


def stale_days(session: Session, stored: list[DayFact], *, alpha: float) -> list[date]:
    """Days whose stored summaries do not hold every change, or were made by another method or α; in order."""
    changes = books.day_changes(session)
    old = {fact.day for fact in stored if fact.measure != RECEIPTS and not is_current(fact.summary, alpha=alpha)}
    return sorted({day for day, (changed, summarised) in changes.items() if summarised < changed} | old)


def summarise_stale_days(registry: Registry, *, alpha: float) -> Iterator[SummarisedDay]:
    """Summarise each stale day in a transaction of its own; a change that lands meanwhile leaves its day stale."""
    with registry.reading() as session:
        days = stale_days(session, kept.summaries(session, before=date.max - timedelta(days=1)), alpha=alpha)
    for day in days:
        with registry.reading() as session:
            seq = books.day_changes(session)[day][0]
            facts = day_facts(books.receipts_of_day(session, day), alpha=alpha, forgetting=METHOD.forgetting)
        with registry.writing() as session:
            kept.hold_lock(session)
            if not kept.replace_day(session, day, facts, seq=seq):
                continue
        included: dict[str, int] = {}
        for fact in facts:
            if fact.measure == RECEIPTS:
                included[fact.basis] = included.get(fact.basis, 0) + fact.n
        yield SummarisedDay(day, len(facts), included)
