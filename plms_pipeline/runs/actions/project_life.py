"""How is a project held, let go on, and ended before its time?

A pause is a row in `holds`: nothing of it goes out any more, what runs is asked to wait, and no state is forgotten by it.
Cancelling ends the project at once; cards that were not handed over never are, and what PAS works on is asked to stop and
ends as its completions say. Both are safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.rules import reason_of
from plms_pipeline.errors import Conflict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.projects import found_project
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.project_view import ProjectView
from plms_pipeline.runs.store import breaches, cancel, words
from plms_pipeline.runs.store import project_work as work
from plms_pipeline.runs.store import projects as store
from plms_pipeline.runs.store.transitions import move_project
from plms_pipeline.runs.store.words import PAUSE_RUN, RESUME_RUN

PAUSED: Final = "paused"


@dataclass(frozen=True, slots=True)
class Changed:
    """The project as it stands, whether this call changed it, and how many runs PAS was told about."""

    view: ProjectView
    is_new: bool
    runs_told: int = 0


def pause_project(
    registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor, reason: str
) -> Changed:
    """Hold a project: nothing of it starts, and its running runs are asked to pause. Pausing again changes nothing.

    Raises:
        NotFound: there is no such project.
        Conflict: it is over (`project_is_over`).
        BadInput: there is no reason.
    """
    now, reason = clock.now(), reason_of(reason)
    with registry.writing() as session:
        view = _locked_open(session, project_id)
        if view.paused is not None:
            return Changed(view, is_new=False)
        store.place_hold(session, project_id, reason=reason, actor=actor.name, at=now)
        told = tell_runs(session, project_id, PAUSE_RUN, reason, now=now, ids=ids)
        _note(session, "project.pause", project_id, actor, now, told)
        return Changed(_after(session, project_id), is_new=True, runs_told=told)


def resume_project(registry: Registry, project_id: int, *, clock: Clock, ids: NewId, actor: Actor) -> Changed:
    """Lift the hold of a project. Resuming what is not paused changes nothing.

    Raises:
        NotFound: there is no such project.
        Conflict: it is over (`project_is_over`), or its breach policy waits for an answer (`breach_waits`).
    """
    now = clock.now()
    with registry.writing() as session:
        view = _locked_open(session, project_id)
        if view.paused is not None:
            _require_answered(session, project_id)
        if not store.lift_holds(session, project_id, actor=actor.name, at=now):
            return Changed(view, is_new=False)
        told = tell_runs(session, project_id, RESUME_RUN, "resumed", now=now, ids=ids)
        _note(session, "project.resume", project_id, actor, now, told)
        return Changed(_after(session, project_id), is_new=True, runs_told=told)


def cancel_project(registry: Registry, project_id: int, *, clock: Clock, actor: Actor, reason: str) -> Changed:
    """End a project: any open state → cancelled. Cancelling what is cancelled changes nothing.

    Raises:
        NotFound: there is no such project.
        Conflict: it is completed (`project_is_over`).
        BadInput: there is no reason.
    """
    now, reason = clock.now(), reason_of(reason)
    with registry.writing() as session:
        store.lock_project(session, project_id)
        view = found_project(store.view_of(session, project_id), project_id)
        if view.status == "cancelled":
            return Changed(view, is_new=False)
        _require_open(view)
        if not move_project(
            session, project_id, expected=view.status, new="cancelled", at=now, actor=actor.name, reason=reason
        ):
            raise Conflict(
                f"Project {project_id} is no longer {view.status}: somebody else was faster. Look at it again.",
                code="state_changed",
            )
        store.lift_holds(session, project_id, actor=actor.name, at=now)
        told = _end_runs(session, project_id, reason, now=now, actor=actor)
        _note(session, "project.cancel", project_id, actor, now, told)
        return Changed(_after(session, project_id), is_new=True, runs_told=told)


def _locked_open(session: Session, project_id: int) -> ProjectView:
    store.lock_project(session, project_id)
    view = found_project(store.view_of(session, project_id), project_id)
    _require_open(view)
    return view


def _require_open(view: ProjectView) -> None:
    if is_terminal("project", view.status):
        raise Conflict(f"Project {view.id} is {view.status}; nothing of it starts any more.", code="project_is_over")


def _require_answered(session: Session, project_id: int) -> None:
    breach = breaches.open_episode(session, project_id)
    # Otherwise whoever may only start projects answers what an approver is asked.
    if breach is not None and breach.waits and breaches.is_held(session, project_id):
        raise Conflict(
            f"Project {project_id} is held because its budget will be passed, and its policy asks an approver: "
            f"`plms budget answer {project_id} go_on --reason …`, or raise the budget.",
            code="breach_waits",
        )


def _after(session: Session, project_id: int) -> ProjectView:
    session.expire_all()
    return found_project(store.view_of(session, project_id), project_id)


def tell_runs(session: Session, project_id: int, kind: str, reason: str, *, now: datetime, ids: NewId) -> int:
    """Ask PAS to pause or resume every run that it works on; how many. One that is held for itself, as by a kill switch, stays
    paused."""
    running = [run for run in work.open_runs(session, project_id) if run.status == "RUNNING"]
    if kind == RESUME_RUN:
        held = work.held_runs(session, [run.run_id for run in running])
        running = [run for run in running if run.run_id not in held]
    for run in running:
        # A run is paused and resumed many times: each asking is an effect of its own.
        key = f"{kind}:{run.run_id}:{ids()}"
        words.ask(session, kind, run.run_id, now=now, payload={"reason": reason}, key=key, reason=reason)
    return len(running)


def _end_runs(session: Session, project_id: int, reason: str, *, now: datetime, actor: Actor) -> int:
    """End what has not gone out, and ask PAS to end what has; how many runs it is told of. As for a run that is called off."""
    told = f"the project was cancelled: {reason}"
    runs = work.open_runs(session, project_id)
    return sum(
        not cancel.cancel(session, run.run_id, run.status, now=now, actor=actor.name, reason=told)
        or cancel.was_claimed(session, run.run_id)
        for run in runs
    )


def _note(session: Session, action: str, project_id: int, actor: Actor, now: datetime, told: int) -> None:
    audit.record(
        session, at=now, actor=actor, action=action, subject=f"project:{project_id}", outcome="done",
        details={"runs_told": told},
    )  # fmt: skip
