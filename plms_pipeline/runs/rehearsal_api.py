"""Which fields do requests and answers about rehearsals have? The sources' names, and ours beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MIN_PCT = 0.001
MAX_PCT = 0.2
MAX_WAIT_S = 30
MAX_SEED = 2**53 - 1

_RUN_ID = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
Number = float | int
Interval = Annotated[
    list[float], Field(min_length=2, max_length=2, description="Low and high end of the 90 % interval.")
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SimulateBody(BaseModel):
    """The query's fields, for those who send them as a body; what the query says wins. Other fields are ignored."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"rehearsal_pct": 0.01}]})

    rehearsal_pct: float | None = Field(None, ge=MIN_PCT, le=MAX_PCT, allow_inf_nan=False, strict=False)
    write_sandbox: bool | None = Field(None, strict=True)


class Took(BaseModel):
    """What the sample took. In a forecast: what it would take by the priors. Null: no task of it knows."""

    tokens: float | None = Field(examples=[190])
    duration_ms: float | None = Field(examples=[21000])
    cost_usd: float | None = Field(examples=[0.011])
    echo_cos_mean: float | None = Field(examples=[0.84])


class Intervals(BaseModel):
    """90 % intervals of the whole."""

    tokens: Interval = Field(examples=[[17100, 20900]])
    duration_ms: Interval = Field(examples=[[1890000, 2310000]])
    cost_usd: Interval = Field(examples=[[0.99, 1.21]])


class Whole(BaseModel):
    """What the whole project will take."""

    tokens: float = Field(examples=[19000])
    duration_ms: float = Field(examples=[2100000])
    cost_usd: float = Field(examples=[1.10])
    echo_cos_mean: float | None = Field(examples=[0.84])
    ci_90: Intervals


class RiskFactor(BaseModel):
    """One reason for doubt, with the numbers that it rests on."""

    model_config = ConfigDict(extra="allow")

    lane: int | None = Field(description="The lane; null: the project as a whole.", examples=[4202])
    issue: str = Field(
        description="high_variance, few_observations, failed_tasks, stratum_not_sampled or unlike_history.",
        examples=["high_variance"],
    )
    samples: int = Field(description="Receipts and measured tasks behind it.", examples=[3])


class SimulationResults(BaseModel):
    """The sources' `simulation_results`."""

    rehearsal_actual: Took
    extrapolated_full: Whole
    risk_factors: list[RiskFactor]


class SamplingMetrics(BaseModel):
    """How the sample was drawn."""

    n_total: int = Field(examples=[1000])
    n_sample: int = Field(examples=[40])
    actual_pct: Fraction = Field(examples=[0.04])
    requested_pct: Fraction = Field(examples=[0.01])
    strata_coverage: Fraction = Field(description="Share of strata with a task in this very sample.", examples=[1.0])
    auto_bumped: bool = Field(description="Whether the sample is larger than was asked for.")
    n_strata: int = Field(examples=[40])
    is_representative: bool = Field(description="Whether every stratum has a task in the sample.")


class RehearsalHead(BaseModel):
    """What every answer about a rehearsal says."""

    rehearsal_id: str = Field(examples=[_RUN_ID])
    project_id: int = Field(examples=[42])
    run_id: str | None = Field(description="The run of a canary.", examples=[_RUN_ID])
    mode: Literal["forecast", "canary"]
    state: Literal["running", "done", "failed"]
    seed: int = Field(description="Draws this sample again.", examples=[4711])
    write_sandbox: bool = Field(description="Whether writes were suppressed; a canary's always are.")
    run_status: str | None = Field(None, examples=["SUCCESS"])
    validation: str | None = Field(None, examples=["passed"])
    sampling_metrics: SamplingMetrics
    warnings: list[str] = Field(examples=[["Raised from 10 to 40 tasks, so that every stratum has one."]])


class RehearsalDone(RehearsalHead):
    """A rehearsal that has ended."""

    simulation_results: SimulationResults
    risk_score: Fraction = Field(
        description="1 - coverage · share of good tasks / (1 + mean relative half-width of the known intervals).",
        examples=[0.12],
    )
    by: dict[str, Any] | None = Field(
        None,
        description="Only where a model of estimates was promoted: whether it was `used`, which (promotion, hash of its file, "
        "when it read the receipts), or why the priors answered.",
        examples=[{"used": "priors", "candidate_id": _RUN_ID, "why": "what it said was altered"}],
    )


class RehearsalRunning(RehearsalHead):
    """A canary that runs; GET tells when it has ended."""
