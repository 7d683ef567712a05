"""The book invariants of runs, cards, completions and rehearsals: each fetches its window and answers how many offend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from plms_pipeline.invariants import book, runs_book
from plms_pipeline.invariants.actions.proof import Proof
from plms_pipeline.invariants.report import CAP, Found
from plms_pipeline.invariants.store import runs as store


def snapshots_match_their_hash(proof: Proof) -> Found:
    """Every snapshot still is what was hashed."""
    chunks = store.snapshots(proof.session, above=proof.above("provider_snapshots"))
    return book.merged(runs_book.altered_snapshots(chunk) for chunk in chunks)


def runs_were_served_as_their_passport_says(proof: Proof) -> Found:
    """Real runs that succeeded have snapshots, and all of them match."""
    total, named = store.unproven_runs(proof.session, above=proof.above("project_runs"))
    return Found(proof.in_window("project_runs"), total, tuple(named))


def no_partial_rehearsal_is_representative(proof: Proof) -> Found:
    """What is called representative covers all its strata."""
    return book.merged(runs_book.overstated(chunk) for chunk in store.rehearsals(proof.session))


def card_keys_are_derived(proof: Proof) -> Found:
    """Every card's key is that of its run, task and attempt."""
    chunks = store.cards(proof.session, above=proof.above("project_runs"))
    return book.merged(runs_book.foreign_cards(chunk) for chunk in chunks)


def receipts_have_their_card(proof: Proof) -> Found:
    """Receipts of ours are of attempts that were handed out."""
    total, named = store.cardless_receipts(proof.session, above=proof.above("task_receipts"))
    return Found(proof.in_window("task_receipts"), total, tuple(named))


def every_end_is_told_once(proof: Proof) -> Found:
    """Runs, tasks and projects of ours are in the state that their transitions entered last; ends are told as such."""
    parts = (
        (proof.in_window("project_runs"), store.untold_runs(proof.session, above=proof.above("project_runs"))),
        (proof.in_window("run_tasks"), store.untold_tasks(proof.session, above=proof.above("run_tasks"))),
        (proof.rows_of("projects"), store.untold_projects(proof.session)),
    )
    checked = sum(n for n, _ in parts)
    named = [name for _, (_, names) in parts for name in names]
    return Found(checked, sum(total for _, (total, _) in parts), tuple(named[:CAP]))


def completions_and_receipts_agree(proof: Proof) -> Found:
    """What is called settled was booked, and what was booked was settled."""
    events = store.receiptless_events(proof.session, above=proof.above("inbox_events"))
    unbooked = [name for chunk in events for name in runs_book.unbooked(chunk)]
    total, unsettled = store.eventless_receipts(proof.session, above=proof.above("task_receipts"))
    checked = proof.in_window("inbox_events") + proof.in_window("task_receipts")
    return Found(checked, len(unbooked) + total, tuple([*unbooked, *unsettled][:CAP]))


def answered_starts_have_their_run(proof: Proof) -> Found:
    """Every finished answer of a start names the run that it started."""
    chunks = store.answers(proof.session, above=proof.above("idempotency_keys"))
    return book.merged(runs_book.runless_answers(chunk) for chunk in chunks)


RUN_CHECKS: Final[dict[str, Callable[[Proof], Found]]] = {
    "every_provider_snapshot_matches_its_hash": snapshots_match_their_hash,
    "real_runs_were_served_by_the_providers_of_their_passport": runs_were_served_as_their_passport_says,
    "no_partial_rehearsal_is_called_representative": no_partial_rehearsal_is_representative,
    "every_card_key_is_derived": card_keys_are_derived,
    "receipts_of_ours_have_their_card": receipts_have_their_card,
    "every_end_is_told_once": every_end_is_told_once,
    "completions_and_receipts_agree": completions_and_receipts_agree,
    "every_answered_start_has_its_run": answered_starts_have_their_run,
}
