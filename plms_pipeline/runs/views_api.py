"""Which fields do the read endpoints of a project answer with? The sources' names, and ours beside them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_RUN_ID = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
Interval = Annotated[
    list[float], Field(min_length=2, max_length=2, description="Low and high end of the 90 % interval.")
]
Risk = Literal["low", "medium", "high", "unknown"]


class PlainEstimate(BaseModel):
    """What the project was estimated to take."""

    model_config = ConfigDict(extra="forbid")

    tokens: int | None = Field(examples=[19000])
    duration_minutes: int | None = Field(examples=[35])
    cost_usd: float | None = Field(examples=[1.14])


class WithInterval(BaseModel):
    """An estimate and its 90 % interval; null where nothing was estimated."""

    mean: float | None = Field(examples=[19000])
    ci_90: Interval | None = Field(examples=[[17100, 20900]])


class IntervalEstimate(BaseModel):
    """What the project was estimated to take, with intervals; durations in milliseconds."""

    model_config = ConfigDict(extra="forbid")

    tokens: WithInterval
    duration_ms: WithInterval
    cost_usd: WithInterval


class Actual(BaseModel):
    """What the project's own runs took; null where no receipt knows."""

    tokens: int | None = Field(examples=[17500])
    duration_ms: int | None = Field(examples=[1920000])
    cost_usd: float | None = Field(examples=[1.05])


class Accuracy(BaseModel):
    """|actual - estimated| / estimated in percent; with intervals, whether the actual lies in them."""

    model_config = ConfigDict(extra="allow")

    token_error_pct: float | None = Field(examples=[7.9])
    time_error_pct: float | None = Field(examples=[8.6])
    cost_error_pct: float | None = Field(examples=[7.9])


class Breakdown(BaseModel):
    """Where the tokens went, and the energy."""

    tokens_total: int | None
    tokens_input: int | None
    tokens_output: int | None
    tokens_cached: int | None
    tokens_think: int | None
    tokens_tool_use: int | None
    energy_kwh: float | None
    carbon_kg: float | None = Field(description="At 200 g per kWh.")


class Metrics(BaseModel):
    """Estimated against actual."""

    project_id: int = Field(examples=[42])
    estimated: PlainEstimate | IntervalEstimate
    actual: Actual
    accuracy: Accuracy
    calibration: dict[str, Any] = Field(
        description="With intervals `lane_specific_errors`: mean absolute error per lane, `mae_pct` in percent.",
        examples=[
            {"lane_specific_errors": [{"lane_id": 4201, "lane_name": "Code-Test", "mae_tokens": 150, "mae_pct": 5.3}]}
        ],
    )
    quality_slo: dict[str, Any] | None = Field(None, description="With intervals: echo, and the gates that failed.")
    breakdown: Breakdown | None = Field(None, description="With `breakdown=all`.")


class DriftPoint(BaseModel):
    """One project."""

    project_id: int = Field(examples=[42])
    mae_pct: float = Field(description="Mean absolute error of tokens over the estimate, a fraction.", examples=[0.12])


class Drift(BaseModel):
    """How estimates of a lane did in the last ten projects, oldest first."""

    project_id: int = Field(examples=[42])
    lane_id: int = Field(examples=[4200])
    lane_name: str = Field(examples=["Code-API"])
    history: list[DriftPoint]
    trend: Literal["improving", "stable", "degrading"]


class RunHead(BaseModel):
    """A run."""

    run_id: str = Field(examples=[_RUN_ID])
    status: str = Field(examples=["RUNNING"])
    validation: str = Field(examples=["pending"])


class Progress(BaseModel):
    """How far the newest run is, and what is left of the budget."""

    completed_tasks: int = Field(examples=[12])
    failed_tasks: int = Field(examples=[0])
    total_tasks: int = Field(examples=[40])
    current_task: str | None = Field(examples=["divide"])
    tokens_used: int | None = Field(examples=[11200])
    tokens_budget: int | None = Field(examples=[25000])
    cost_usd: float | None = Field(examples=[0.9])
    cost_usd_budget: float | None = Field(examples=[2.0])
    budget_remaining_pct: float | None = Field(
        description="The smaller of what is left of dollars and of tokens, in percent.", examples=[55.2]
    )


