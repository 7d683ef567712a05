"""What happens to a project that is going to pass its budget by more than a quarter, and who lets it go on?

Its policy acts, once per episode and in the transaction that notes it: `pause` holds it as a person's pause would, `ask` holds
it and waits for a decision, `kill` also calls off its runs. An episode ends when the overrun is small again (below a fifth, so
that a value which dances on the limit does not pause a project every minute). The hold is undone by a person, or by a
budget that was raised enough: never by a forecast that happens to fall, which would let it spend on its own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.budget.runway import is_over
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import asking_in
from plms_pipeline.registry.types import to_usd
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.actions.project_life import tell_runs
from plms_pipeline.runs.actions.runway import ProjectRunway, runway_of
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.store import breaches as store
from plms_pipeline.runs.store import cancel, projects
from plms_pipeline.runs.store import project_work as work
from plms_pipeline.runs.store.breaches import HELD_BY, Episode
from plms_pipeline.runs.store.words import PAUSE_RUN, RESUME_RUN

ACTS_ABOVE_PCT: Final = 25.0
OVER_BELOW_PCT: Final = 20.0
KIND: Final = "budget_breach"
ACTOR: Final = Actor(HELD_BY, is_verified=True)
Answer = Literal["go_on", "stop"]


@dataclass(frozen=True, slots=True)
class Acted:
    """What the policy of a project did: the episode, what happened (`pause`, `ask`, `kill`, `over`, `resumed`), runs told."""

    project_id: int
    episode_id: str
    what: str
    runs_told: int
    seen: Mapping[str, Any]


def apply_breach_policies(
    registry: Registry, *, clock: Clock, ids: NewId, project_ids: Iterable[int] | None = None
) -> list[Acted]:
    """Look at projects (None: all whose money is looked at) and let their policies act; what was done, in order.

    Safe to repeat and to run from many processes: each project is decided upon in a transaction of its own, under its lock.
    """
    if project_ids is None:
        with registry.reading() as session:
            project_ids = list(store.looked_at(session))
    acted = []
    for project_id in project_ids:
        now = clock.now()
        with registry.asking() as ask:
            seen = runway_of(ask, project_id, now=now)
        with registry.reading() as session:
            is_open = store.open_episode(session, project_id) is not None
        if not _wants(seen, is_open=is_open):
            continue
        with registry.writing() as session:
            found = _decided(session, project_id, now=now, ids=ids)
        acted += [found] if found is not None else []
    return acted


def _wants(seen: ProjectRunway, *, is_open: bool) -> bool:
    """Whether anything may have to be done: most looks find nothing, and should not write."""
    return is_open or is_breach(seen)


def is_breach(seen: ProjectRunway) -> bool:
    """Whether a project is over its budget, or going to be, by more than a quarter; over a budget of 0 by anything."""
    return is_over(seen.runway, ACTS_ABOVE_PCT)


def _is_small(seen: ProjectRunway) -> bool:
    found = seen.runway
    return found.overrun_usd is None or found.overrun_usd <= OVER_BELOW_PCT / 100 * (found.budget_usd or 0.0)


def _decided(session: Session, project_id: int, *, now: datetime, ids: NewId) -> Acted | None:
    projects.lock_project(session, project_id)
    seen = runway_of(asking_in(session), project_id, now=now)
    known = store.open_episode(session, project_id)
    if known is not None:
        return _going_on(session, seen, known, now=now, ids=ids)
    if is_terminal("project", seen.status) or not is_breach(seen):
        return None
    return _begun(session, seen, now=now, ids=ids)


def _begun(session: Session, seen: ProjectRunway, *, now: datetime, ids: NewId) -> Acted:
    """A breach begins: note it, and let the policy act."""
    project_id, policy, told = seen.project_id, seen.breach_policy, _told(seen)
    reason = (
        f"the budget of {told['budget_usd']} USD will be passed by {told['overrun_usd']} USD; policy {policy} acts above "
        f"{ACTS_ABOVE_PCT:.0f} %"
    )
    decision_id = decide(
        session, clock_now=now, ids=ids, kind=KIND, subject_type="project", subject_id=str(project_id), decision=policy,
        reason=reason, actor=ACTOR, role="breach_policy", payload=told,
    )  # fmt: skip
    projects.place_hold(session, project_id, reason=reason, actor=HELD_BY, at=now)
    if policy == "kill":
        runs = work.open_runs(session, project_id)
        for run in runs:
            cancel.cancel(session, run.run_id, run.status, now=now, actor=HELD_BY, reason=reason)
        runs_told = len(runs)
    else:
        runs_told = tell_runs(session, project_id, PAUSE_RUN, reason, now=now, ids=ids)
    episode_id = ids()
    store.begin(
        session, episode_id=episode_id, project_id=project_id, policy=policy, opened_at=now,
        budget_usd=to_usd(seen.runway.budget_usd or 0.0), seen_json=told, runs_told=runs_told, decision_id=decision_id,
    )  # fmt: skip
    return Acted(project_id, episode_id, policy, runs_told, told)


def _going_on(session: Session, seen: ProjectRunway, known: Episode, *, now: datetime, ids: NewId) -> Acted | None:
    """A breach that is known: let go on what a raised budget covers, and end the episode when the overrun is small."""
    project_id, told = seen.project_id, _told(seen)
    is_over = is_terminal("project", seen.status)
    if not is_over and not _is_small(seen):
        return None
    was_raised = seen.runway.budget_usd is None or to_usd(seen.runway.budget_usd) > known.budget_usd
    lifted, runs_told = 0, 0
    if was_raised and not is_over:
        lifted, is_held = store.lift_own_hold(session, project_id, at=now)
        if lifted and not is_held:
            runs_told = tell_runs(session, project_id, RESUME_RUN, "the budget was raised", now=now, ids=ids)
    why = f"the project is {seen.status}" if is_over else "the budget was raised" if was_raised else "the overrun fell"
    store.change(session, known.episode_id, state="over", over_at=now, over_reason=why)
    audit.record(
        session, at=now, actor=ACTOR, action="breach.over", subject=f"project:{project_id}", outcome="done",
        details={"episode_id": known.episode_id, "reason": why, "holds_lifted": lifted, "runs_told": runs_told},
    )  # fmt: skip
    return Acted(project_id, known.episode_id, "resumed" if lifted else "over", runs_told, told)


def answer_breach(
    registry: Registry,
    project_id: int,
    *,
    answer: Answer,
    clock: Clock,
    ids: NewId,
    actor: Actor,
    reason: str,
    episode_id: str | None = None,
) -> str:
    """Decide about the breach that a project is in: let it `go_on`, or `stop` its runs; the decision's id.

    Going on lifts what the policy holds; the budget itself still bounds every admission. The episode stays open until the
    overrun is small, so that the policy does not hold the project again for the same breach.

    Args:
        episode_id: the breach that was shown to whoever decides; None: the one that it is in.

    Raises:
        NotFound: there is no such project.
        Conflict: it is in none (`no_breach`) or in another one (`breach_changed`), or that was answered (`breach_answered`).
        BadInput: there is no reason.
    """
    now = clock.now()
    with registry.writing() as session:
        projects.lock_project(session, project_id)
        known = store.open_episode(session, project_id)
        if known is None and not projects.id_is_taken(session, project_id):
            raise no_project(project_id)
        if known is None:
            raise Conflict(
                f"Project {project_id} is in no breach of its budget; `plms budget breaches` lists those that are.",
                code="no_breach",
            )
        if episode_id not in (None, known.episode_id):
            raise Conflict(
                f"Project {project_id} is in another breach of its budget than the one that was shown, since "
                f"{known.opened_at.isoformat(timespec='seconds')}. Look at it again.",
                code="breach_changed",
            )
        if known.answer is not None:
            raise Conflict(
                f"{known.answered_by} has decided about this breach: {known.answer}.", code="breach_answered"
            )
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=KIND, subject_type="project", subject_id=str(project_id),
            decision=answer, reason=reason, actor=actor, role="approver", requested_by=HELD_BY,
            payload={"episode_id": known.episode_id},
        )  # fmt: skip
        store.change(session, known.episode_id, answer=answer, answered_by=actor.name[:255])
        if answer == "go_on":
            lifted, is_held = store.lift_own_hold(session, project_id, at=now)
            if lifted and not is_held:
                tell_runs(session, project_id, RESUME_RUN, reason, now=now, ids=ids)
        else:
            for run in work.open_runs(session, project_id):
                cancel.cancel(session, run.run_id, run.status, now=now, actor=actor.name, reason=reason)
    return decision_id


def answer_of(text: str) -> Answer:
    """An answer to a breach.

    Raises:
        BadInput: it is none (`bad_use`).
    """
    if text == "go_on":
        return "go_on"
    if text == "stop":
        return "stop"
    raise BadInput(f"{text!r} is no answer to a breach; it is go_on or stop.", code="bad_use")


def breaches(registry: Registry, *, only_open: bool = True, limit: int = 100) -> list[Episode]:
    """Breaches of budgets, newest first; an open one of policy `ask` without an answer waits for a person."""
    with registry.reading() as session:
        return store.episodes(session, only_open=only_open, limit=limit)


def _told(seen: ProjectRunway) -> dict[str, Any]:
    found = seen.runway
    return {
        "budget_usd": _six(found.budget_usd), "spent_usd": _six(found.spent_usd), "final_usd": _six(found.final_usd),
        "final_90": None if found.final_90 is None else [_six(end) for end in found.final_90],
        "overrun_usd": _six(found.overrun_usd),
        "overrun_pct": None if found.overrun_pct is None else round(found.overrun_pct, 1), "tasks_left": seen.left.tasks,
    }  # fmt: skip


def _six(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 6)
