"""What do the workers of an executor tell it, and what is asked of it about a run that it has?

Heartbeats, receipts and KPI results come from whoever really does the work, not from PLMS. PLMS reads what became of them in
`GET /runs/status` and in completions. The words of the sources are accepted for ours (`progress_pct`, `pass_bool`, `value`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from plms_pipeline.pas.protocol import (
    Answer,
    Attempt,
    Command,
    Cosine,
    Count,
    Fraction,
    Lane,
    Measure,
    Moment,
    Name,
    Provider,
    RunId,
    Usd,
    Word,
)


class Heartbeat(Command):
    """A task still works; due every 30 s. `ts`: when, now if it is left out."""

    run_id: RunId
    task_id: Name
    attempt: Attempt = 1
    ts: Moment | None = None
    progress_pct: Fraction = Field(validation_alias=AliasChoices("progress_pct", "progress"))
    est_remaining_ms: Count | None = None


class WorkerReceipt(Command):
    """What an attempt took, from whoever did it: the task ends with it. Unknown is left out, never 0."""

    run_id: RunId
    task_id: Name
    attempt: Attempt = 1
    lane: Lane = Field(validation_alias=AliasChoices("lane", "lane_id"))
    provider: Provider
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tokens_think: Count | None = None
    time_ms: Count
    cost_usd: Usd
    energy_kwh: Measure | None = None
    echo_cos: Cosine | None = None
    status: Literal["succeeded", "failed"]
    artifacts_path: Annotated[Word, Field(max_length=4096)] | None = None
    error: Annotated[str, Field(max_length=2000)] | None = None


class KpiThreshold(Command):
    """What a KPI had to reach."""

    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    expected: bool | float | str | None = None


class KpiResult(Command):
    """What a worker measured about its own work: shown and handed on, never believed."""

    run_id: RunId
    task_id: Name
    attempt: Attempt = 1
    lane: Lane | None = Field(default=None, validation_alias=AliasChoices("lane", "lane_id"))
    kpi_name: Name = Field(validation_alias=AliasChoices("kpi_name", "name"))
    value: bool | float | str | None = Field(default=None, allow_inf_nan=False)
    passed: bool = Field(validation_alias=AliasChoices("pass", "pass_bool", "passed"), serialization_alias="pass")
    threshold: KpiThreshold = KpiThreshold()
    logs_path: Annotated[Word, Field(max_length=4096)] | None = None


class Told(Answer):
    """The answer to a worker. `status`: of its task now; `duplicate`: the same was told before."""

    run_id: RunId
    task_id: Name
    attempt: Attempt
    status: str
    duplicate: bool = False


class SimulateRun(Command):
    """Ask what a run would take, from a sample of the cards that the executor has of it."""

    run_id: RunId
    rehearsal_pct: Annotated[float, Field(gt=0, le=1)] = 0.01
    stratified: bool = True


class Simulated(Answer):
    """What the sample would take, what all tasks of the run would, and how far to trust it. Nothing is spent."""

    run_id: RunId
    strata_coverage: Fraction
    rehearsal_tokens: Count
    projected_tokens: Count
    ci_lower: Count
    ci_upper: Count
    risk_score: Fraction
    tasks_sampled: Count
    tasks_known: Count
    tasks_total: Count
