"""Which sentences about the books must be true, how bad is it when one is not, and what should a person do then?

*Row invariants* are true of one row alone; the predicate of a violating row is its partial index
(`plms_pipeline/registry/violations.py`), so proving them reads only offenders. *Book invariants* compare rows with each
other, with hashes, files and rebuilds; they work on a window of what changed (window.py).

Everything a run's row needs to be judged stands in that row: no rule joins by project. The original joined priors to runs
by project and called every project that had rehearsed before its baseline "poisoned".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from plms_pipeline.invariants.rules_portfolio import PORTFOLIO_RULES
from plms_pipeline.invariants.rules_runs import RUN_RULES

# The asset that an invariant speaks about, where it has one; the others belong to the report itself.
REPORT: Final = "invariants_report"


class Severity(StrEnum):
    """How bad a violation is: an ERROR says the books are wrong, a WARN that they are right but weak. Both exit 1."""

    ERROR = "ERROR"
    WARN = "WARN"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One sentence about the books.

    Attributes:
        name: the sentence, in snake_case; the asset check's name.
        kind: `row` or `book`.
        about: the asset that it speaks about.
        offence: what a violating row is.
        remedy: what a person does about it.
        shows: columns that name the offending row (row invariants).
    """

    name: str
    kind: Literal["row", "book"]
    about: str
    offence: str
    remedy: str
    shows: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR


_WHO: Final = (
    "Find who wrote the row (audit_log, source) and correct it by a decision or a new run; never edit it by hand."
)
_REIMPORT: Final = (
    "Receipts are append-only: restore the registry from a backup taken before the row came in, and import again."
)
_RECALIBRATE: Final = "Run `plms nightly`: it folds the priors again; if it stays, restore the registry from a backup."


def _row(
    name: str, about: str, shows: str, offence: str, remedy: str, severity: Severity = Severity.ERROR
) -> Invariant:
    return Invariant(name, "row", about, offence, remedy, tuple(shows.split()), severity)


def _book(name: str, about: str, offence: str, remedy: str, severity: Severity = Severity.ERROR) -> Invariant:
    return Invariant(name, "book", about, offence, remedy, (), severity)


