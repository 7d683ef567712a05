"""Which fields do requests and answers about projects have? The sources' names, and ours beside them.

What a schema can say (lengths, words, bounds) is said here; what only the books can say (a lane that is not registered, tasks
that wait for each other) is a conflict with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# No blank at the beginning and no control characters; the databases could not keep some of them.
LINE = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
KEY = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
MAX_INTEGER = 2**31 - 1
_EXAMPLE_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE)]
Long = Annotated[
    str, Field(min_length=1, max_length=20_000, pattern=r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")
]
Reason = Annotated[
    str, Field(min_length=1, max_length=4000, pattern=LINE, description="Why; kept for ever.", examples=["within plan"])
]


def _no_flag(value: object) -> object:
    """`false` is no amount: pydantic takes it for 0, and a budget of nothing stops everything."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic tells of ValueError, a TypeError would be a 500
    return value


NoFlag = BeforeValidator(_no_flag)
Usd = Annotated[float, Field(ge=0, le=99_999_999, allow_inf_nan=False), NoFlag]
Tokens = Annotated[int, Field(ge=0, le=MAX_INTEGER), NoFlag]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NoFlag]
Breach = Literal["pause", "ask", "kill"]
Complexity = Literal["trivial", "simple", "moderate", "complex", "very_complex"]
Store = Literal["vec", "graph", "text", "hybrid"]
Operator = Literal[">=", "<=", "==", ">", "<", "!="]
Formula = Annotated[
    dict[str, dict[Operator, bool | float]],
    Field(description="KPI → operator → threshold.", examples=[{"test_pass_rate": {">=": 0.95}}]),
]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=[_EXAMPLE_SHA])]
LaneGates = Annotated[
    dict[str, dict[str, Any]],
    Field(
        description="Lane → KPI → operator → threshold, stricter than the lane's own; or `min_echo_cos`, which advises.",
        examples=[{"4201": {"test_pass_rate": {">=": 0.97}}, "4202": {"min_echo_cos": 0.8}}],
    ),
]


class Request(BaseModel):
    """What is asked for: nothing that is not named, because a misspelt budget that is ignored is found by the bill."""

    model_config = ConfigDict(extra="forbid")


class TaskIn(Request):
    """One task of a new project."""

    key: Annotated[str, Field(pattern=KEY, description="Names the task within the project.", examples=["library"])]
    name: Line | None = Field(None, examples=["Write the library"])
    description: Long | None = None
    kind: Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)] | None = Field(None, examples=["library"])
    lane: int | Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)] | None = Field(
        None, description="Number, name or alias; suggested from the task's words when left out.", examples=["Code-API"]
    )
    complexity: Complexity = "moderate"
    provider: Annotated[str, Field(min_length=1, max_length=255, pattern=LINE)] | None = None
    depends_on: Annotated[list[Annotated[str, Field(pattern=KEY)]], Field(max_length=200)] = []
    command: Annotated[list[Annotated[str, Field(max_length=16_384)]], Field(min_length=1, max_length=256)] | None = (
        Field(None, description="Program and arguments; no shell.", examples=[["python", "-c", "print('done')"]])
    )
    kpi_formula: Formula | None = None
    store_hint: Store | None = None


class BudgetIn(Request):
    """What a project may take at most."""

    usd: Usd | None = Field(None, examples=[2.0])
    tokens: Tokens | None = Field(None, examples=[25_000])


