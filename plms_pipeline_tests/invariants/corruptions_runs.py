"""Every way in which a test spoils the rows of runs: (SQL, invariant, how the row is named, whether the database refuses)."""

from __future__ import annotations

SNAPSHOTS = "real_runs_were_served_by_the_providers_of_their_passport"

SPOILED: tuple[tuple[str, str, str, bool], ...] = (
    (
        "UPDATE project_runs SET strata_coverage = NULL WHERE run_id = 'own-rehearsal'",
        "every_ended_rehearsal_says_what_it_covers", "run_id=own-rehearsal", False,
    ),
    (
        "UPDATE provider_snapshots SET state_json = '{}' WHERE run_id = 'own-rehearsal'",
        "every_provider_snapshot_matches_its_hash", "run_id=own-rehearsal moment=submission", False,
    ),
    (
        "UPDATE provider_snapshots SET matches = FALSE, mismatch = 'm: 1 in the passport, 2 at the executor' "
        "WHERE run_id = 'own-baseline'",
        SNAPSHOTS, "run_id=own-baseline: m: 1 in the passport, 2 at the executor", False,
    ),
    (
        "DELETE FROM provider_snapshots WHERE run_id = 'own-hotfix'",
        SNAPSHOTS, "run_id=own-hotfix: it has no snapshot", False,
    ),
    (
        "UPDATE rehearsals SET answer_json = replace(answer_json, '\"strata_coverage\":1.0', '\"strata_coverage\":0.5')",
        "no_partial_rehearsal_is_called_representative", "rehearsal_id=own-rehearsal", False,
    ),
    (
        "UPDATE rehearsals SET answer_json = replace(answer_json, '\"strata_coverage\":1.0', '\"strata_coverage\":0.5')",
        "every_rehearsal_covers_what_it_claims", "rehearsal_id=own-rehearsal", False,
    ),
    (
        "UPDATE rehearsals SET answer_json = replace(answer_json, ',\"strata_coverage\":1.0', '')",
        "every_rehearsal_covers_what_it_claims", "rehearsal_id=own-rehearsal", False,
    ),
    (
        "UPDATE project_runs SET strata_coverage = 0.5 WHERE run_id = 'own-rehearsal'",
        "no_partial_rehearsal_is_called_representative", "rehearsal_id=own-rehearsal", False,
    ),
    (
        "UPDATE job_cards SET card_key = '00000000-0000-5000-8000-000000000000' WHERE run_id = 'own-baseline'",
        "every_card_key_is_derived", "run_id=own-baseline task_id=t1 attempt=1", False,
    ),
    (
        "DELETE FROM job_cards WHERE run_id = 'own-hotfix'",
        "receipts_of_ours_have_their_card", "run_id=own-hotfix task_id=t1 attempt=1", False,
    ),
    (
        "UPDATE project_runs SET status = 'FAIL' WHERE run_id = 'own-rehearsal'",
        "every_end_is_told_once", "run own-rehearsal: it is FAIL, its transitions say SUCCESS", True,
    ),
    (
        "UPDATE run_tasks SET status = 'QUEUED' WHERE run_id = 'own-baseline'",
        "every_end_is_told_once", "task own-baseline/t1: it is QUEUED", True,
    ),
    (
        "UPDATE projects SET status = 'executing' WHERE name = 'calculator'",
        "every_end_is_told_once", "it is executing, its transitions say completed", False,
    ),
    (
        "DELETE FROM state_transitions WHERE subject_id = 'own-hotfix'",
        "every_end_is_told_once", "run own-hotfix: it is SUCCESS, its transitions say nothing", True,
    ),
    (
        "UPDATE inbox_events SET task_id = 'nobody' WHERE event_id = 'event-own-baseline'",
        "completions_and_receipts_agree", "event_id=event-own-baseline", False,
    ),
    (
        "DELETE FROM inbox_events WHERE event_id = 'event-own-hotfix'",
        "completions_and_receipts_agree", "run_id=own-hotfix task_id=t1 attempt=1: no completion", False,
    ),
    (
        "UPDATE idempotency_keys SET run_id = NULL WHERE key = 'key-own-baseline'",
        "every_answered_start_has_its_run", "the answer names own-baseline, the row None", False,
    ),
    (
        "UPDATE idempotency_keys SET path = '/api/projects/99999/start' WHERE key = 'key-own-hotfix'",
        "every_answered_start_has_its_run", "run own-hotfix belongs to project", False,
    ),
)  # fmt: skip
