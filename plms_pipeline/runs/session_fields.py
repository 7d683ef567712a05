"""By which 56 fields do the guides' tools know what happened in a run?

The union of what the sources write and read: 36 fields of their writer, 16 of its gate, one that a smoke test looks for and
three of continuous integration. Every field has one type and is always there; what is not known is null, never 0.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Result = Literal["PASS", "FAIL", "SKIPPED", "WARN", "PARTIAL"]


class Validations(BaseModel):
    """Whether each of the gate's own conditions holds; None: it could not be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases_total_valid: bool
    threshold_compliance: bool | None
    manifest_integrity: bool | None
    budget_compliance: bool | None


class SessionReport(BaseModel):
    """One report; the names are the sources'. USD, ms, tokens, fractions 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    SESSION_ID: str
    RUN_ID: str
    TARGET: str
    PROFILE: str
    MODE: Literal["full", "sample"]
    DRY_RUN: bool
    OFFLINE_MODE: bool
    BUDGET_USD: float | None
    COST_USD: float | None
    DURATION_MS: int | None
    MODEL_ID: str | None
    PANEL_SIZE: int
    TOKENS_EST: int | None
    COST_EST_USD: float | None
    CASES_TOTAL: int
    CASES_PASSED: int
    PASS_RATE: float | None
    MEAN_SCORE: float | None
    P50_MS: int | None
    P95_MS: int | None
    TOP_FAIL_REASONS: tuple[str, ...]
    ERROR_CLASS: str | None
    TRACE_ID: str | None
    CI_BUILD_ID: str | None
    GIT_COMMIT: str | None
    GIT_COMMIT_FULL: str | None
    RUN_STATE: str
    RETRY_COUNT: int
    RETRY_FROM_DLQ: bool
    RESULT: Result
    WARNINGS: tuple[str, ...]
    CHANGED_FILES: int
    NOTES: str | None
    TIMESTAMP: datetime
    DLQ_COUNT: int | None
    LAST_DLQ_RUN_ID: str | None

    CAN_PROCEED: bool
    GATE_STATUS: str
    P0_VIOLATIONS: int
    P1_WARNINGS: int
    P2_ISSUES: int
    THRESHOLD_SOURCE: str
    PROFILE_USED: str
    AUTOCALIBRATION_ENABLED: bool
    MANIFEST_HASH: str | None
    MANIFEST_INTEGRITY: bool | None
    BUDGET_COMPLIANCE: bool | None
    TOTAL_COST_USD: float | None
    DECISION_RATIONALE: str | None
    BLOCKING_ISSUES: tuple[str, ...]
    RECOMMENDATIONS: tuple[str, ...]
    VALIDATIONS: Validations

    RUNTIME_GUARDS: str | None

    CI_PROVIDER: str | None
    CI_BRANCH: str | None
    CI_PR_NUMBER: str | None
