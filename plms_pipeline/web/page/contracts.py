"""Which JSON does the page ask for? The contracts of docs/hmi.md, each with the example that stands there."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.web.page.examples import (
    ABOUT,
    DRIFT,
    INBOX,
    PORTFOLIO,
    PROJECTS,
    RISK,
    RUNS,
)

Risk = Literal["low", "medium", "high", "unknown"]


class _Contract(BaseModel):
    """Nothing is answered that is not named here."""

    model_config = ConfigDict(extra="forbid")


class About(_Contract):
    """What the page must know of this installation."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [ABOUT]})
    version: str
    now: datetime = Field(description="The server's clock: ages are counted by it.")
    auth: Literal["jwt", "disabled"]
    dagster_url: str | None = Field(description="Address of the Dagster UI for people; null: no links.")
    has_alerts: bool = Field(description="Whether this installation tells of alerts.")
    beat_s: float = Field(description="The stream says something at least so often.")


class Tasks(_Contract):
    """Tasks of a run by status."""

    done: int
    failed: int
    running: int
    waiting: int
    skipped: int


class Head(_Contract):
    """The newest run that is a project's own work."""

    run_id: str
    status: str
    validation: str
    tasks: Tasks


class ProjectBudget(_Contract):
    """Dollars. `usd_max` null: no budget; `burn_per_min` null: nothing burns."""

    usd_max: float | None
    usd_spent: float
    usd_reserved: float
    burn_per_min: float | None


class PageRunway(_Contract):
    """How long, and how far over. Null: unknown, never 0 and never infinite."""

    minutes_to_depletion: float | None
    minutes_to_depletion_ci_90: list[float] | None
    projected_overrun_usd: float | None
    projected_overrun_pct: float | None
    projected_final_usd: float | None
    projected_final_ci_90: list[float] | None
    overrun_probability: float | None


class PageLeft(_Contract):
    """The work that is left, and how much of it nobody has a forecast for."""

    tasks: int
    tasks_without_forecast: int
    repriced: list[dict[str, Any]] = Field(description="Changes of prices that concern it, as in the budget's runway.")


class PageProject(_Contract):
    """One project with its runway."""

    project_id: int
    name: str
    status: str
    owner: str
    is_paused: bool
    pause_reason: str | None
    breach_policy: Literal["pause", "ask", "kill"]
    run: Head | None
    planned_tasks: int
    budget: ProjectBudget
    runway: PageRunway
    left: PageLeft
    runway_status: Literal["ok", "warning", "critical"] | None = Field(
        description="Null before the project is approved."
    )


class PageProjects(_Contract):
    """Every project that is not over; with `project_id` those that were asked for, and which of them are over."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [PROJECTS]})
    as_of: datetime
    projects: list[PageProject]
    gone: list[int] = Field(description="Asked for, and over or never there.")
    in_all: int = Field(description="Projects that are not over; the page is told of the newest 500.")


class PageLane(_Contract):
    """A lane. `waiting` cards have not gone out, `ready` of them wait for nothing but their turn."""

    lane_id: int
    name: str
    description: str
    cap: int = Field(description="0 where the lane is switched off.")
    is_active: bool
    running: int
    utilization: float | None = Field(description="running ÷ cap; null without a cap.")
    waiting: int
    ready: int
    oldest_wait_s: float | None
    reasons: dict[str, int] = Field(description="First obstacle → tasks, of the first 400 that wait in all lanes.")


class PageQueued(_Contract):
    """A task that waits, as `/api/portfolio/queue` tells it."""

    lane_id: int
    project_id: int
    project: str
    run_id: str
    task_id: str
    attempt: int
    priority: int
    place: int | None
    waited_s: float
    reason: str
    detail: str


class PagePortfolio(_Contract):
    """Lanes and queue."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [PORTFOLIO]})
    as_of: datetime
    running: int
    waiting: int
    lanes: list[PageLane]
    queue: list[PageQueued] = Field(description="The first 8 of each lane.")


