"""What is a project, as whoever asks is shown it, and which bytes does an approver approve?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskView:
    """One planned task as it stands. `lane_id` is the lane that holds now, after any override."""

    id: int
    key: str
    name: str
    description: str | None
    kind: str | None
    parent_task_id: int | None
    lane_id: int
    lane_name: str
    lane_source: str
    lane_confidence: float | None
    store_hint: str | None
    complexity: str | None
    provider: str
    depends_on: tuple[str, ...]
    command: tuple[str, ...] | None
    kpi_formula: str | None
    own_formula: str | None
    estimated_tokens: int | None
    estimated_duration_minutes: int | None
    estimated_cost_usd: Decimal | None
    forecast: Mapping[str, Any] | None
    status: str


@dataclass(frozen=True, slots=True)
class ProjectView:
    """One project as it stands; `paused` is the reason of an open hold, `forecast` what the whole was last estimated to take:
    a simulation, with intervals that no sum of the tasks' would give."""

    id: int
    name: str
    description: str | None
    tags: tuple[str, ...]
    status: str
    paused: str | None
    owner: str
    created_by: str
    source: str
    budget_tokens_max: int | None
    budget_cost_usd_max: Decimal | None
    breach_policy: str
    min_echo_cos: float
    lane_gates: Mapping[str, Any]
    max_active_runs: int
    max_attempts: int
    estimated_tokens: int | None
    estimated_duration_minutes: int | None
    estimated_cost_usd: Decimal | None
    actual_tokens: int | None
    actual_duration_minutes: int | None
    actual_cost_usd: Decimal | None
    created_at: datetime
    approved_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    tasks: tuple[TaskView, ...] = ()
    forecast: Mapping[str, Any] | None = None

    @property
    def is_estimated(self) -> bool:
        """Whether every task has a forecast."""
        return bool(self.tasks) and all(task.forecast is not None for task in self.tasks)


def evidence_of(view: ProjectView, tasks: Sequence[TaskView] | None = None) -> str:
    """The SHA-256 of what is approved: every task with lane, provider, order, command, gates and forecast.

    Budget, breach policy and gates of the project are terms that the approver sets; they stand in the decision itself.
    """
    planned = [
        {
            "key": task.key, "name": task.name, "description": task.description, "kind": task.kind, "lane": task.lane_id,
            "complexity": task.complexity, "provider": task.provider, "depends_on": task.depends_on,
            "command": task.command, "kpi_formula": task.own_formula, "forecast": task.forecast,
        }
        for task in (view.tasks if tasks is None else tasks)
    ]  # fmt: skip
    document = {"project_id": view.id, "name": view.name, "description": view.description, "tasks": planned}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def task_json(task: TaskView) -> dict[str, Any]:
    """A task with the sources' field names, and ours beside them."""
    return {
        "id": task.id,
        "key": task.key,
        "name": task.name,
        "description": task.description,
        "task_kind": task.kind,
        "parent_task_id": task.parent_task_id,
        "tmd_lane": task.lane_id,
        "lane_name": task.lane_name,
        "lane_source": task.lane_source,
        "lane_confidence": task.lane_confidence,
        "store_hint": task.store_hint,
        "complexity": task.complexity,
        "provider": task.provider,
        "depends_on": list(task.depends_on),
        "command": None if task.command is None else list(task.command),
        "kpi_formula": None if task.kpi_formula is None else json.loads(task.kpi_formula),
        "estimated_tokens": task.estimated_tokens,
        "estimated_duration_minutes": task.estimated_duration_minutes,
        "estimated_cost_usd": dollars(task.estimated_cost_usd),
        "forecast": task.forecast,
        "status": task.status,
    }


def project_json(view: ProjectView, *, with_tasks: bool = True) -> dict[str, Any]:
    """A project with the sources' field names; money as numbers, moments as ISO 8601."""
    # Not `asdict`, which copies every task with its forecast.
    fields: dict[str, Any] = {field.name: getattr(view, field.name) for field in dataclass_fields(view)}
    if with_tasks:
        fields["tasks"] = [task_json(task) for task in view.tasks]
    else:
        del fields["tasks"], fields["forecast"]
    fields["project_id"] = fields.pop("id")
    fields["quality_slo"] = {"min_echo_cos": fields.pop("min_echo_cos"), "lane_gates": dict(fields.pop("lane_gates"))}
    fields["is_paused"] = view.paused is not None
    fields["pause_reason"] = fields.pop("paused")
    fields["tags"] = list(view.tags)
    for name, value in fields.items():
        if isinstance(value, Decimal):
            fields[name] = float(value)
        elif isinstance(value, datetime):
            fields[name] = value.isoformat()
    if with_tasks:
        fields["evidence_sha256"] = evidence_of(view)
    return fields


def dollars(amount: Decimal | None) -> float | None:
    """Money as JSON shows it."""
    return None if amount is None else float(amount)
