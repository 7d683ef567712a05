"""Which sentences about runs, cards, completions and rehearsals must be true? Book invariants, as rules.py has them.

Each entry: name, the asset it speaks about (None: the report itself), what an offending row is, what a person does, and
whether it only weakens the books (`WARN`) or makes them wrong (`ERROR`).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class RunRule(NamedTuple):
    """One sentence about runs."""

    name: str
    offence: str
    remedy: str
    is_error: bool = True


_SETTLE: Final = "Run `plms run reconcile`, then `plms run settle`; if it stays, restore the registry from a backup."
_START: Final = (
    "Find who wrote the row (audit_log); start the run again through PLMS, which writes all its rows together."
)

RUN_RULES: Final = (
    RunRule(
        "every_provider_snapshot_matches_its_hash", "a snapshot of the providers whose text is not what was hashed",
        "What served the run is no longer proven: restore the registry from a backup.",
    ),
    RunRule(
        "real_runs_were_served_by_the_providers_of_their_passport",
        "a baseline or hotfix that succeeded without a snapshot of its providers, or whose executor used other versions",
        "A replay would use other versions than the passport says: look at the run (`plms run show`), and start it again.",
        is_error=False,
    ),
    RunRule(
        "no_partial_rehearsal_is_called_representative",
        "a rehearsal that is called representative although a stratum has no task in its sample",
        "Do not rely on its totals: rehearse again with a larger share (`plms run rehearse --pct`).",
    ),
    RunRule(
        "every_card_key_is_derived", "a job card whose key is not that of its run, task and attempt",
        "The executor would take it for other work, or do work twice: cancel the run and start it again.",
    ),
    RunRule(
        "receipts_of_ours_have_their_card", "a receipt of ours for an attempt that was never handed out as a card",
        "Somebody else than the executor wrote it: find out who (audit_log), restore the registry from a backup.",
    ),
    RunRule(
        "every_end_is_told_once",
        "a run, task or project of ours that ended without a transition that says so, or that is not in the state which its "
        "last transition entered",
        _SETTLE,
    ),
    RunRule(
        "completions_and_receipts_agree",
        "a completion that is called settled and left no receipt, or a receipt of ours that no completion brought", _SETTLE,
    ),
    RunRule(
        "every_answered_start_has_its_run",
        "a finished answer under an Idempotency-Key that names no run, or another than the one it started", _START,
    ),
)  # fmt: skip
