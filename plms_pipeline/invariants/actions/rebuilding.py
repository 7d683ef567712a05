"""Computes summaries and priors again from the receipts, and compares.

Days of the window are summarised from their receipts; days that were proven before stand with their stored summaries. On
Sundays and with `--full` the window is every day, and then the priors are compared with nothing but receipts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, timedelta
from typing import Final

from plms_pipeline.estimates.actions.believing import stale_days
from plms_pipeline.estimates.beliefs import DayFact, beliefs_of
from plms_pipeline.estimates.daily import day_facts
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.priors import priors_of
from plms_pipeline.estimates.store import receipts as receipt_books
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.invariants.actions.proof import Proof
from plms_pipeline.invariants.book import found
from plms_pipeline.invariants.rebuild import differing_facts, differing_priors
from plms_pipeline.invariants.report import Found
from plms_pipeline.invariants.store import books

_EVER: Final = date.max - timedelta(days=1)


class Rebuild:
    """What the receipts of the window give; computed once per proof."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        stored = kept.summaries(proof.session, before=_EVER)
        self.stale = frozenset(stale_days(proof.session, stored, alpha=proof.settings.alpha))
        self.stored: dict[date, list[DayFact]] = {}
        for fact in stored:
            self.stored.setdefault(fact.day, []).append(fact)
        self.days = {day: self._facts(day) for day in sorted(proof.days - self.stale)}

    def _facts(self, day: date) -> list[DayFact]:
        receipts = receipt_books.receipts_of_day(self._proof.session, day)
        return day_facts(receipts, alpha=self._proof.settings.alpha, forgetting=METHOD.forgetting)


def _rebuild(proof: Proof) -> Rebuild:
    if not isinstance(proof.rebuild, Rebuild):
        proof.rebuild = Rebuild(proof)
    return proof.rebuild


def day_summaries_equal_their_receipts(proof: Proof) -> Found:
    """The stored summaries of each day are those of its receipts."""
    rebuilt = _rebuild(proof)
    wrong = []
    for day, facts in rebuilt.days.items():
        problems = differing_facts(rebuilt.stored.get(day, []), facts)
        if problems:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            wrong.append(f"day_summaries day={day}: {problems[0]}{more}")
    # Summaries of days that the book does not know would be folded all the same.
    unknown = sorted(set(rebuilt.stored) - {each.day for each in proof.every_day()})
    wrong += [f"day_summaries day={day}: the book has no such day" for day in unknown]
    waiting = len(proof.days & rebuilt.stale)
    note = f"{waiting} changed days wait for the night" if waiting else ""
    return replace(found(len(rebuilt.days) + len(unknown), wrong), note=note)


def priors_equal_their_rebuild(proof: Proof) -> Found:
    """The newest priors are those that the receipts give at the instant of the priors."""
    instant, stored = books.newest_priors(proof.session)
    if instant is None:
        return Found(0, note="no priors were written yet")
    instant = instant.astimezone(UTC)
    rebuilt = _rebuild(proof)
    waiting = [day for day in rebuilt.stale if day <= instant.date()]
    if waiting:
        return Found(0, note=f"{len(waiting)} days changed since the priors were written; the night folds them again")
    facts = [fact for day, known in (rebuilt.stored | rebuilt.days).items() if day < instant.date() for fact in known]
    today = receipt_books.receipts_of_day(proof.session, instant.date(), until=instant)
    facts += day_facts(today, alpha=proof.settings.alpha, forgetting=METHOD.forgetting)
    beliefs = beliefs_of(facts, forgetting=METHOD.forgetting)
    fresh = priors_of(beliefs)
    return found(len(stored.keys() | {prior.key for prior in fresh}), differing_priors(stored, fresh, beliefs))
