"""What was decided? Rows of `decisions`, which are only ever added.

Every function takes an open session and never commits.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from plms_pipeline.decisions.record import Decided
from plms_pipeline.registry.tables import Decision

MAX_ROWS = 1000


def append(session: Session, decided: Decided) -> None:
    """Add one decision."""
    session.add(
        Decision(
            decision_id=decided.decision_id, kind=decided.kind, subject_type=decided.subject_type,
            subject_id=decided.subject_id, decision=decided.decision, reason=decided.reason,
            requested_by=decided.requested_by, actor=decided.actor, actor_verified=decided.actor_verified,
            role=decided.role, evidence_sha256=decided.evidence_sha256, payload_json=decided.payload,
            decided_at=decided.decided_at,
        )
    )  # fmt: skip
    session.flush()


def find(session: Session, decision_id: str) -> Decided | None:
    """The decision with this id."""
    row = session.scalar(select(Decision).where(Decision.decision_id == decision_id))
    return _decided(row) if row else None


def newest(
    session: Session, kind: str, subject_type: str, subject_id: str, *, decision: str | None = None
) -> Decided | None:
    """The newest decision about a subject, of one kind, and of one word when `decision` is given."""
    query = _about(kind, subject_type, subject_id)
    if decision is not None:
        query = query.where(Decision.decision == decision)
    row = session.scalar(query.order_by(Decision.id.desc()).limit(1))
    return _decided(row) if row else None


def listed(
    session: Session,
    *,
    kind: str | None = None,
    subject_type: str | None = None,
    subject_id: str | None = None,
    limit: int = 100,
) -> list[Decided]:
    """Decisions, newest first.

    Args:
        kind, subject_type, subject_id: only those; None: all.
        limit: at most so many, and never more than `MAX_ROWS`.
    """
    query = select(Decision)
    for column, value in (
        (Decision.kind, kind),
        (Decision.subject_type, subject_type),
        (Decision.subject_id, subject_id),
    ):
        if value is not None:
            query = query.where(column == value)
    rows = session.scalars(query.order_by(Decision.id.desc()).limit(min(limit, MAX_ROWS)))
    return [_decided(row) for row in rows]


def _about(kind: str, subject_type: str, subject_id: str) -> Select[Any]:
    return select(Decision).where(
        Decision.kind == kind, Decision.subject_type == subject_type, Decision.subject_id == subject_id
    )


def _decided(row: Decision) -> Decided:
    return Decided(
        row.decision_id, row.kind, row.subject_type, row.subject_id, row.decision, row.reason, row.requested_by, row.actor,
        row.actor_verified, row.role, row.evidence_sha256, row.payload_json, row.decided_at,
    )  # fmt: skip
