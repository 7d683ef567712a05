"""Which fields do requests about projects and decisions have? The sources' names, and ours beside them.

What a schema can say (lengths, words, bounds) is said here; what only the books can say (a lane that is not registered, tasks
that wait for each other) is a conflict with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from plms_pipeline.access.forms import LINE, Reason, Request, WhyIn

__all__ = ["LINE", "Reason", "Request", "WhyIn"]
KEY = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
MAX_INTEGER = 2**31 - 1
_EXAMPLE_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE)]
Long = Annotated[
    str, Field(min_length=1, max_length=20_000, pattern=r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")
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
    depends_on: Annotated[list[Annotated[str, Field(pattern=KEY)]], Field(max_length=200)] = Field(default_factory=list)
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
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)]], Field(max_length=50)] = (
        Field(default_factory=list)
    )
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


class BreachAnswerIn(Request):
    """What is to become of a project whose budget will be passed by more than a quarter."""

    answer: Literal["go_on", "stop"] = Field(
        description="`go_on` lifts what the policy holds; `stop` calls off its runs."
    )
    reason: Reason
    episode_id: str | None = Field(
        None, min_length=1, max_length=64, pattern=LINE,
        description="The breach that was shown; refused when the project is in another one by now.",
    )  # fmt: skip


class LaneOverrideIn(Request):
    """A task belongs into another lane."""

    task_id: Annotated[int, Field(ge=1, le=MAX_INTEGER, examples=[2]), NoFlag]
    corrected_lane: int | Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)] = Field(examples=[4202])
    reason: Reason


class AcceptIn(Request):
    """Whether ungated work of a lane teaches the priors."""

    accept: bool = Field(True, strict=True)
    reason: Reason


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
