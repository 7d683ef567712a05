"""Who moves a task to another lane, and who lets the work of a lane without gates teach?

A lane override is a fact about the task's text: it changes the plan, and the nightly classifier learns from it. Accepting a
lane without gates changes which receipts teach, so the days of its receipts are marked in the same transaction: the next
night summarises them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide, deciding
from plms_pipeline.decisions.rules import APPROVE, REJECT
from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.hearing import heard_at
from plms_pipeline.estimates.policy import ACCEPT_UNGATED
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.estimates.store.receipts import accepting_lanes, lane_names
from plms_pipeline.intake.store.importing import mark_changed
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.project_estimates import OPEN, estimate_project, words_of
from plms_pipeline.runs.actions.projects import found_project, terms_of
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.plan import Terms, text_of_task, unknown_lane
from plms_pipeline.runs.plan_gates import combined_text, formula_gates, project_gates
from plms_pipeline.runs.pricing import Estimate, prices
from plms_pipeline.runs.project_view import TaskView
from plms_pipeline.runs.store import projects as store
from plms_pipeline.runs.store import verdicts
from plms_pipeline.runs.store.verdicts import OverrideRow

LANE_OVERRIDE: Final = "lane_override"


@dataclass(frozen=True, slots=True)
class LaneOverridden:
    """A task in its new lane; `project_status` says whether its plan was approved before."""

    decision_id: str
    project_id: int
    project_status: str
    task: TaskView
    predicted_lane: int
    corrected_lane: int


@dataclass(frozen=True, slots=True)
class LaneAccepted:
    """Whether ungated work of a lane teaches from now on, and how many days are summarised again for it."""

    decision_id: str
    lane_id: int
    lane_name: str
    accepted: bool
    days_marked: int


def override_lane(
    registry: Registry, task_id: int, lane: str, *, clock: Clock, ids: NewId, actor: Actor, reason: str, alpha: float,
    project_id: int | None = None,
) -> LaneOverridden:  # fmt: skip
    """Move a planned task to another lane. Its price follows; runs that started keep the lane that they started with.

    Args:
        task_id: the planned task's id.
        lane: number, name or alias.
        project_id: the project that the task must belong to; None: any.

    Raises:
        NotFound: there is no such task (in that project), or no such lane.
        BadInput: there is no reason.
        Conflict: the task is in that lane (`same_lane`), or its project is cancelled (`project_is_over`).
    """
    terms = terms_of(registry)
    lane_id = _lane_id(lane, terms)
    price = _price(registry, task_id, lane_id, clock=clock, alpha=alpha)
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{LANE_OVERRIDE}", f"task:{task_id}") as session:
        found = store.task_of(session, task_id)
        if found is None or (project_id is not None and found[0] != project_id):
            raise _no_task(task_id, project_id)
        owner_id, _ = found
        store.lock_project(session, owner_id)
        # What was read before the lock may be somebody else's past by now.
        session.expire_all()
        _, task = store.task_of(session, task_id) or found
        view = found_project(store.view_of(session, owner_id, with_tasks=False), owner_id)
        if view.status == "cancelled":
            raise Conflict(f"Project {owner_id} is cancelled; its plan stands.", code="project_is_over")
        if task.lane_id == lane_id:
            raise Conflict(f"Task {task_id} is in lane {lane_id} already.", code="same_lane")
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=LANE_OVERRIDE, subject_type="task", subject_id=str(task_id),
            decision="override", reason=reason, actor=actor,
            payload={"project_id": owner_id, "predicted_lane": task.lane_id, "corrected_lane": lane_id},
        )  # fmt: skip
        own = formula_gates(task.own_formula) if task.own_formula else ()
        verdicts.override_lane(
            session, task_id, predicted=task.lane_id, corrected=lane_id, actor=actor.name, at=now,
            description=text_of_task(task.name, task.description, task.kind),
            formula=combined_text(project_gates(view.lane_gates, lane_id), own),
        )  # fmt: skip
        if task.forecast is not None:
            store.store_task_estimate(session, task_id, price.tokens, price.minutes, price.cost_usd, price.forecast)
        session.expire_all()
        _, after = store.task_of(session, task_id) or found
    if task.forecast is not None and view.status in OPEN:
        estimate_project(registry, owner_id, clock=clock, actor=actor, alpha=alpha)
    return LaneOverridden(decision_id, owner_id, view.status, after, task.lane_id, lane_id)


def lane_overrides(registry: Registry, project_id: int) -> list[OverrideRow]:
    """The corrected lanes of a project's tasks, newest first.

    Raises:
        NotFound: there is no such project.
    """
    with registry.reading() as session:
        found_project(store.view_of(session, project_id, with_tasks=False), project_id)
        return verdicts.overrides_of(session, project_id)


def accept_ungated_lane(
    registry: Registry, lane: str, *, clock: Clock, ids: NewId, actor: Actor, reason: str, accept: bool = True
) -> LaneAccepted:
    """Let ungated work of a lane teach the priors, or take that back.

    Raises:
        NotFound: no such lane.
        BadInput: no reason.
        Conflict: the lane has gates, so its work is never ungated (`lane_is_gated`), or nothing would change
            (`already_decided`).
    """
    terms = terms_of(registry)
    lane_id = _lane_id(lane, terms)
    blocking = [gate.kpi for gate in terms.gates.get(lane_id, ()) if gate.blocks]
    if accept and blocking:
        raise Conflict(
            f"Lane {lane_id} asks for {', '.join(blocking)}: its work is gated, there is nothing to accept.",
            code="lane_is_gated",
        )
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{ACCEPT_UNGATED}", f"lane:{lane_id}") as session:
        verdicts.lock_lane(session, lane_id)
        if (lane_id in accepting_lanes(session)) == accept:
            state = "is accepted" if accept else "is not accepted"
            raise Conflict(
                f"Ungated work of lane {lane_id} {state} already; nothing would change.", code="already_decided"
            )
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=ACCEPT_UNGATED, subject_type="lane", subject_id=str(lane_id),
            decision=APPROVE if accept else REJECT, reason=reason, actor=actor,
        )  # fmt: skip
        days = verdicts.days_of_lane(session, lane_id)
        mark_changed(session, days)
        name = lane_names(session).get(lane_id, "")
    return LaneAccepted(decision_id, lane_id, name, accept, len(days))


def _lane_id(word: str, terms: Terms) -> int:
    found = terms.lanes.get(word.strip().casefold())
    if found is None:
        raise NotFound(f"{unknown_lane(word, terms.lanes)}.", code="unknown_lane")
    return found


def _price(registry: Registry, task_id: int, lane_id: int, *, clock: Clock, alpha: float) -> Estimate:
    """What the task would take in the lane, priced before the transaction begins."""
    now = clock.now()
    with registry.reading() as session:
        found = store.task_of(session, task_id)
        if found is None:
            raise _no_task(task_id, None)
        beliefs = beliefs_at(session, now, alpha=alpha)
        corrections = kept.corrections(session, on=now.date())
        heard = heard_at(session, now)
    cell, words = (lane_id, found[1].provider), words_of(found[1])
    return prices(beliefs, corrections, [cell], as_of=now.isoformat(), heard=heard, words=[words]).tasks[0]


def _no_task(task_id: int, project_id: int | None) -> NotFound:
    where = "" if project_id is None else f" in project {project_id}"
    return NotFound(
        f"There is no planned task {task_id}{where}; `plms project show` lists a project's tasks.", code="unknown_task"
    )
