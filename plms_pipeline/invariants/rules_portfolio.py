"""Which sentences about money, places, dead letters and late evidence must be true? Book invariants, as rules.py has them."""

from __future__ import annotations

from typing import Final

from plms_pipeline.invariants.rules_runs import RunRule

_SETTLE: Final = "Run `plms run reconcile`, then `plms run settle`; if it stays, restore the registry from a backup."

PORTFOLIO_RULES: Final = (
    RunRule(
        "every_account_is_the_sum_of_its_entries",
        "an account whose settled or reserved sum is not that of its entries: admissions are decided by a wrong figure",
        "The entries are the record: find who changed the account (audit_log), and set its two sums to those that are named.",
    ),
    RunRule(
        "no_reservation_outlives_its_work",
        "money that is still reserved for a card that has ended, was called off or is not there: nobody can spend it",
        _SETTLE,
    ),
    RunRule(
        "every_project_has_settled_its_receipts",
        "an account of a project whose settled sum is not that of its receipts: its runway and every admission are wrong",
        "Run `plms run settle`; if it stays, compare ledger_entries of the account with task_receipts.",
    ),
    RunRule(
        "every_look_at_a_budget_is_consistent",
        "a remembered runway whose status, overrun or intervals contradict its own numbers: somebody was told something untrue",
        "The history decides nothing: find out who wrote the row, and delete it if it was not this program.",
    ),
    RunRule(
        "no_slot_outlives_its_work",
        "a place in a lane that is held for a card that has ended, was called off or is not there, or for a run that has "
        "ended: the lane is narrower than its cap",
        _SETTLE,
    ),
    RunRule(
        "every_dead_letter_is_accounted",
        "a letter that waits for no moment, that ended at none, or that is about a run that does not exist",
        "`plms dlq inspect` shows it; `plms dlq reset-retries` or `plms dlq mark-permanent` decides about it.",
    ),
    RunRule(
        "every_obligation_is_accounted",
        "an obligation that ended without an observation, or that is pending although it was observed",
        "`plms verify books` counts them; restore the registry from a backup if a row was lost.",
    ),
)  # fmt: skip
