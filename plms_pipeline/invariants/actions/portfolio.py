"""The book invariants of the portfolio: each fetches its window and answers how many offend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from plms_pipeline.invariants import portfolio_book, runway_book
from plms_pipeline.invariants.actions.proof import Proof
from plms_pipeline.invariants.report import Found
from plms_pipeline.invariants.store import portfolio as store


def accounts_are_the_sums_of_their_entries(proof: Proof) -> Found:
    """Balance = sum of entries, for every account that moved."""
    accounts, entries = store.accounts(proof.session, above=proof.above("ledger_entries"))
    return portfolio_book.unbalanced(accounts, entries)


def no_reservation_outlives_its_work(proof: Proof) -> Found:
    """What is reserved for a card is settled or released when the card is over."""
    return portfolio_book.outliving(store.reservations(proof.session, above=proof.above("ledger_entries")))


def projects_have_settled_their_receipts(proof: Proof) -> Found:
    """Spent = what receipts say, for every project whose account moved."""
    return runway_book.unpaid(store.settled(proof.session, above=proof.above("ledger_entries")))


def looks_at_budgets_are_consistent(proof: Proof) -> Found:
    """Status and intervals follow from the numbers beside them."""
    return runway_book.contradictory(store.looks(proof.session, above=proof.above("runway_snapshots")))


def no_slot_outlives_its_work(proof: Proof) -> Found:
    """Every place that is held is held for a card that may be at the executor."""
    total, named = store.stale_slots(proof.session)
    return Found(proof.rows_of("slots"), total, tuple(named))


def dead_letters_are_accounted(proof: Proof) -> Found:
    """Every letter waits for a moment, is under way, or has ended."""
    total, named = store.unaccounted_letters(proof.session)
    return Found(proof.rows_of("dead_letters"), total, tuple(named))


def obligations_are_accounted(proof: Proof) -> Found:
    """Ended ⇔ observed."""
    total, named = store.unaccounted_obligations(proof.session)
    return Found(proof.rows_of("obligations"), total, tuple(named))


PORTFOLIO_CHECKS: Final[dict[str, Callable[[Proof], Found]]] = {
    "every_account_is_the_sum_of_its_entries": accounts_are_the_sums_of_their_entries,
    "no_reservation_outlives_its_work": no_reservation_outlives_its_work,
    "every_project_has_settled_its_receipts": projects_have_settled_their_receipts,
    "every_look_at_a_budget_is_consistent": looks_at_budgets_are_consistent,
    "no_slot_outlives_its_work": no_slot_outlives_its_work,
    "every_dead_letter_is_accounted": dead_letters_are_accounted,
    "every_obligation_is_accounted": obligations_are_accounted,
}
