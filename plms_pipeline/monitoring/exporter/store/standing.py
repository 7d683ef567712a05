"""How do projects, runs, letters and boxes stand, and what waits for a person?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, String, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    DeadLetter,
    Decision,
    Hold,
    IdempotencyKey,
    InboxEvent,
    LaneReview,
    Obligation,
    OutboxEvent,
    Project,
    ProjectRun,
    StateTransition,
)

OURS = "plms"
Waiting = tuple[str, int, datetime | None]


def projects(session: Session) -> dict[str, int]:
    """State → projects of ours."""
    rows = session.execute(select(Project.status, func.count()).where(Project.source == OURS).group_by(Project.status))
    return dict(rows.all())


def runs(session: Session) -> dict[str, int]:
    """State → runs of ours; an index alone answers it."""
    rows = session.execute(
        select(ProjectRun.status, func.count()).where(ProjectRun.source == OURS).group_by(ProjectRun.status)
    )
    return dict(rows.all())


def holds(session: Session) -> dict[str, tuple[int, datetime]]:
    """Kind of subject → (pauses that nobody lifted, since when the first)."""
    rows = session.execute(
        select(Hold.subject_type, func.count(), func.min(Hold.placed_at))
        .where(Hold.lifted_at.is_(None))
        .group_by(Hold.subject_type)
    )
    return {kind: (count, since) for kind, count, since in rows}


def letters(session: Session) -> Sequence[tuple[str, str, str, int]]:
    """(kind, class, state, how many) of dead letters."""
    key = (DeadLetter.kind, DeadLetter.error_class, DeadLetter.state)
    rows = session.execute(select(*key, func.count()).group_by(*key))
    return [(kind, error_class, state, count) for kind, error_class, state, count in rows]


def letters_due(session: Session, now: datetime) -> int:
    """Letters whose turn it is."""
    due = or_(DeadLetter.next_due_at.is_(None), DeadLetter.next_due_at <= now)
    return _count(session, DeadLetter.state == "ready", due)


def letters_retried(session: Session) -> dict[str, int]:
    """State → letters that were tried again at least once."""
    rows = session.execute(
        select(DeadLetter.state, func.count()).where(DeadLetter.attempts > 0).group_by(DeadLetter.state)
    )
    return dict(rows.all())


def inbox(session: Session, now: datetime) -> tuple[dict[str, int], datetime | None, int]:
    """Age class → events that wait; since when the first does; how many were refused."""
    at = InboxEvent.received_at
    age = case(
        (at >= now - timedelta(minutes=1), "1m"), (at >= now - timedelta(minutes=5), "5m"),
        (at >= now - timedelta(hours=1), "1h"), else_="older",
    )  # fmt: skip
    rows = session.execute(
        select(age.label("age"), func.count(), func.min(at)).where(InboxEvent.state == "pending").group_by("age")
    ).all()
    refused = session.scalar(select(func.count()).select_from(InboxEvent).where(InboxEvent.state == "refused"))
    return {row[0]: row[1] for row in rows}, min((row[2] for row in rows), default=None), int(refused or 0)


def outbox(session: Session) -> dict[str, tuple[int, datetime]]:
    """State (pending, failed) → (effects, since when the first is due)."""
    rows = session.execute(
        select(OutboxEvent.state, func.count(), func.min(OutboxEvent.due_at))
        .where(OutboxEvent.state.in_(("pending", "failed")))
        .group_by(OutboxEvent.state)
    )
    return {state: (count, since) for state, count, since in rows}


def idempotency_keys(session: Session, now: datetime) -> dict[str, int]:
    """State → keys that are still remembered."""
    rows = session.execute(
        select(IdempotencyKey.state, func.count()).where(IdempotencyKey.expires_at > now).group_by(IdempotencyKey.state)
    )
    return dict(rows.all())


def evidence(session: Session, now: datetime) -> tuple[int, int]:
    """(pending, of them overdue) obligations."""
    late = func.sum(case((Obligation.deadline_at < now, 1), else_=0))
    row = session.execute(select(func.count(), late).where(Obligation.state == "pending")).one()
    return int(row[0]), int(row[1] or 0)


def waiting_projects(session: Session) -> Sequence[Waiting]:
    """(state, projects in it, since when the first is) of states that end by a person's decision."""
    entered = (
        select(func.max(StateTransition.at))
        .where(
            StateTransition.subject_type == "project",
            StateTransition.subject_id == cast(Project.id, String),
            StateTransition.to_state == Project.status,
        )
        .correlate(Project)
        .scalar_subquery()
    )
    waits = (
        select(Project.status.label("status"), func.coalesce(entered, Project.created_at).label("since"))
        .where(Project.source == OURS, Project.status.in_(("pending_approval", "needs_review")))
        .subquery()
    )
    rows = session.execute(select(waits.c.status, func.count(), func.min(waits.c.since)).group_by(waits.c.status))
    return [(status, count, since) for status, count, since in rows]


def waiting_reviews(session: Session) -> Waiting:
    """Recommended changes of lanes that nobody decided."""
    row = session.execute(
        select(func.count(), func.min(LaneReview.created_at)).where(LaneReview.state == "proposed")
    ).one()
    return "lane_review", row[0], row[1]


def waiting_letters(session: Session) -> Waiting:
    """Letters that nobody tries again."""
    row = session.execute(
        select(func.count(), func.min(DeadLetter.last_failed_at)).where(DeadLetter.state == "permanent")
    ).one()
    return "dead_letter", row[0], row[1]


def waiting_overrides(session: Session, kind: str, request: str) -> Waiting:
    """Runs whose owner asked for an override of the verdict and nobody has answered.

    Args:
        kind: of the decision.
        request: the word by which it is asked for.
    """
    later = _later_answer(kind, request)
    row = session.execute(
        select(func.count(), func.min(Decision.decided_at)).where(
            Decision.kind == kind, Decision.decision == request, ~later
        )
    ).one()
    return "verdict_override", row[0], row[1]


def _later_answer(kind: str, request: str) -> ColumnElement[bool]:
    other = select(Decision.id, Decision.subject_id, Decision.subject_type, Decision.kind, Decision.decision).subquery()
    return (
        select(other.c.id)
        .where(
            and_(
                other.c.subject_type == Decision.subject_type, other.c.subject_id == Decision.subject_id,
                other.c.kind == kind, other.c.decision != request, other.c.id > Decision.id,
            )
        )
        .exists()
    )  # fmt: skip


def _count(session: Session, *where: ColumnElement[bool]) -> int:
    return int(session.scalar(select(func.count()).select_from(DeadLetter).where(*where)) or 0)
