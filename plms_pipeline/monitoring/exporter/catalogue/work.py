"""Projects, runs, tasks, gates, letters, boxes, and what waits for a person."""

from __future__ import annotations

from typing import Final

from plms_pipeline.evidence.obligations import OBS_POINTS
from plms_pipeline.monitoring.exporter.catalogue.lanes import LANE
from plms_pipeline.monitoring.exporter.series import Label, Series
from plms_pipeline.registry.tables.vocabulary import (
    ANSWER_STATES,
    LETTER_CLASSES,
    LETTER_KINDS,
    LETTER_STATES,
    OBSERVATION_REASONS,
    PROJECT_STATES,
    RECEIPT_STATES,
    RUN_KINDS,
    STATES,
    TERMINAL_STATES,
)

TASK_EDGES_S: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)
RUN_EDGES_S: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0)
AGES: Final = ("1m", "5m", "1h", "older")
HOLDS: Final = ("run", "project", "lane", "other")
DECISIONS: Final = (
    "project_approval",
    "project_review",
    "verdict_override",
    "lane_review",
    "dead_letter",
    "budget_breach",
    "hold",
)
OUTCOMES: Final = ("done", "permanent", "open")
# Codes of the API's door; whatever else was refused is `other`.
REFUSALS: Final = (
    "token_missing", "token_expired", "token_not_yet_valid", "token_malformed", "token_algorithm", "token_key_unknown",
    "token_audience", "token_issuer", "token_claims", "token_forged", "missing_scope", "host_not_allowed", "bad_path", "other",
)  # fmt: skip
_PERFORMANCE: Final = "guide 003, Performance metrics"
_BOXES: Final = "Dagster facts, F.11"
_EVIDENCE: Final = "guide 004, 4"

_STANDING: Final = (
    Series(
        "plms_projects", "gauge", "registry", "Our own projects by state.", labels=(Label("status", PROJECT_STATES),)
    ),
    Series("plms_runs", "gauge", "registry", "Our own runs by state.", _PERFORMANCE, (Label("status", STATES),)),
    Series(
        "plms_holds", "gauge", "registry", "Pauses that nobody has lifted.", labels=(Label("subject", HOLDS),)
    ),
    Series(
        "plms_pending_decisions", "gauge", "registry", "What waits for a person.", "guide 002, approvals",
        (Label("kind", DECISIONS),),
    ),
    Series(
        "plms_pending_decisions_oldest_age_seconds", "gauge", "registry", "How long the first of them has waited.",
        "guide 002, approvals", (Label("kind", DECISIONS),),
    ),
)  # fmt: skip

_DONE: Final = (
    Series(
        "plms_runs_ended_total", "counter", "registry", "Runs of ours that ended.", _PERFORMANCE,
        (Label("run_kind", RUN_KINDS), Label("status", TERMINAL_STATES)),
    ),
    Series(
        "plms_run_duration_seconds", "histogram", "registry", "From start to end of runs that ended.", _PERFORMANCE,
        edges=RUN_EDGES_S,
    ),
    Series(
        "plms_tasks_ended_total", "counter", "registry", "Attempts at tasks that ended: receipts of our runs.", _PERFORMANCE,
        (LANE, Label("status", RECEIPT_STATES)),
    ),
    Series(
        "plms_tasks_retried_total", "counter", "registry", "Those of them that were not the first attempt.", _PERFORMANCE,
        (LANE,),
    ),
    Series(
        "plms_task_duration_seconds", "histogram", "registry", "What an attempt took, where that is known.", "guide 000, 2",
        (LANE,), TASK_EDGES_S,
    ),
    Series("plms_task_cost_usd_total", "counter", "registry", "What attempts cost.", "guide 000, 1", (LANE,)),
    Series("plms_task_tokens_total", "counter", "registry", "Tokens that attempts took.", labels=(LANE,)),
    Series(
        "plms_kpi_gates_total", "counter", "registry", "KPI gates that were measured, and whether failing one blocks.",
        "guide 000, 5", (LANE, Label("result", ("passed", "failed")), Label("blocks", ("true", "false"))),
    ),
    Series(
        "plms_calibration_mae_ratio", "gauge", "registry",
        "Mean error of the token estimates of successful attempts of the last 7 days, by what was estimated.", "guide 000, 10",
        (LANE,), absent="Nothing that was estimated succeeded in the lane.",
    ),
)  # fmt: skip

_LETTERS: Final = (
    Series(
        "plms_dead_letters", "gauge", "registry", "Dead letters.", "guide 003, DLQ size",
        (Label("kind", LETTER_KINDS), Label("error_class", LETTER_CLASSES), Label("state", LETTER_STATES)),
    ),
    Series("plms_dead_letters_due", "gauge", "registry", "Dead letters that are to be tried again now.", "guide 003, DLQ size"),
    Series(
        "plms_dead_letters_retried", "gauge", "registry", "Dead letters that were tried again, by what became of them.",
        "guide 003, Retry rate", (Label("outcome", OUTCOMES),),
    ),
)  # fmt: skip

_IN_AND_OUT: Final = (
    Series(
        "plms_inbox_pending", "gauge", "registry", "Events that are not settled, by age: up to a minute, 5, an hour, older.",
        _BOXES, (Label("age", AGES),),
    ),
    Series("plms_inbox_oldest_age_seconds", "gauge", "registry", "How long the first of them has waited.", _BOXES),
    Series("plms_inbox_refused", "gauge", "registry", "Events that were refused."),
    Series("plms_outbox_pending", "gauge", "registry", "Effects on others that are still to be done."),
    Series("plms_outbox_oldest_age_seconds", "gauge", "registry", "For how long the first of them has been due."),
    Series("plms_outbox_failed", "gauge", "registry", "Effects that were given up."),
    Series(
        "plms_idempotency_keys", "gauge", "registry", "Idempotency keys that are remembered.", "guide 000, 4",
        (Label("state", ANSWER_STATES),),
    ),
    Series(
        "plms_http_refusals_total", "counter", "registry", "Requests to the API that were not let in (audit log).",
        "guide 000, Security", (Label("code", REFUSALS),),
    ),
    Series("plms_evidence_pending", "gauge", "registry", "Evidence that is waited for.", _EVIDENCE),
    Series("plms_evidence_overdue", "gauge", "registry", "Evidence that nobody closed at its deadline.", _EVIDENCE),
    Series(
        "plms_evidence_observations_total", "counter", "registry", "Observations in the books, whoever observed.", _EVIDENCE,
        (Label("obs_point", OBS_POINTS), Label("reason", OBSERVATION_REASONS)),
    ),
)  # fmt: skip

WORK: Final = (*_STANDING, *_DONE, *_LETTERS, *_IN_AND_OUT)
