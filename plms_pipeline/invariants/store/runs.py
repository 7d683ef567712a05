"""What do the invariants of runs compare? Rows of the window as plain values; what SQL can judge comes as offenders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, exists, func, literal, or_, select, type_coerce
from sqlalchemy import cast as as_type
from sqlalchemy.orm import Session

from plms_pipeline.invariants.report import CAP
from plms_pipeline.invariants.store.books import Chunks, in_chunks
from plms_pipeline.registry.tables import (
    IdempotencyKey,
    InboxEvent,
    JobCard,
    Project,
    ProjectRun,
    ProviderSnapshot,
    Rehearsal,
    RunAlias,
    RunTask,
    StateTransition,
    TaskReceipt,
)
from plms_pipeline.registry.tables.vocabulary import TERMINAL_STATES

OURS: Final = "plms"
COMPLETIONS: Final = ("task_completed", "reconciled")
# How long a subject may be in `state_transitions` (see runs.store.transitions).
SUBJECT: Final = 255
Offenders = tuple[int, list[str]]


def snapshots(session: Session, *, above: int) -> Chunks:
    """(id, run, moment, text, SHA-256) of snapshots."""
    columns = (ProviderSnapshot.id, ProviderSnapshot.run_id, ProviderSnapshot.moment, ProviderSnapshot.state_json)
    query: Any = select(*columns, ProviderSnapshot.sha256)
    return in_chunks(session, query.where(ProviderSnapshot.id > above).order_by(ProviderSnapshot.id))


def unproven_runs(session: Session, *, above: int) -> Offenders:
    """Real runs of ours that succeeded without a snapshot, or with one that does not match."""
    own = ProviderSnapshot.run_id == ProjectRun.run_id
    mismatch = (
        select(func.max(func.coalesce(ProviderSnapshot.mismatch, "it does not match"))).where(
            own, ~ProviderSnapshot.matches
        )
    ).scalar_subquery()
    total: Any = func.count().over()
    rows = session.execute(
        select(total, ProjectRun.run_id, mismatch)
        .where(
            ProjectRun.id > above, ProjectRun.source == OURS, ProjectRun.run_kind.in_(("baseline", "hotfix")),
            ProjectRun.status == "SUCCESS", or_(~exists().where(own), exists().where(own, ~ProviderSnapshot.matches)),
        )
        .order_by(ProjectRun.id)
        .limit(CAP)
    ).all()  # fmt: skip
    return _named(rows, lambda row: f"project_runs run_id={row[1]}: {row[2] or 'it has no snapshot of its providers'}")


def rehearsals(session: Session) -> Chunks:
    """(rehearsal, run, answer text, the run's coverage) of rehearsals that call themselves representative."""
    answer: Any = type_coerce(Rehearsal.answer_json, Text)
    query = (
        select(Rehearsal.rehearsal_id, Rehearsal.run_id, answer, ProjectRun.strata_coverage)
        .outerjoin(ProjectRun, ProjectRun.run_id == Rehearsal.run_id)
        .where(answer.contains('"is_representative":true'))
    )
    return in_chunks(session, query.order_by(Rehearsal.rehearsal_id))


def cards(session: Session, *, above: int) -> Chunks:
    """(key, run, task, attempt) of the cards of the runs in the window."""
    query = select(JobCard.card_key, JobCard.run_id, JobCard.task_id, JobCard.attempt)
    query = query.join(ProjectRun, ProjectRun.run_id == JobCard.run_id).where(ProjectRun.id > above)
    return in_chunks(session, query.order_by(JobCard.card_key))


def cardless_receipts(session: Session, *, above: int) -> Offenders:
    """Receipts of ours without a card."""
    total: Any = func.count().over()
    rows = session.execute(
        select(total, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt)
        .where(
            TaskReceipt.id > above, TaskReceipt.source == OURS,
            ~exists().where(
                JobCard.run_id == TaskReceipt.run_id, JobCard.task_id == TaskReceipt.task_id,
                JobCard.attempt == TaskReceipt.attempt,
            ),
        )
        .order_by(TaskReceipt.id)
        .limit(CAP)
    ).all()  # fmt: skip
    return _named(rows, lambda row: f"task_receipts run_id={row[1]} task_id={row[2]} attempt={row[3]}")


def untold_runs(session: Session, *, above: int) -> Offenders:
    """Runs of ours whose state is not the one that their transitions entered last."""
    return _untold(
        session, "run", ProjectRun.run_id, ProjectRun.status, ProjectRun.run_id, ProjectRun.id,
        [ProjectRun.id > above, ProjectRun.source == OURS],
    )  # fmt: skip


def untold_tasks(session: Session, *, above: int) -> Offenders:
    """Tasks of our runs whose state is not the one that their transitions entered last."""
    subject = func.substr(RunTask.run_id + literal("/") + RunTask.task_id, 1, SUBJECT)
    of_ours = exists().where(ProjectRun.run_id == RunTask.run_id, ProjectRun.source == OURS)
    return _untold(session, "task", subject, RunTask.status, subject, RunTask.id, [RunTask.id > above, of_ours])


def untold_projects(session: Session) -> Offenders:
    """Projects of ours whose state is not the one that their transitions entered last."""
    subject = as_type(Project.id, Text)
    return _untold(session, "project", subject, Project.status, subject, Project.id, [Project.source == OURS])


def _untold(
    session: Session, kind: str, subject: Any, status: Any, shown: Any, order: Any, where: list[ColumnElement[bool]]
) -> Offenders:
    told = and_(StateTransition.subject_type == kind, StateTransition.subject_id == subject)
    last: Any = (
        select(StateTransition.to_state)
        .where(told)
        .order_by(StateTransition.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    if kind == "task":
        # That a task was born is told by its `queued_at`; its first transition is the one out of QUEUED.
        last = func.coalesce(last, "QUEUED")
    ends = TERMINAL_STATES if kind != "project" else ("completed", "cancelled")
    has_end = exists().where(told, StateTransition.is_terminal)
    total: Any = func.count().over()
    rows = session.execute(
        select(total, shown, status, last)
        .where(*where, or_(last.is_distinct_from(status), has_end != status.in_(ends)))
        .order_by(order)
        .limit(CAP)
    ).all()
    return _named(rows, lambda row: f"{kind} {row[1]}: it is {row[2]}, its transitions say {row[3] or 'nothing'}")


def receiptless_events(session: Session, *, above: int) -> Chunks:
    """(event id, run, task, attempt, outcome, body as text) of settled completions without a receipt of their attempt."""
    run = func.coalesce(
        select(RunAlias.run_id).where(RunAlias.alias == InboxEvent.run_id).scalar_subquery(), InboxEvent.run_id
    )
    query: Any = select(
        InboxEvent.event_id, InboxEvent.run_id, InboxEvent.task_id, InboxEvent.attempt, InboxEvent.outcome,
        type_coerce(InboxEvent.body_json, Text),
    ).where(
        InboxEvent.id > above, InboxEvent.state == "settled", InboxEvent.task_id.is_not(None),
        InboxEvent.endpoint.in_(COMPLETIONS),
        ~exists().where(
            TaskReceipt.run_id == run, TaskReceipt.task_id == InboxEvent.task_id,
            TaskReceipt.attempt == func.coalesce(InboxEvent.attempt, 1),
        ),
    )  # fmt: skip
    return in_chunks(session, query.order_by(InboxEvent.id))


def eventless_receipts(session: Session, *, above: int) -> Offenders:
    """Receipts of ours that no settled completion brought."""
    aliases = select(RunAlias.alias).where(RunAlias.run_id == TaskReceipt.run_id)
    total: Any = func.count().over()
    rows = session.execute(
        select(total, TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt)
        .where(
            TaskReceipt.id > above, TaskReceipt.source == OURS,
            ~exists().where(
                or_(InboxEvent.run_id == TaskReceipt.run_id, InboxEvent.run_id.in_(aliases)),
                InboxEvent.task_id == TaskReceipt.task_id, func.coalesce(InboxEvent.attempt, 1) == TaskReceipt.attempt,
                InboxEvent.state == "settled",
            ),
        )
        .order_by(TaskReceipt.id)
        .limit(CAP)
    ).all()  # fmt: skip
    return _named(rows, lambda row: f"task_receipts run_id={row[1]} task_id={row[2]} attempt={row[3]}: no completion")


def answers(session: Session, *, above: int) -> Chunks:
    """(id, path, run, answer text, project of that run) of finished answers of starts."""
    query: Any = (
        select(
            IdempotencyKey.id, IdempotencyKey.path, IdempotencyKey.run_id, IdempotencyKey.answer_json, ProjectRun.project_id
        )
        .outerjoin(ProjectRun, ProjectRun.run_id == IdempotencyKey.run_id)
        .where(
            IdempotencyKey.id > above, IdempotencyKey.state == "done",
            or_(IdempotencyKey.path.like("%/start"), IdempotencyKey.path.like("%/simulate")),
        )
    )  # fmt: skip
    return in_chunks(session, query.order_by(IdempotencyKey.id))


def _named(rows: Sequence[Any], name: Any) -> Offenders:
    return (int(rows[0][0]) if rows else 0), [name(row) for row in rows]
