"""Which fields do requests and answers about single runs have?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.runs.session_fields import SessionReport

RUN_ID = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
_REPLAY_ID = "9d1c4a77-2b0e-4c1f-8a3e-5f6b7c8d9e01"
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FOLDER = "sessions/"
Status = Literal["QUEUED", "RUNNING", "SUCCESS", "FAIL", "SKIPPED"]
Validation = Literal["pending", "passed", "failed", "ungated"]


class RunHead(BaseModel):
    """One run in a list."""

    run_id: str = Field(examples=[RUN_ID])
    project_id: int = Field(examples=[42])
    run_kind: str = Field(examples=["baseline"])
    status: Status = Field(description="Whether the work ended, and how.")
    validation: Validation = Field(description="Whether it was good; an override stands beside it.")
    write_sandbox: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    passport_sha256: str | None = Field(examples=[_SHA])
    tasks_by_status: dict[str, int] = Field(examples=[{"SUCCESS": 7, "RUNNING": 1}])


class RunList(BaseModel):
    """Runs that were started here, the newest first."""

    runs: list[RunHead]
    next_after: str | None = Field(
        None,
        description="Only when paging was asked for: the `after` of the next page; null at the end.",
        examples=[RUN_ID],
    )


class TaskOfRun(BaseModel):
    """A task of a run with its newest job card."""

    task_id: str = Field(examples=["write-parser"])
    lane_id: int = Field(examples=[4200])
    provider: str = Field(examples=["openai/gpt-4"])
    status: Status
    validation: Validation
    attempt: int | None
    card_state: str | None = Field(examples=["ENDED"])
    pas_task_id: str | None = Field(description="The executor's own name of it.")
    last_error: str | None


class RunOut(RunHead):
    """One run: its tasks, and why it ended as it did."""

    parent_run_id: str | None = Field(description="The run that it repeats.")
    provider_mismatch: str | None = Field(description="Where the executor routed elsewhere than the passport says.")
    reason: str | None = Field(description="Why it ended as it did, where somebody said so.")
    tasks: list[TaskOfRun]


class LogLine(BaseModel):
    """One thing that happened to a run."""

    model_config = ConfigDict(populate_by_name=True)

    at: datetime
    kind: Literal["transition", "violation"]
    subject: str = Field(examples=["run"])
    old: str | None = Field(alias="from", examples=["QUEUED"])
    new: str = Field(alias="to", examples=["RUNNING"])
    actor: str = Field(examples=["dispatcher"])
    reason: str | None


class RunLog(BaseModel):
    """The log of a run as the books hold it now."""

    run_id: str = Field(examples=[RUN_ID])
    status: Status
    has_ended: bool = Field(description="Whether no further line can come.")
    lines: list[LogLine]


class ReportOut(SessionReport):
    """A session report: the 56 fields, and which writing of it this is."""

    revision: int = Field(ge=1, description="Grows when a verdict is overridden.")
    path: str = Field(
        description="Where it lies, below the reports folder.", examples=[f"{_FOLDER}{RUN_ID}/session_report.json"]
    )


class Cancelled(BaseModel):
    """A run was called off."""

    run_id: str = Field(examples=[RUN_ID])
    has_ended: bool = Field(
        description="True: nothing of it was handed out. False: it ends when the executor has ended what it holds."
    )


class ReplayIn(BaseModel):
    """How to repeat a run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"accept_drift": False}]})

    accept_drift: bool = Field(
        False, strict=True, description="Start it although plan or providers are not what they were."
    )


class DifferenceOut(BaseModel):
    """One thing that is not as the passport of the original says."""

    what: str = Field(examples=["provider openai/gpt-4"])
    then: str | None = Field(examples=["gpt-4-0613"])
    now: str | None = Field(examples=["gpt-4-0125"])
    refuses: bool = Field(description="Whether a replay needs `accept_drift` for it.")


class ReplayCheck(BaseModel):
    """What a replay would work on."""

    run_id: str = Field(examples=[RUN_ID])
    would_repeat: bool = Field(description="Whether a replay starts without `accept_drift`.")
    differences: list[DifferenceOut]


class ComparisonOut(BaseModel):
    """The files of a replay against those of its original; lists are cut at 1000 paths, the counts are not."""

    run_id: str = Field(examples=[_REPLAY_ID])
    parent_run_id: str = Field(examples=[RUN_ID])
    is_identical: bool
    n_same: int
    n_different: int
    n_missing: int
    n_extra: int
    same: list[str] = Field(examples=[["write-parser/1/parser.py"]])
    different: list[str] = Field(examples=[[]])
    missing: list[str] = Field(examples=[[]])
    extra: list[str] = Field(examples=[[]])


def report_json(report: Mapping[str, Any], *, revision: int, path: str) -> dict[str, Any]:
    """The answer of the report endpoint. Where on our disk the reports folder lies is nobody's business over HTTP."""
    return {**report, "revision": revision, "path": f"{_FOLDER}{path.rpartition(_FOLDER)[2]}"}