class StatusOut(BaseModel):
    """How a project stands."""

    project_id: int = Field(examples=[42])
    status: str = Field(description="The project's state, or `paused`.", examples=["executing"])
    run: RunHead | None = Field(description="The newest run that is the project's own work.")
    progress: Progress
    quality_slo_status: dict[str, Any] = Field(
        examples=[{"min_echo_cos": 0.82, "current_mean_cos": 0.87, "violations": []}]
    )


class ReceiptOut(BaseModel):
    """What one attempt at one task took."""

    id: int = Field(description="`after` of the next page.", examples=[10185])
    run_id: str = Field(examples=[_RUN_ID])
    task_id: str = Field(examples=["divide"])
    attempt: int = Field(examples=[1])
    task_name: str = Field(examples=["Endpoint for division"])
    lane_id: int = Field(examples=[4200])
    provider: str = Field(examples=["openai/gpt-4"])
    tokens_used: int | None = Field(examples=[1730])
    duration_ms: int | None = Field(examples=[8500])
    cost_usd: float | None = Field(examples=[0.12])
    status: Literal["SUCCESS", "FAIL"]
    completed_at: datetime
    receipt_path: str | None = Field(description="Where its work lies, below the data directory.")


class ArtifactOut(BaseModel):
    """One file that a run left."""

    id: int = Field(description="`after` of the next page.", examples=[7])
    run_id: str = Field(examples=[_RUN_ID])
    path: str | None = Field(description="Relative to the outputs of its run.", examples=["library/1/src/roman.py"])
    kind: str | None = Field(examples=["code"])
    size_bytes: int | None = Field(examples=[1280])
    sha256: str | None = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])


class Budget(BaseModel):
    """Dollars, as the ledger has them."""

    usd_max: float | None = Field(examples=[2.0])
    usd_spent: float = Field(examples=[1.10])
    usd_reserved: float = Field(description="Held for what runs.", examples=[0.3])
    burn_per_min: float | None = Field(description="Null: nothing burns.", examples=[0.083])


class RunwayNumbers(BaseModel):
    """How long, and how far over; intervals are central 90 %."""

    minutes_to_depletion: float | None = Field(description="Null: unknown, not infinite.", examples=[10.84])
    minutes_to_depletion_ci_90: Interval | None = Field(examples=[[6.2, 18.9]])
    projected_overrun_usd: float | None = Field(description="Null: nobody knows what is left.", examples=[0.32])
    projected_overrun_pct: float | None = Field(description="In percent of the budget.", examples=[16.0])
    projected_final_usd: float | None = Field(description="As likely exceeded as not.", examples=[2.32])
    projected_final_ci_90: Interval | None = Field(examples=[[1.9, 2.9]])
    overrun_probability: float | None = Field(description="That the budget does not suffice.", examples=[0.81])


class Left(BaseModel):
    """What the forecast is about."""

    tasks: int = Field(description="Tasks that have not ended.", examples=[12])
    tasks_without_forecast: int = Field(description="Any: the projected final is unknown.", examples=[0])


class Runway(BaseModel):
    """How long the budget lasts."""

    project_id: int = Field(examples=[42])
    budget: Budget
    runway: RunwayNumbers
    left: Left
    status: Literal["ok", "warning", "critical"]
    history: str = Field(examples=["/api/projects/42/budget-runway/history"])


class Signals(BaseModel):
    """What a lane's risk rests on; fractions."""

    mae_pct: float | None = Field(examples=[0.12])
    ci_width_pct: float | None = Field(examples=[0.28])
    n: int = Field(description="Receipts.", examples=[30])


class LaneRisk(BaseModel):
    """The risk of one lane."""

    lane_id: int = Field(examples=[4200])
    name: str | None = Field(examples=["Code-API"])
    estimation_risk: Risk
    execution_risk: Risk
    validation_risk: Risk
    signals: Signals


class Heatmap(BaseModel):
    """The risk of every lane of a project."""

    project_id: int = Field(examples=[42])
    lanes: list[LaneRisk]
    legend: dict[str, dict[str, float | bool]]
