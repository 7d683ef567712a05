"""Every way in which a test spoils money, places, letters and obligations; columns as in corruptions_runs.py."""

from __future__ import annotations

from plms_pipeline.runs.ids import card_key

CARD = card_key("own-baseline", "t1", 1)

SPOILED_PORTFOLIO: tuple[tuple[str, str, str, bool], ...] = (
    (
        "UPDATE ledger_accounts SET settled_usd = settled_usd + 1",
        "every_account_is_the_sum_of_its_entries", "account=project:", False,
    ),
    (
        "UPDATE ledger_accounts SET reserved_usd = reserved_usd + 1",
        "every_account_is_the_sum_of_its_entries", "its entries say 0 and 0.54", False,
    ),
    (
        "DELETE FROM ledger_entries WHERE kind = 'settle' AND run_id = 'own-hotfix'",
        "every_account_is_the_sum_of_its_entries", "account=project:", True,
    ),
    (
        "UPDATE ledger_accounts SET settled_usd = settled_usd + 2",
        "every_project_has_settled_its_receipts", "USD settled, its receipts say", False,
    ),
    (
        "UPDATE runway_snapshots SET minutes_low = 1, minutes_left = 5",
        "every_look_at_a_budget_is_consistent", "status ok, its numbers say critical", False,
    ),
    (
        f"DELETE FROM ledger_entries WHERE kind = 'release' AND subject = '{CARD}'",
        "no_reservation_outlives_its_work", f"subject={CARD}: 0.32 USD are reserved, its card is ", True,
    ),
    (
        "UPDATE slots SET state = 'HELD', released_at = NULL, subject = 'nobody' WHERE run_id = 'own-hotfix'",
        "no_slot_outlives_its_work", "subject=nobody: its card is not there", True,
    ),
    (
        "UPDATE slots SET state = 'SUSPECT', released_at = NULL WHERE run_id = 'own-baseline'",
        "no_slot_outlives_its_work", f"subject={CARD}: its card is ", True,
    ),
    (
        "UPDATE dead_letters SET state = 'ready', next_due_at = NULL",
        "every_dead_letter_is_accounted", "(run own-baseline): ready", False,
    ),
    (
        "UPDATE dead_letters SET ended_at = NULL",
        "every_dead_letter_is_accounted", "(run own-baseline): ", False,
    ),
    (
        "UPDATE dead_letters SET run_id = 'nobody'",
        "every_dead_letter_is_accounted", "(run own-baseline): ", False,
    ),
    (
        "UPDATE obligations SET state = 'pending' WHERE subject_id = 'own-baseline'",
        "every_obligation_is_accounted", "subject_id=own-baseline evidence_kind=provider_snapshot", True,
    ),
    (
        "DELETE FROM observations",
        "every_obligation_is_accounted", "terminal without an observation", True,
    ),
)  # fmt: skip
