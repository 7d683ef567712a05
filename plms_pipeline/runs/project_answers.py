"""Which fields do answers about projects and decisions have? The sources' names, and ours beside them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.runs.project_forms import Breach, Complexity, Digest, Store


class TaskOut(BaseModel):
    """One planned task."""

    id: int
    key: str
    name: str
    description: str | None
    task_kind: str | None
    parent_task_id: int | None
    tmd_lane: int = Field(examples=[4200])
    lane_name: str = Field(examples=["Code-API"])
    lane_source: Literal["given", "keywords", "classifier", "override"]
    lane_confidence: float | None
    store_hint: Store | None
    complexity: Complexity | None
    provider: str
    depends_on: list[str]
    command: list[str] | None
    kpi_formula: dict[str, Any] | None = Field(
        description="What holds besides the lane's gates: the project's and the task's own."
    )
    estimated_tokens: int | None
    estimated_duration_minutes: int | None
    estimated_cost_usd: float | None
    forecast: dict[str, Any] | None = Field(
        description="Per basis (effort, spend) and measure: median, mean, low, high (90 %), budget (95 %), receipts behind it."
    )
    status: str


class Created(BaseModel):
    """The project that was made."""

    project_id: int = Field(examples=[42])
    status: str = Field(examples=["planning"])
    task_tree: list[TaskOut]


class Slo(BaseModel):
    """The quality that is asked for."""

    min_echo_cos: float = Field(examples=[0.82])
    lane_gates: dict[str, Any]


class ProjectLine(BaseModel):
    """One project, without its tasks."""

    project_id: int = Field(examples=[42])
    name: str
    description: str | None
    tags: list[str]
    status: str = Field(examples=["approved"])
    is_paused: bool
    pause_reason: str | None
    owner: str
    created_by: str
    source: str
    budget_tokens_max: int | None
    budget_cost_usd_max: float | None
    breach_policy: Breach
    quality_slo: Slo
    max_active_runs: int
    max_attempts: int
    estimated_tokens: int | None
    estimated_duration_minutes: int | None
    estimated_cost_usd: float | None
    actual_tokens: int | None
    actual_duration_minutes: int | None
    actual_cost_usd: float | None
    created_at: datetime
    approved_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


class ProjectOut(ProjectLine):
    """One project with its tasks; `evidence_sha256` is the digest of the plan that an approver is shown."""

    evidence_sha256: Digest
    tasks: list[TaskOut]
    forecast: dict[str, Any] | None = Field(
        description="Of the whole, as it was last estimated; shaped like a task's. Null before the first estimate."
    )


class ProjectList(BaseModel):
    """Projects in order of id; `next_after` pages on, null at the end."""

    projects: list[ProjectLine]
    next_after: int | None = Field(examples=[42])


class Totals(BaseModel):
    """What the whole project is estimated to take."""

    estimated_tokens: int = Field(examples=[19_000])
    estimated_duration_minutes: int = Field(examples=[35])
    estimated_cost_usd: float = Field(examples=[1.14])
    ci_90: dict[Literal["tokens", "duration_ms", "cost_usd"], list[float]]
    suggested_budget_usd: float = Field(description="Suffices with 95 %, failed attempts included.")
    rests_on_receipts: dict[str, int] = Field(description="Receipts of the least known (lane, provider) per measure.")


class Estimated(BaseModel):
    """Every task and the whole, estimated."""

    project_id: int
    status: str = Field(examples=["planning"])
    task_tree: list[TaskOut]
    totals: Totals


class DecidedOut(BaseModel):
    """How the project stands after a decision."""

    project_id: int
    status: str = Field(examples=["approved"])
    decision_id: str
    evidence_sha256: Digest


class BudgetOut(BaseModel):
    """The budget as it stands."""

    project_id: int
    status: str
    budget_updated: bool = Field(examples=[True])
    budget_tokens_max: int | None
    budget_cost_usd_max: float | None
    decision_id: str


class BreachAnswered(BaseModel):
    """What was decided about the breach of a budget."""

    project_id: int = Field(examples=[42])
    answer: Literal["go_on", "stop"] = Field(examples=["go_on"])
    decision_id: str = Field(examples=["0b9f2a54-6a3e-5a0e-9a3c-0d8a7d1f5c11"])


class ApprovalOut(BaseModel):
    """One gate that was approved or rejected."""

    gate: str = Field(examples=["budget_approval"])
    status: str = Field(examples=["approved"])
    approver: str
    reason: str | None
    approved_at: datetime | None
    run_id: str | None


class PausedOut(BaseModel):
    """A project on hold. `checkpoint_saved`: its state is rows, so nothing is ever lost by a pause."""

    project_id: int
    status: Literal["paused"] = "paused"
    checkpoint_saved: Literal[True] = True
    is_new: bool = Field(description="Whether this request paused it.")
    runs_told: int = Field(description="Running runs that PAS is asked to pause.")


class ChangedOut(BaseModel):
    """How the project stands."""

    project_id: int
    status: str = Field(examples=["cancelled"])
    is_new: bool = Field(description="Whether this request changed it.")
    runs_told: int


class LaneOverrideOut(BaseModel):
    """One corrected lane."""

    task_id: int = Field(examples=[2])
    task_description: str | None
    predicted_lane: int
    corrected_lane: int
    corrected_by: str
    corrected_at: datetime


class LaneOverridden(BaseModel):
    """A task in its new lane."""

    project_id: int = Field(examples=[42])
    status: str = Field(description="The project's state.")
    task_id: int
    predicted_lane: int
    corrected_lane: int
    decision_id: str


class AcceptOut(BaseModel):
    """The lane after the decision."""

    lane_id: int = Field(examples=[6100])
    lane_name: str = Field(examples=["Model-Train"])
    accepted: bool
    days_marked: int = Field(description="Days of receipts that the next night summarises again.")
    decision_id: str


class KpiOut(BaseModel):
    """One gate as it was measured."""

    task_id: str | None
    lane_id: int
    kpi_name: str
    kpi_value: float | None
    kpi_threshold: Any
    pass_: bool = Field(alias="pass")
    blocks: bool
    reason: str | None
    logs_path: str | None

    model_config = ConfigDict(populate_by_name=True)


class DecisionOut(BaseModel):
    """One decision as it stands in the books."""

    decision_id: str
    kind: str = Field(examples=["kpi_override"])
    subject_type: str = Field(examples=["run"])
    subject_id: str
    decision: str = Field(examples=["request"])
    reason: str
    requested_by: str | None
    actor: str
    actor_verified: bool
    role: str | None
    evidence_sha256: str | None
    payload: Any
    decided_at: datetime


class DecisionList(BaseModel):
    """Decisions, newest first."""

    decisions: list[DecisionOut]


class OverrideCaseOut(BaseModel):
    """What there is to decide about a run's verdict: what its gates measured, and the logs of those that failed."""

    run_id: str
    project_id: int
    run_kind: str
    status: str
    validation: str
    effective_verdict: str
    validation_pass_override: bool | None
    override_reason: str | None
    overridden_by: str | None
    overridden_at: datetime | None
    override_teaches: bool | None
    project_status: str
    owner: str
    kpi_receipts: list[KpiOut]
    evidence_sha256: Digest
    request: DecisionOut | None = Field(description="The request that waits for a decision.")
    logs: dict[str, str] = Field(description="`<task>/<kpi>` → the end of the log of a failed gate.")


class OverrideOut(OverrideCaseOut):
    """A request or decision about an override, and how things stand after it."""

    decision_id: str
    decision: str
