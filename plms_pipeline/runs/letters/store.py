"""Which failures of runs, events and effects become letters, and what do the books say about a retry?

`run_ended` is called where a run's state changes, in the same transaction: there is no moment at which a run has failed and
no letter says so, whichever way it failed. A retry is a run of its own; the letter is the one of the first run of the chain,
so that a retry that fails adds no second letter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from plms_pipeline.intake.store import inbox
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.reasons import classify_all
from plms_pipeline.letters.rules import Failure, Letter
from plms_pipeline.registry.tables import (
    InboxEvent,
    OutboxEvent,
    Project,
    ProjectRun,
    RunLineage,
    RunTask,
    StateTransition,
)
from plms_pipeline.runs.starting import moves_project

RETRY: Final = "retry"
SOURCE: Final = "plms"
OPEN: Final = ("QUEUED", "RUNNING")
# So many failed tasks of a run are asked why; more would say the same.
MOST_REASONS: Final = 50


@dataclass(frozen=True, slots=True)
class RunFacts:
    """As much of a run and its project as decides whether it is retried."""

    run_id: str
    project_id: int
    status: str
    run_kind: str
    write_sandbox: bool
    completed_at: datetime | None
    project_status: str

    @property
    def is_work(self) -> bool:
        """Whether it is its project's own work."""
        return moves_project(self.run_kind, write_sandbox=self.write_sandbox)


def run_ended(session: Session, run_id: str, new: str, *, at: datetime, actor: str, reason: str | None) -> None:
    """Tell the dead letters that a run has ended: a failure becomes a letter, or comes back to the one that it was retried for.

    A run that somebody stopped is no failure, and ends the letter that it was a retry of.
    """
    root = root_of(session, run_id)
    known = letters.of_subject(session, "run", root) if root != run_id or new == "FAIL" else None
    if known is not None and known.run_id != run_id:
        # Another run of the chain is the present one by now.
        return
    if new == "SUCCESS":
        if known is not None:
            letters.recover(session, known.letter_id, now=at, actor=actor)
        return
    is_stopped = new == "SKIPPED" or _was_asked_to_end(session, run_id)
    if is_stopped:
        if known is not None:
            letters.stop(session, known.letter_id, now=at, actor=actor)
        return
    facts = run_facts(session, run_id)
    if facts is None:
        return
    letters.put(session, _failure(session, facts, root, reason), now=at, actor=actor)


def effect_failed(session: Session, effect_id: int, *, error: str, now: datetime, actor: str) -> None:
    """Keep an effect that failed for good as a letter, with the run that it was for."""
    row = session.execute(
        select(OutboxEvent.event_key, OutboxEvent.kind, OutboxEvent.subject_id, OutboxEvent.attempts).where(
            OutboxEvent.id == effect_id
        )
    ).first()
    if row is None:
        return
    event_key, kind, subject_id, attempts = row
    failure = Failure(
        kind="effect", subject_id=event_key, reason=error, run_id=subject_id[:64],
        payload={"effect": kind, "subject_id": subject_id, "attempts": attempts},
    )  # fmt: skip
    letters.put(session, failure, now=now, actor=actor)


def root_of(session: Session, run_id: str) -> str:
    """The first run of a chain of retries; the run itself when it is none."""
    seen = {run_id}
    while True:
        parent = session.scalar(
            select(RunLineage.parent_run_id).where(RunLineage.run_id == run_id, RunLineage.relation == RETRY)
        )
        if parent is None or parent in seen:
            return run_id
        run_id = parent
        seen.add(parent)


def run_facts(session: Session, run_id: str) -> RunFacts | None:
    """A run that was started here, with its project's state."""
    row = session.execute(
        select(
            ProjectRun.run_id, ProjectRun.project_id, ProjectRun.status, ProjectRun.run_kind, ProjectRun.write_sandbox,
            ProjectRun.completed_at, Project.status,
        )
        .join(Project, Project.id == ProjectRun.project_id)
        .where(ProjectRun.run_id == run_id, ProjectRun.source == SOURCE)
    ).first()  # fmt: skip
    return None if row is None else RunFacts(*row)


def newer_work(session: Session, facts: RunFacts) -> tuple[str, str] | None:
    """(run, status) of the newest run of the project that somebody started after this one had failed. Retries do not count."""
    if facts.completed_at is None:
        return None
    is_retry = exists().where(RunLineage.run_id == ProjectRun.run_id, RunLineage.relation == RETRY)
    row = session.execute(
        select(ProjectRun.run_id, ProjectRun.status)
        .where(
            ProjectRun.project_id == facts.project_id, ProjectRun.created_at > facts.completed_at,
            ProjectRun.run_kind.in_(("baseline", "hotfix")), ProjectRun.write_sandbox.is_(False), ~is_retry,
        )
        .order_by(ProjectRun.created_at.desc(), ProjectRun.id.desc())
        .limit(1)
    ).first()  # fmt: skip
    return None if row is None else (row[0], row[1])