class CreateIn(Request):
    """A new project with its tasks."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Calculator API",
                    "tags": ["sample"],
                    "provider": "GPT-5 (2025-08-07) (medium reasoning)",
                    "budget": {"usd": 2.0},
                    "tasks": [{"key": "add", "name": "Endpoint for addition", "lane": "Code-API"}],
                }
            ]
        },
    )

    name: Line
    description: Long | None = None
    initial_context: Long | None = Field(
        None, description="The sources' name for a description; used when there is none."
    )
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)]], Field(max_length=50)] = []
    owner: Annotated[str, Field(min_length=1, max_length=255, pattern=LINE)] | None = Field(
        None, description="Who asks for overrides; the caller when left out."
    )
    provider: Annotated[str, Field(min_length=1, max_length=255, pattern=LINE)] | None = Field(
        None, description="Model or service of tasks that name none."
    )
    budget: BudgetIn | None = None
    breach_policy: Breach = "pause"
    min_echo_cos: Fraction = 0.82
    gates: LaneGates | None = None
    max_active_runs: Annotated[int, Field(ge=1, le=100), NoFlag] = 1
    max_attempts: Annotated[int, Field(ge=1, le=20), NoFlag] = 1
    tasks: Annotated[list[TaskIn], Field(min_length=1, max_length=10_000)]


class Created(BaseModel):
    """The project that was made."""

    project_id: int = Field(examples=[42])
    status: str = Field(examples=["planning"])
    task_tree: list[TaskOut]


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


class WhyIn(Request):
    """A reason, where one may be given."""

    reason: Reason | None = None


class WhyRequired(Request):
    """A reason, where one must be given."""

    reason: Reason


class SloIn(Request):
    """The quality that the approver asks for."""

    min_echo_cos: Fraction | None = Field(None, examples=[0.82])
    lane_gates: LaneGates | None = None


class ApproveIn(Request):
    """The approver's terms; what is left out stays as planned."""

    budget_tokens_max: Tokens | None = Field(None, examples=[25_000])
    budget_cost_usd_max: Usd | None = Field(None, examples=[2.0])
    breach_policy: Breach | None = None
    quality_slo: SloIn | None = None
    reason: Reason = "approved over HTTP"
    evidence_sha256: Digest | None = Field(None, description="The plan that was shown; another one is refused.")


class GateIn(Request):
    """A decision about a gate of a project."""

    gate: Literal["budget_approval"] = "budget_approval"
    status: Literal["approved", "rejected"]
    reason: Reason
    evidence_sha256: Digest | None = None


class BudgetChangeIn(Request):
    """The new budget; at least one of the two."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "anyOf": [
                {"required": ["budget_cost_usd_max"], "properties": {"budget_cost_usd_max": {"type": "number"}}},
                {"required": ["budget_tokens_max"], "properties": {"budget_tokens_max": {"type": "integer"}}},
            ],
            "examples": [{"budget_cost_usd_max": 3.0, "reason": "one more lane"}],
        },
    )

    budget_tokens_max: Tokens | None = None
    budget_cost_usd_max: Usd | None = None
    reason: Reason = "changed over HTTP"


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


class LaneOverrideIn(Request):
    """A task belongs into another lane."""

    task_id: Annotated[int, Field(ge=1, le=MAX_INTEGER, examples=[2]), NoFlag]
    corrected_lane: int | Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)] = Field(examples=[4202])
    reason: Reason


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


class AcceptIn(Request):
    """Whether ungated work of a lane teaches the priors."""

    accept: bool = Field(True, strict=True)
    reason: Reason


class AcceptOut(BaseModel):
    """The lane after the decision."""

    lane_id: int = Field(examples=[6100])
    lane_name: str = Field(examples=["Model-Train"])
    accepted: bool
    days_marked: int = Field(description="Days of receipts that the next night summarises again.")
    decision_id: str


class OverrideRequestIn(Request):
    """The owner asks that a failed verdict be let pass."""

    reason: Reason
    teach: bool = Field(False, strict=True, description="Whether the run is to teach the priors if it is let pass.")


class OverrideDecideIn(Request):
    """Somebody else decides."""

    decision: Literal["approve", "reject"]
    reason: Reason
    evidence_sha256: Digest | None = Field(None, description="The measured gates that were shown; others are refused.")
    teach: bool | None = Field(
        None, description="`false`: let pass, but do not learn from it. Never more than was asked."
    )


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


Created.model_rebuild()
