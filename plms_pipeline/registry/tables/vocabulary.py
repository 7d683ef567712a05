"""Which words may stand in a status column? The enums of the design, and the SQL that lets a database refuse any other."""

from __future__ import annotations

from typing import Final

RUN_KINDS: Final = ("baseline", "rehearsal", "replay", "hotfix")
STATES: Final = ("QUEUED", "RUNNING", "SUCCESS", "FAIL", "SKIPPED")
TERMINAL_STATES: Final = ("SUCCESS", "FAIL", "SKIPPED")
RECEIPT_STATES: Final = ("SUCCESS", "FAIL")
VALIDATIONS: Final = ("pending", "passed", "failed", "ungated")
PROJECT_STATES: Final = (
    "planning", "pending_approval", "approved", "executing", "validating", "completed", "needs_review", "cancelled",
)  # fmt: skip
BREACH_POLICIES: Final = ("pause", "ask", "kill")
BREACH_STATES: Final = ("open", "over")
RUNWAY_STATES: Final = ("ok", "warning", "critical")
OPERATORS: Final = (">=", "<=", "==", ">", "<", "!=")
APPROVAL_GATES: Final = ("prd_review", "budget_approval", "quality_override", "replan_request")
APPROVAL_STATES: Final = ("approved", "rejected", "pending")
COMPLEXITIES: Final = ("trivial", "simple", "moderate", "complex", "very_complex")
STORE_HINTS: Final = ("vec", "graph", "text", "hybrid")
ARTIFACT_KINDS: Final = ("prd", "code", "config", "model", "logs", "receipt")
CARD_STATES: Final = ("WAITING", "SUBMITTED", "ENDED", "CANCELLED")
LINEAGES: Final = ("replay", "retry", "hotfix")
INBOX_STATES: Final = ("pending", "settled", "ignored", "refused")
OUTBOX_STATES: Final = ("pending", "done", "failed")
ANSWER_STATES: Final = ("in_progress", "done")
LANE_SOURCES: Final = ("given", "keywords", "classifier", "override")
REHEARSAL_MODES: Final = ("forecast", "canary")
REHEARSAL_STATES: Final = ("running", "done", "failed")
SWITCH_SCOPES: Final = ("global", "lane", "project")
SLOT_STATES: Final = ("HELD", "SUSPECT", "RELEASED")
PREEMPTION_STATES: Final = ("asked", "paused", "resuming", "over")
LEDGER_KINDS: Final = ("reserve", "settle", "release", "overrun", "charge")
REVIEW_FIELDS: Final = ("cap", "gate", "alpha")
REVIEW_STATES: Final = ("proposed", "applied", "rejected", "superseded")
LETTER_KINDS: Final = ("run", "task", "event", "effect", "job", "delivery")
LETTER_CLASSES: Final = ("TRANSIENT", "PERMANENT", "POLICY")
LETTER_STATES: Final = ("ready", "processing", "done", "permanent", "quarantined")
SEVERITIES: Final = ("P0", "P1", "P2", "P3")
ALERT_STATES: Final = ("ok", "pending", "firing", "acked", "resolved")
ALERT_EVENTS: Final = ("fired", "acked", "escalated", "resolved")
DELIVERY_KINDS: Final = ("fired", "acked", "escalated", "resolved", "test")
DELIVERY_STATES: Final = ("pending", "done", "dead", "withdrawn")
MODEL_FAMILIES: Final = ("market", "estimates")
CANDIDATE_STATES: Final = (
    "waiting", "approved", "promoted", "rejected", "retrain_requested", "halted", "expired", "replaced",
)  # fmt: skip
MODEL_ACTIONS: Final = ("keep", "promote", "risk_review", "request_retrain", "halt")
PROMOTION_KINDS: Final = ("promotion", "rollback")
TRADE_SIDES: Final = ("long", "short", "flat")
ANNOTATION_DECISIONS: Final = ("approve", "escalate", "flag", "hold", "reject")
OBLIGATION_STATES: Final = ("pending", "terminal")
PUBLICATIONS: Final = ("none", "due", "done")
OBSERVATION_REASONS: Final = (
    "ok", "missing", "timeout", "redis_error", "parse_error", "stale", "dropped", "cancelled",
)  # fmt: skip
BASES: Final = ("effort", "spend")


def one_of(column: str, words: tuple[str, ...]) -> str:
    """The CHECK predicate that a column holds one of `words` (or NULL, which passes a CHECK)."""
    return f"{column} IN ({', '.join(repr(word) for word in words)})"