class Signals(_Contract):
    """What a cell rests on; `mae_pct` and `ci_width_pct` are fractions."""

    mae_pct: float | None
    ci_width_pct: float | None
    n: int
    failed_or_repeated: int
    gates_measured: int
    gates_failed: int


class RiskCell(_Contract):
    """One lane of one project."""

    lane_id: int
    worst: Risk
    estimation_risk: Risk
    execution_risk: Risk
    validation_risk: Risk
    signals: Signals


class NamedLane(_Contract):
    """A column."""

    lane_id: int
    name: str


class RiskRow(_Contract):
    """A project's lanes; a lane in which it has no work is left out."""

    project_id: int
    name: str
    cells: list[RiskCell]


class PageRisk(_Contract):
    """Projects by lanes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [RISK]})
    as_of: datetime
    lanes: list[NamedLane]
    projects: list[RiskRow]


class DriftPoint(_Contract):
    """One project."""

    project_id: int
    mae_pct: float = Field(description="Mean absolute error of tokens over the estimate, a fraction.")


class LaneDrift(_Contract):
    """A lane's last ten projects, the oldest first."""

    lane_id: int
    name: str
    history: list[DriftPoint]
    trend: Literal["improving", "stable", "degrading"]


class PageDrift(_Contract):
    """Every lane in which anything was estimated and done."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [DRIFT]})
    as_of: datetime
    lanes: list[LaneDrift]


class Gate(_Contract):
    """What one KPI measured in a run: of each task the newest evaluation.

    `value`, `threshold`, `task_id` and `reason` are those of the first task that failed, else of one that passed.
    """

    kpi: str
    measured: int
    failed: int
    blocks: bool
    value: float | None
    threshold: Any
    task_id: str | None
    reason: str | None


class PageRun(_Contract):
    """A run with its gates."""

    run_id: str
    project_id: int
    project_name: str
    run_kind: str
    status: str
    validation: str
    is_let_pass: bool | None = Field(description="What was decided about a failed verdict; null: nothing.")
    write_sandbox: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    tasks: Tasks
    gates: list[Gate]


class PageRuns(_Contract):
    """The newest 25 runs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [RUNS]})
    as_of: datetime
    runs: list[PageRun]


class ActionField(_Contract):
    """Something that a decision asks for besides its reason; sent under `name`."""

    name: str
    label: str
    kind: Literal["usd", "choice", "flag"]
    value: Any
    choices: list[str]


class InboxAction(_Contract):
    """A decision that can be taken: `method` and `path`, with `body` and what was asked for."""

    name: str
    label: str
    method: Literal["POST"]
    path: str
    scope: str
    body: dict[str, Any] | None
    tone: Literal["primary", "danger", "plain"]
    asks_reason: bool = Field(description="Send it as `reason`.")
    binds_evidence: bool = Field(description="Send the digest that `look` answered with as `evidence_sha256`.")
    fields: list[ActionField]
    may: bool = Field(description="Whether the caller may; the endpoint asks again.")
    why_not: str | None


class InboxLine(_Contract):
    """One fact of the evidence. `unit`: USD, tokens, min, tasks, %, moment or null."""

    label: str
    value: str | int | float | bool | None
    unit: str | None


class InboxItem(_Contract):
    """Something that waits for a decision."""

    id: str
    kind: Literal[
        "budget_breach",
        "project_approval",
        "kpi_override",
        "failed_run",
        "paused_project",
        "dead_letter",
        "candidate",
        "lane_review",
        "ungated_lane",
    ]
    subject: str
    title: str
    since: datetime | None
    asked_by: str | None
    project_id: int | None
    project_name: str | None
    run_id: str | None
    lane_id: int | None
    lines: list[InboxLine]
    look: str | None = Field(description="Where all of its evidence is read.")
    remedy: str | None
    actions: list[InboxAction]


class Inbox(_Contract):
    """What waits for a decision; of each kind 50 at most."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [INBOX]})
    as_of: datetime
    counts: dict[str, int]
    items: list[InboxItem]