ROW_INVARIANTS: Final = (
    _row("every_run_has_an_id", REPORT, "id run_id source", "a run without an id: nothing can refer to it", _WHO),
    _row(
        "every_run_has_a_passport", REPORT, "run_id source passport_sha256 source_file_sha256",
        "a run of ours without the SHA-256 of its passport, or an imported run without that of its file: it cannot be replayed",
        "Start the run again through PLMS, which writes the passport with it, or import its file again.",
    ),
    _row("every_run_kind_is_known", REPORT, "run_id run_kind", "a run of no known kind: no policy covers it", _WHO),
    _row(
        "every_run_state_is_known", REPORT, "run_id status validation", "a run in no known state or with no known verdict",
        _WHO,
    ),
    _row(
        "no_baseline_runs_in_the_sandbox", REPORT, "run_id run_kind write_sandbox",
        "a baseline run that wrote into the sandbox: it is no real work",
        "Cancel the run and start it again, as a rehearsal or without the sandbox.",
    ),
    _row("no_run_ends_before_it_starts", REPORT, "run_id started_at completed_at", "a run that ended before it started", _WHO),
    _row(
        "a_run_has_an_end_exactly_when_it_ended", REPORT, "run_id status completed_at",
        "a run that ended without a moment of its end, or an open run that has one", _WHO,
    ),
    _row(
        "every_override_is_explained", REPORT, "run_id validation_pass_override overridden_by override_reason",
        "an overridden verdict without a reason, a name or a moment",
        "Ask the person in audit_log for the reason, and override again with it.",
    ),
    _row(
        "every_verdict_names_its_judge", REPORT, "run_id validation verdict_by",
        "a run that passed or failed by nobody's verdict",
        "Evaluate the run's artifact again (`plms kpi evaluate`), so that its gates decide.",
    ),
    _row(
        "every_real_run_has_a_provider_snapshot", REPORT, "run_id run_kind provider_matrix_json",
        "a baseline or hotfix run of ours that does not say which providers did the work",
        "Start the run again; its passport takes the snapshot.",
    ),
    _row(
        "every_ended_rehearsal_says_what_it_covers", REPORT, "run_id strata_coverage",
        "a rehearsal that ended and does not say which share of the strata it covered: nobody can rely on it",
        "Rehearse the project again; the run's row then says it.", Severity.WARN,
    ),
    _row(
        "every_rehearsal_covers_what_it_claims", REPORT, "rehearsal_id project_id run_id",
        "a rehearsal that calls itself representative and left out a stratum; one that says so openly is no offence",
        "Rely on no figure of it, and rehearse again with a larger share.", Severity.WARN,
    ),
    _row(
        "run_shares_lie_between_0_and_1", REPORT, "run_id rehearsal_pct strata_coverage heartbeat_ok_ratio",
        "a share of a run outside 0 to 1 (a percentage, perhaps)", _WHO,
    ),
    _row("every_task_state_is_known", REPORT, "run_id task_id status validation", "a task in no known state", _WHO),
    _row("no_task_ends_before_it_starts", REPORT, "run_id task_id started_at completed_at", "a task that ended first", _WHO),
    _row(
        "no_receipt_measures_less_than_nothing", "receipt_days", "run_id task_id attempt cost_usd duration_ms tokens",
        "a receipt with negative money, time, tokens, calls or energy", _REIMPORT,
    ),
    _row(
        "no_receipt_ends_before_it_starts", "receipt_days", "run_id task_id attempt started_at completed_at",
        "a receipt that ended before it started", _REIMPORT,
    ),
    _row(
        "every_receipt_says_how_it_ended", "receipt_days", "run_id task_id attempt status",
        "a receipt that is neither SUCCESS nor FAIL", _REIMPORT,
    ),
    _row("attempts_count_from_one", "receipt_days", "run_id task_id attempt", "a receipt of no attempt", _REIMPORT),
    _row(
        "receipt_shares_lie_in_their_range", "receipt_days", "run_id task_id attempt test_pass_rate echo_cos",
        "a pass rate outside 0 to 1 or a cosine outside -1 to 1", _REIMPORT,
    ),
    _row(
        "token_parts_fit_into_their_total", "receipt_days",
        "run_id task_id attempt tokens tokens_input tokens_output tokens_cached tokens_reasoning",
        "a receipt whose token parts are more than its total", _REIMPORT,
    ),
    _row(
        "every_receipt_lies_on_its_utc_day", "receipt_days", "run_id task_id attempt completed_at completed_on",
        "a receipt that is filed under another day than the UTC day of its end", _REIMPORT,
    ),
    _row(
        "nothing_stands_ahead_of_the_book", "receipt_days", "day changed_seq written_seq summarised_seq n_receipts",
        "a day whose file or summaries claim changes that never happened: the next change of it would be lost",
        "Set written_seq and summarised_seq of the day to 0; the night writes and summarises it again.",
    ),
    _row(
        "no_summary_counts_below_zero", "day_summaries", "day lane_id provider measure basis n",
        "a summary of fewer than no receipts", _RECALIBRATE,
    ),
    _row(
        "priors_learn_only_from_real_passed_runs", "priors",
        "id lane_id provider_name basis version run_kind validation_pass write_sandbox",
        "a prior that learnt from a rehearsal, a replay, a sandbox or a failed run", _RECALIBRATE,
    ),
    _row(
        "every_prior_rests_on_receipts", "priors", "id lane_id provider_name basis version n_observations",
        "a prior that rests on nothing", _RECALIBRATE,
    ),
    _row(
        "no_prior_is_negative", "priors", "id lane_id provider_name basis version cost_usd_mean duration_ms_mean tokens_mean",
        "a prior that expects negative money, time or tokens", _RECALIBRATE,
    ),
    _row(
        "every_unmeasured_kpi_fails_with_a_reason", "kpi_evaluations", "evaluation_id kpi_name pass reason",
        "a KPI without a value that passed, or that does not say why there is none",
        "Evaluate the artifact again (`plms kpi evaluate`).",
    ),
    _row(
        "no_estimate_is_negative", REPORT, "id project_id task_name", "a plan that expects negative money, time or tokens",
        _WHO,
    ),
    _row(
        "every_lane_override_changes_the_lane", REPORT, "id task_estimate_id predicted_lane corrected_lane",
        "a lane override that changes nothing", "Record the override again with the lane that was meant.",
    ),
    _row(
        "no_project_has_negative_money", REPORT, "id name budget_cost_usd_max estimated_cost_usd actual_cost_usd",
        "a project with a negative budget, estimate or spend", _WHO,
    ),
    _row("every_project_state_is_known", REPORT, "id name status", "a project in no known state", _WHO),
)  # fmt: skip

