"""Which runs may be announced to the executor now, and which is a project's next?

Asked at every tick, mostly for nothing: the statements are put together once, which takes longer than to answer them. The
project's row is locked while it is decided which of its runs is next: two processes that both saw no active run would otherwise
start two.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, Select, String, and_, bindparam, cast, exists, func, or_, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.queueing import LONGEST_LEASE
from plms_pipeline.registry.prepared import Asking, Prepared, one_of
from plms_pipeline.registry.tables import Hold, OutboxEvent, Project, ProjectPolicy, ProjectRun, RunLineage
from plms_pipeline.registry.types import UtcDateTime
from plms_pipeline.runs.starting import startable_states
from plms_pipeline.runs.store.outbox import Effect, due_within, take

START: Final = "start_run"


def projects_with_due_starts(ask: Asking, now: datetime, *, limit: int) -> list[int]:
    """Projects that have a run to announce and a place for it, the longest waiting first. Reads only."""
    return [project for (project,) in ask.rows(_due_starts(), now=now, latest=now + LONGEST_LEASE, most=limit)]


@cache
def _due_starts() -> Prepared:
    return Prepared(
        select(ProjectRun.project_id)
        .join(OutboxEvent, OutboxEvent.subject_id == ProjectRun.run_id)
        .join(Project, Project.id == ProjectRun.project_id)
        .where(
            OutboxEvent.kind == START,
            *_due_then(),
            ProjectRun.status == "QUEUED",
            may_go(Project.status),
            ~_held("project", cast(ProjectRun.project_id, Hold.subject_id.type)),
            ~_held("run", ProjectRun.run_id),
            or_(OutboxEvent.attempts > 0, _has_place(ProjectRun.project_id)),
        )
        .group_by(ProjectRun.project_id)
        .order_by(func.min(OutboxEvent.id))
        .limit(bindparam("most", type_=Integer()))
    )


def _due_then() -> tuple[ColumnElement[bool], ...]:
    return due_within(bindparam("now", type_=UtcDateTime()), bindparam("latest", type_=UtcDateTime()))


def claim_start(
    session: Session, project_id: int, *, holder: str, now: datetime, lease_until: datetime, only_known: bool = False
) -> Effect | None:
    """Take the project's next run, if one may be active besides those that are.

    Active is a run that is RUNNING, or QUEUED with a start that was claimed before: the executor may know of it already.

    Args:
        only_known: take none but such a one, because the executor bears no more runs.
    """
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())
    given = {"now": now, "latest": now + LONGEST_LEASE, "project": project_id, "named": str(project_id)}
    next_one = session.scalars(_next_start(only_known=only_known), given).all()
    claimed = take(session, next_one, holder=holder, now=now, lease_until=lease_until) if next_one else []
    return claimed[0] if claimed else None


@cache
def _next_start(*, only_known: bool) -> Select[int]:
    project_id = bindparam("project", type_=Integer())
    mine = select(ProjectRun.run_id).where(
        ProjectRun.project_id == project_id,
        ProjectRun.status == "QUEUED",
        may_go(select(Project.status).where(Project.id == project_id).scalar_subquery()),
        ~_held("project", bindparam("named", type_=String())),
        ~_held("run", ProjectRun.run_id),
    )
    return (
        select(OutboxEvent.id)
        .where(OutboxEvent.kind == START, *_due_then(), OutboxEvent.subject_id.in_(mine))
        .where(OutboxEvent.attempts > 0 if only_known else or_(OutboxEvent.attempts > 0, _has_place(project_id)))
        .order_by((OutboxEvent.attempts == 0), OutboxEvent.id)
        .limit(1)
    )


def active_runs(session: Session) -> int:
    """How many runs of all projects the executor has, or may have heard of."""
    return int(session.scalar(_active_runs()) or 0)


@cache
def _active_runs() -> Select[int]:
    claimed = exists().where(
        OutboxEvent.subject_id == ProjectRun.run_id, OutboxEvent.kind == START, OutboxEvent.attempts > 0
    )
    return (
        select(func.count())
        .select_from(ProjectRun)
        .where(
            ProjectRun.source == "plms",
            or_(ProjectRun.status == "RUNNING", and_(ProjectRun.status == "QUEUED", claimed)),
        )
    )


def may_go(project_status: Any) -> ColumnElement[bool]:
    """Whether the project's state still lets the run go out: `startable_states`, in SQL."""
    repeats = exists().where(RunLineage.run_id == ProjectRun.run_id)
    return or_(
        one_of(project_status, sorted(startable_states("baseline"))),
        and_(
            one_of(project_status, sorted(startable_states("replay", is_repetition=True))),
            ProjectRun.run_kind == "replay",
            repeats,
        ),
    )


def _has_place(project_id: Any) -> ColumnElement[bool]:
    """Whether fewer runs of a project are active than its policy allows (1 without one)."""
    run, start = aliased(ProjectRun), aliased(OutboxEvent)
    claimed = exists().where(start.subject_id == run.run_id, start.kind == START, start.attempts > 0)
    active = (
        select(func.count())
        .select_from(run)
        .where(
            run.project_id == project_id,
            run.source == "plms",
            or_(run.status == "RUNNING", and_(run.status == "QUEUED", claimed)),
        )
        .scalar_subquery()
    )
    cap = (
        select(func.coalesce(func.max(ProjectPolicy.max_active_runs), 1))
        .where(ProjectPolicy.project_id == project_id)
        .scalar_subquery()
    )
    return active < cap


def _held(subject_type: str, subject_id: Any) -> ColumnElement[bool]:
    return exists().where(Hold.subject_type == subject_type, Hold.subject_id == subject_id, Hold.lifted_at.is_(None))
