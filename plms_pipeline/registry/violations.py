"""Which rows must never stand in a table, and how does the database find them at once?

Each entry is a predicate that holds for a violating row only. A partial index on it (`vx_<name>`) holds exactly the
violating rows: empty in healthy books, so the nightly proof of a million rows reads one empty page instead of the table.
A CHECK constraint refuses most of these rows in the first place (`forbidden_by`); the proof exists for what came in
while a constraint was off, was dropped by hand, or never existed.

The predicates are written once, for both databases and NULL-safe: `x NOT IN (…)` is NULL for a NULL `x`, and a proof that
asks only that would call the worst rows healthy. The indexes are declared in `tables/proofs.py` and made by migrations
0003 and 0006; what an offence means and what to do about it is said in `plms_pipeline/invariants/rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

INDEX_PREFIX: Final = "vx_"


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that must never be: `predicate` is SQL for both databases, `sqlite` replaces it there where types differ.

    `forbidden_by` names the CHECK constraints of the table that refuse such a row while they stand.
    """

    name: str
    table: str
    predicate: str
    sqlite: str | None = None
    forbidden_by: tuple[str, ...] = ()

    @property
    def index(self) -> str:
        """The name of the partial index."""
        return INDEX_PREFIX + self.name

    def on(self, dialect: str) -> str:
        """The predicate for `sqlite` or `postgresql`."""
        return self.sqlite if self.sqlite is not None and dialect == "sqlite" else self.predicate


_CLAIM: Final = '"is_representative"'
_COVERAGE: Final = '"strata_coverage"'

_RUNS: Final = (
    Violation("every_run_has_an_id", "project_runs", "COALESCE(run_id, '') = ''"),
    Violation(
        "every_run_has_a_passport", "project_runs",
        "(source = 'plms' AND (passport_sha256 IS NULL OR length(passport_sha256) <> 64)) "
        "OR (source <> 'plms' AND (source_file_sha256 IS NULL OR length(source_file_sha256) <> 64))",
    ),
    Violation(
        "every_run_kind_is_known", "project_runs",
        "COALESCE(run_kind, '') NOT IN ('baseline', 'rehearsal', 'replay', 'hotfix')",
        forbidden_by=("run_kind_is_known",),
    ),
    Violation(
        "every_run_state_is_known", "project_runs",
        "COALESCE(status, '') NOT IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED') "
        "OR COALESCE(validation, '') NOT IN ('pending', 'passed', 'failed', 'ungated')",
        forbidden_by=("status_is_known", "validation_is_known"),
    ),
    Violation(
        "no_baseline_runs_in_the_sandbox", "project_runs", "run_kind = 'baseline' AND write_sandbox IS NOT FALSE",
        forbidden_by=("no_baseline_in_the_sandbox",),
    ),
    Violation(
        "no_run_ends_before_it_starts", "project_runs", "completed_at < started_at",
        forbidden_by=("completed_after_started",),
    ),
    Violation(
        "a_run_has_an_end_exactly_when_it_ended", "project_runs",
        "(status IN ('SUCCESS', 'FAIL') AND completed_at IS NULL) "
        "OR (status IN ('QUEUED', 'RUNNING') AND completed_at IS NOT NULL)",
        forbidden_by=("an_ended_run_has_an_end",),
    ),
    Violation(
        "every_override_is_explained", "project_runs",
        "validation_pass_override IS NOT NULL AND (length(trim(COALESCE(override_reason, ''))) = 0 "
        "OR length(trim(COALESCE(overridden_by, ''))) = 0 OR overridden_at IS NULL)",
        forbidden_by=("an_override_is_explained",),
    ),
    Violation(
        "every_verdict_names_its_judge", "project_runs",
        "validation IN ('passed', 'failed') AND length(trim(COALESCE(verdict_by, ''))) = 0",
    ),
    Violation(
        "every_real_run_has_a_provider_snapshot", "project_runs",
        "source = 'plms' AND run_kind IN ('baseline', 'hotfix') "
        "AND trim(COALESCE(provider_matrix_json, '')) IN ('', '{}', '[]', 'null')",
    ),
    Violation(
        "every_ended_rehearsal_says_what_it_covers", "project_runs",
        "run_kind = 'rehearsal' AND source = 'plms' AND status = 'SUCCESS' AND strata_coverage IS NULL",
    ),
    Violation(
        # The answer is canonical JSON, so its text can be searched on both databases; the colon is spelled out, because in
        # SQL text a colon before a word would be read as a parameter.
        "every_rehearsal_covers_what_it_claims", "rehearsals",
        f"strpos(answer_json, '{_CLAIM}' || chr(58) || 'true') > 0 "
        f"AND strpos(answer_json, '{_COVERAGE}' || chr(58) || '1.0') = 0",
        sqlite=f"instr(answer_json, '{_CLAIM}' || char(58) || 'true') > 0 "
        f"AND instr(answer_json, '{_COVERAGE}' || char(58) || '1.0') = 0",
    ),
    Violation(
        "run_shares_lie_between_0_and_1", "project_runs",
        "rehearsal_pct < 0 OR rehearsal_pct > 1 OR strata_coverage < 0 OR strata_coverage > 1 "
        "OR heartbeat_ok_ratio < 0 OR heartbeat_ok_ratio > 1",
        forbidden_by=("rehearsal_pct_is_a_fraction", "strata_coverage_is_a_fraction"),
    ),
    Violation(
        "every_task_state_is_known", "run_tasks",
        "COALESCE(status, '') NOT IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAIL', 'SKIPPED') "
        "OR COALESCE(validation, '') NOT IN ('pending', 'passed', 'failed', 'ungated')",
        forbidden_by=("status_is_known", "validation_is_known"),
    ),
    Violation("no_task_ends_before_it_starts", "run_tasks", "completed_at < started_at"),
)  # fmt: skip

