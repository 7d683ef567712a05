"""What will a project take? Every task and the whole are priced from what is believed now, and the answer is kept.

The beliefs are read and the totals simulated before the transaction begins; it then checks that the plan is still the one
that was priced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict
from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.hearing import heard_at
from plms_pipeline.estimates.outlook import Words
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.projects import found_project
from plms_pipeline.runs.pricing import Estimate, Prices, prices
from plms_pipeline.runs.project_view import ProjectView, TaskView
from plms_pipeline.runs.store import projects as store

OPEN = ("planning", "pending_approval")


@dataclass(frozen=True, slots=True)
class ProjectEstimate:
    """The project as it stands afterwards, and the estimate of the whole with its intervals."""

    view: ProjectView
    total: Estimate

    @property
    def totals(self) -> dict[str, Any]:
        """The totals with their 90 % intervals, with the sources' field names."""
        effort = self.total.forecast["effort"]

        def interval(measure: str) -> list[float]:
            return [effort[measure]["low"], effort[measure]["high"]]

        return {
            "estimated_tokens": self.total.tokens,
            "estimated_duration_minutes": self.total.minutes,
            "estimated_cost_usd": float(self.total.cost_usd),
            "ci_90": {measure: interval(measure) for measure in ("tokens", "duration_ms", "cost_usd")},
            "suggested_budget_usd": self.total.forecast["spend"]["cost_usd"]["budget"],
            "rests_on_receipts": {measure: effort[measure]["n"] for measure in effort},
        }


def estimate_project(
    registry: Registry, project_id: int, *, clock: Clock, actor: Actor, alpha: float
) -> ProjectEstimate:
    """Estimate every task of a project and the whole, and keep it.

    Raises:
        NotFound: there is no such project.
        Conflict: it is approved or further (`already_approved`), has no tasks (`no_tasks`), or its plan changed meanwhile
            (`plan_changed`).
    """
    priced = price_project(registry, project_id, clock=clock, alpha=alpha)
    now = clock.now()
    with registry.writing() as session:
        store.lock_project(session, project_id)
        view = found_project(store.view_of(session, project_id), project_id)
        _require_open(view)
        if _cells(view.tasks) != priced.cells:
            raise Conflict(
                f"The plan of project {project_id} changed while it was estimated; estimate it again.",
                code="plan_changed",
            )
        rows = [
            {"id": task.id, "tokens": found.tokens, "minutes": found.minutes, "cost_usd": found.cost_usd,
             "forecast": found.forecast}
            for task, found in zip(view.tasks, priced.prices.tasks, strict=True)
        ]  # fmt: skip
        total = priced.prices.total
        store.store_estimates(
            session, project_id, rows, tokens=total.tokens, minutes=total.minutes, cost_usd=total.cost_usd,
            forecast=total.forecast, at=now,
        )  # fmt: skip
        audit.record(
            session, at=now, actor=actor, action="project.estimate", subject=f"project:{project_id}", outcome="done",
            details={"estimated_cost_usd": str(total.cost_usd), "tasks": len(rows)},
        )  # fmt: skip
        session.expire_all()
        after = found_project(store.view_of(session, project_id), project_id)
    return ProjectEstimate(after, total)


@dataclass(frozen=True, slots=True)
class Priced:
    """The prices of a plan, and the plan that was priced: (task id, lane, provider, what is known of it) in order."""

    cells: list[tuple[Any, ...]]
    prices: Prices


def price_project(registry: Registry, project_id: int, *, clock: Clock, alpha: float) -> Priced:
    """Price a project's tasks from what is believed now; nothing is kept.

    Raises:
        NotFound: there is no such project.
        Conflict: it has no tasks (`no_tasks`), or is approved or further (`already_approved`).
    """
    now = clock.now()
    with registry.reading() as session:
        view = found_project(store.view_of(session, project_id), project_id)
        _require_open(view)
        beliefs = beliefs_at(session, now, alpha=alpha)
        corrections = kept.corrections(session, on=now.date())
        heard = heard_at(session, now)
    cells = [(task.lane_id, task.provider) for task in view.tasks]
    found = prices(
        beliefs, corrections, cells, as_of=now.isoformat(), heard=heard, words=[words_of(task) for task in view.tasks]
    )
    return Priced(_cells(view.tasks), found)


def words_of(task: TaskView) -> Words:
    """What is known of a task before it is done."""
    return task.kind or "", task.complexity or "", task.key


def _cells(tasks: tuple[TaskView, ...]) -> list[tuple[Any, ...]]:
    return [(task.id, task.lane_id, task.provider, *words_of(task)) for task in tasks]


def _require_open(view: ProjectView) -> None:
    if not view.tasks:
        raise Conflict(
            f"Project {view.id} has no planned tasks, so there is nothing to estimate; imported history has none.",
            code="no_tasks",
        )
    if view.status not in OPEN:
        raise Conflict(
            f"Project {view.id} is {view.status}: what was approved is not estimated anew.", code="already_approved"
        )