BOOK_INVARIANTS: Final = (
    _book(
        "kpi_formulas_are_valid", REPORT,
        "a task whose kpi_formula is no JSON object of known KPIs, operators and thresholds: its gate could not be judged",
        'Correct the formula of the task, for example {"test_pass_rate": {">=": 0.9}}.',
    ),
    _book(
        "kpi_formulas_never_loosen_their_lane", REPORT, "a task whose own formula asks less than its lane does",
        "Raise the task's threshold to the lane's, or decide the lane's gate anew.",
    ),
    _book(
        "lane_overrides_name_known_lanes", REPORT, "a lane override from or to a lane that does not exist",
        "Record the override again with a registered lane (`plms db query 'SELECT lane_id, name FROM lanes'`).",
    ),
    _book(
        "kpi_verdicts_agree_with_their_thresholds", "kpi_evaluations", "a KPI receipt whose pass is not what its value says",
        "Evaluate the artifact again; if its code judged wrong, no run that it passed may teach.",
    ),
    _book(
        "passed_runs_have_no_failed_gate", "kpi_evaluations", "a run of ours that passed although a blocking gate failed",
        "Evaluate the run again, or override its verdict with a reason; it must not teach as it is.",
    ),
    _book(
        "every_passport_matches_its_hash", REPORT, "a passport that is missing, or whose text is not what was hashed",
        "The run cannot be replayed from this text; restore the passport from a backup.",
    ),
    _book("every_prior_matches_its_hash", "priors", "a prior whose numbers are not those that were hashed", _RECALIBRATE),
    _book("priors_equal_their_rebuild", "priors", "a prior that the receipts do not give", _RECALIBRATE),
    _book(
        "day_summaries_equal_their_receipts", "day_summaries", "a day whose summaries are not those of its receipts",
        "Set summarised_seq of the day to 0 and run `plms nightly`.",
    ),
    _book(
        "day_files_match_the_book", "receipt_days",
        "a day whose file is missing or altered, or does not hold what the book holds",
        "Set written_seq of the day to 0 and run `plms nightly`: files are written from the book.",
    ),
    _book(
        "every_receipt_day_is_known", "receipt_days", "a day of receipts that the night does not know of",
        "Insert the day into receipt_days; the night writes and summarises it.",
    ),
    _book(
        "receipts_stand_with_their_run", "receipt_days",
        "a receipt under another project than its run, or in another lane than its task",
        _REIMPORT,
    ),
    _book(
        "every_reference_resolves", REPORT, "a row that refers to a row that does not exist",
        "Restore the missing row from a backup; find out who deleted it with foreign keys off.",
    ),
    _book(
        "every_check_constraint_holds", REPORT, "a row that a CHECK constraint of the schema would refuse",
        _WHO,
    ),
    _book(
        "append_only_triggers_stand", REPORT, "a trigger that keeps the books append-only is gone or changed",
        "Find out who dropped it and what was changed since; `plms db downgrade -- base` and `plms db upgrade` bring it back.",
    ),
    _book(
        "schema_is_at_head", REPORT, "a table, column, index or constraint that differs from what this program expects",
        "Run `plms db check`, then `plms db upgrade`.",
    ),
    *(
        _book(each.name, REPORT, each.offence, each.remedy, Severity.ERROR if each.is_error else Severity.WARN)
        for each in (*RUN_RULES, *PORTFOLIO_RULES)
    ),
)  # fmt: skip

INVARIANTS: Final = {each.name: each for each in (*ROW_INVARIANTS, *BOOK_INVARIANTS)}
"""Every invariant by its name, row invariants first."""