_RECEIPTS: Final = (
    Violation(
        "no_receipt_measures_less_than_nothing", "task_receipts",
        "cost_usd < 0 OR duration_ms < 0 OR tokens < 0 OR tokens_input < 0 OR tokens_output < 0 OR tokens_cached < 0 "
        "OR tokens_reasoning < 0 OR api_calls < 0 OR energy_kwh < 0",
        forbidden_by=("money_is_not_negative", "duration_is_not_negative", "tokens_are_not_negative"),
    ),
    Violation(
        "no_receipt_ends_before_it_starts", "task_receipts", "completed_at < started_at",
        forbidden_by=("completed_after_started",),
    ),
    Violation(
        "every_receipt_says_how_it_ended", "task_receipts", "COALESCE(status, '') NOT IN ('SUCCESS', 'FAIL')",
        forbidden_by=("status_is_terminal",),
    ),
    Violation(
        "attempts_count_from_one", "task_receipts", "COALESCE(attempt, 0) < 1",
        forbidden_by=("attempts_count_from_one",),
    ),
    Violation(
        "receipt_shares_lie_in_their_range", "task_receipts",
        "test_pass_rate < 0 OR test_pass_rate > 1 OR echo_cos < -1 OR echo_cos > 1",
        forbidden_by=("test_pass_rate_is_a_fraction",),
    ),
    Violation(
        "token_parts_fit_into_their_total", "task_receipts",
        "tokens < COALESCE(tokens_input, 0) + COALESCE(tokens_output, 0) + COALESCE(tokens_cached, 0) "
        "+ COALESCE(tokens_reasoning, 0)",
    ),
    Violation(
        "every_receipt_lies_on_its_utc_day", "task_receipts",
        "completed_on IS DISTINCT FROM CAST(completed_at AT TIME ZONE 'UTC' AS date)",
        # IS NOT is NULL-safe there, so a moment that is no moment does not slip through either.
        sqlite="completed_on IS NOT substr(completed_at, 1, 10)",
    ),
    Violation(
        "nothing_stands_ahead_of_the_book", "receipt_days",
        "written_seq > changed_seq OR summarised_seq > changed_seq OR n_receipts < 0",
        forbidden_by=("nothing_ahead_of_the_book",),
    ),
    Violation("no_summary_counts_below_zero", "day_summaries", "n < 0", forbidden_by=("n_is_not_negative",)),
)  # fmt: skip

_PLANS: Final = (
    Violation(
        "priors_learn_only_from_real_passed_runs", "estimate_versions",
        "COALESCE(run_kind, '') NOT IN ('baseline', 'hotfix') OR write_sandbox IS NOT FALSE "
        "OR COALESCE(basis, '') NOT IN ('effort', 'spend') OR validation_pass IS FALSE "
        "OR (basis = 'effort' AND validation_pass IS NOT TRUE)",
        forbidden_by=(
            "basis_is_known", "only_real_runs_teach", "no_sandbox_run_teaches", "effort_is_learnt_from_passed_runs",
        ),
    ),
    Violation(
        "every_prior_rests_on_receipts", "estimate_versions", "COALESCE(n_observations, 0) <= 0",
        forbidden_by=("n_is_not_negative",),
    ),
    Violation(
        "no_prior_is_negative", "estimate_versions",
        "cost_usd_mean < 0 OR cost_usd_stddev < 0 OR duration_ms_mean < 0 OR duration_ms_stddev < 0 "
        "OR tokens_mean < 0 OR tokens_stddev < 0 OR attempts_per_task < 0",
        forbidden_by=("money_is_not_negative",),
    ),
    Violation(
        "every_unmeasured_kpi_fails_with_a_reason", "kpi_receipts",
        "kpi_value IS NULL AND (pass IS NOT FALSE OR length(trim(COALESCE(reason, ''))) = 0)",
    ),
    Violation(
        "no_estimate_is_negative", "task_estimates",
        "estimated_tokens < 0 OR estimated_duration_minutes < 0 OR estimated_cost_usd < 0",
        forbidden_by=("estimates_are_not_negative",),
    ),
    Violation(
        "every_lane_override_changes_the_lane", "lane_overrides",
        "predicted_lane IS NULL OR corrected_lane IS NULL OR predicted_lane = corrected_lane",
        forbidden_by=("the_lane_changed",),
    ),
    Violation(
        "no_project_has_negative_money", "projects",
        "budget_cost_usd_max < 0 OR estimated_cost_usd < 0 OR actual_cost_usd < 0",
        forbidden_by=("money_is_not_negative",),
    ),
    Violation(
        "every_project_state_is_known", "projects",
        "COALESCE(status, '') NOT IN ('planning', 'pending_approval', 'approved', 'executing', 'validating', "
        "'completed', 'needs_review', 'cancelled')",
        forbidden_by=("status_is_known",),
    ),
)  # fmt: skip

VIOLATIONS: Final = {violation.name: violation for violation in (*_RUNS, *_RECEIPTS, *_PLANS)}
"""Every violating row that has an index, by the sentence that it breaks."""