def ended_runs(session: Session, run_ids: Collection[str]) -> dict[str, str]:
    """Run → status of those that have ended."""
    rows = session.execute(
        select(ProjectRun.run_id, ProjectRun.status).where(
            ProjectRun.run_id.in_(list(run_ids)), ProjectRun.status.not_in(OPEN)
        )
    )
    return {row.run_id: row.status for row in rows}


def event_again(session: Session, event_id: str, new_id: str, *, actor: str) -> bool:
    """Put an event that was refused into the inbox once more, under an id of its own; False when it was not refused.

    What became of an event never changes: the same facts are settled as another event, which counts once like every delivery.
    """
    row = session.execute(
        select(
            InboxEvent.endpoint, InboxEvent.body_sha256, InboxEvent.body_json, InboxEvent.run_id, InboxEvent.task_id,
            InboxEvent.attempt, InboxEvent.received_at,
        ).where(InboxEvent.event_id == event_id, InboxEvent.state == "refused")
    ).first()  # fmt: skip
    if row is None:
        return False
    inbox.add(
        session,
        {**row._mapping, "event_id": new_id, "actor": actor[:255], "state": inbox.PENDING, "attempts": 0},
    )
    return True


def effect_again(session: Session, event_key: str, *, now: datetime) -> bool:
    """Let an effect that failed for good be done again; False when it has not failed."""
    return _changed(
        session,
        update(OutboxEvent)
        .where(OutboxEvent.event_key == event_key, OutboxEvent.state == "failed")
        .values(state="pending", attempts=0, due_at=now, done_at=None, lease_holder=None, lease_expires_at=None),
    )


def event_states(session: Session, event_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Event → (state, what was said about it)."""
    rows = session.execute(
        select(InboxEvent.event_id, InboxEvent.state, func.coalesce(InboxEvent.outcome, "")).where(
            InboxEvent.event_id.in_(list(event_ids))
        )
    )
    return {event: (state, said) for event, state, said in rows}


def effect_states(session: Session, event_keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """Effect → (state, its last error)."""
    rows = session.execute(
        select(OutboxEvent.event_key, OutboxEvent.state, func.coalesce(OutboxEvent.last_error, "")).where(
            OutboxEvent.event_key.in_(list(event_keys))
        )
    )
    return {event: (state, said) for event, state, said in rows}


def chain_of(session: Session, letter: Letter) -> list[tuple[str, str]]:
    """(run, status) of a letter's runs, from the first to the newest."""
    chain: list[str] = []
    run_id: str | None = letter.run_id
    while run_id is not None and run_id not in chain:
        chain.insert(0, run_id)
        run_id = session.scalar(
            select(RunLineage.parent_run_id).where(RunLineage.run_id == run_id, RunLineage.relation == RETRY)
        )
    rows = session.execute(select(ProjectRun.run_id, ProjectRun.status).where(ProjectRun.run_id.in_(chain)))
    states = {row.run_id: row.status for row in rows}
    return [(one, states.get(one, "unknown")) for one in chain]


def _failure(session: Session, facts: RunFacts, root: str, reason: str | None) -> Failure:
    failed = session.execute(
        select(RunTask.task_id, RunTask.lane_id)
        .where(RunTask.run_id == facts.run_id, RunTask.status == "FAIL")
        .order_by(RunTask.id)
        .limit(MOST_REASONS)
    ).all()
    subjects = {f"{facts.run_id}/{task_id}"[:255]: task_id for task_id, _ in failed}
    rows = session.execute(
        select(StateTransition.subject_id, StateTransition.reason).where(
            StateTransition.subject_type == "task", StateTransition.subject_id.in_(list(subjects)), StateTransition.is_terminal
        )
    )  # fmt: skip
    why = {subjects[subject]: said for subject, said in rows}
    reasons = [why.get(task_id) or "" for task_id, _ in failed] or [reason or ""]
    told = "; ".join(dict.fromkeys(one for one in reasons if one)) or reason or ""
    return Failure(
        kind="run", subject_id=root, reason=told, error_class=classify_all(reasons).error_class,
        project_id=facts.project_id, run_id=facts.run_id, lane_id=failed[0][1] if failed else None,
        payload={"run_kind": facts.run_kind, "failed_tasks": [task_id for task_id, _ in failed][:5]},
        # A rehearsal or a replay belongs to whoever asked for it and waits for its answer.
        is_final=not facts.is_work,
    )  # fmt: skip


def _was_asked_to_end(session: Session, run_id: str) -> bool:
    asked = select(OutboxEvent.id).where(OutboxEvent.kind == "terminate_run", OutboxEvent.subject_id == run_id)
    return session.scalar(asked.limit(1)) is not None


def _changed(session: Session, statement: Any) -> bool:
    done: Any = session.execute(statement.execution_options(synchronize_session=False))
    return bool(done.rowcount == 1)
