"""Which candidates are there, and what became of them?

Every function takes an open session and never commits. A state changes by one compare-and-set: of two that decide about the
same candidate, one finds it as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from plms_pipeline.models.records import APPROVED, EXPIRED, WAITING, Bytes, Candidate, NewCandidate
from plms_pipeline.registry.tables import Candidate as Row

MAX_ROWS = 1000


def add(session: Session, new: NewCandidate) -> None:
    """Add a candidate, which waits from now on."""
    session.add(
        Row(
            candidate_id=new.candidate_id, family=new.family, state=WAITING, folder=new.folder,
            model_sha256=new.bytes.model, evaluation_sha256=new.bytes.evaluation, data_sha256=new.bytes.data,
            manifest_sha256=new.bytes.manifest, experiment_sha256=new.bytes.experiment, trials=new.trials,
            gates_passed=new.gates_passed, alerts_json=list(new.alerts), action=new.action,
            blockers_json=list(new.blockers), started_from=new.started_from, requested_by=new.requested_by,
            requested_by_verified=new.requested_by_verified, reason=new.reason, created_at=new.created_at,
            expires_at=new.expires_at,
        )
    )  # fmt: skip
    session.flush()


def find(session: Session, candidate_id: str) -> Candidate | None:
    """The candidate with this id."""
    row = session.scalar(select(Row).where(Row.candidate_id == candidate_id))
    return _candidate(row) if row else None


def listed(
    session: Session, *, family: str | None = None, state: str | None = None, limit: int = 100
) -> list[Candidate]:
    """Candidates, newest first; at most `MAX_ROWS`."""
    query = select(Row)
    if family is not None:
        query = query.where(Row.family == family)
    if state is not None:
        query = query.where(Row.state == state)
    rows = session.scalars(query.order_by(Row.created_at.desc(), Row.candidate_id).limit(min(limit, MAX_ROWS)))
    return [_candidate(row) for row in rows]


def waiting(session: Session, family: str | None = None, *, limit: int = 100) -> list[Candidate]:
    """Candidates that wait for a person, newest first."""
    return listed(session, family=family, state=WAITING, limit=limit)


def approved(session: Session, family: str | None = None, *, limit: int = 100) -> list[Candidate]:
    """Candidates that wait for their promotion, newest first."""
    return listed(session, family=family, state=APPROVED, limit=limit)


def overdue(session: Session, at: datetime, *, limit: int = 100) -> list[Candidate]:
    """Candidates that waited, or were approved and never promoted, until their time was over; oldest first."""
    rows = session.scalars(
        select(Row)
        .where(Row.state.in_((WAITING, APPROVED)), Row.expires_at <= at)
        .order_by(Row.expires_at)
        .limit(limit)
    )
    return [_candidate(row) for row in rows]


def before(session: Session, candidate: Candidate) -> Candidate | None:
    """The candidate of the same family that was trained before another one."""
    row = session.scalar(
        select(Row)
        .where(Row.family == candidate.family, Row.created_at < candidate.created_at)
        .order_by(Row.created_at.desc(), Row.candidate_id)
        .limit(1)
    )
    return _candidate(row) if row else None


def by_model(session: Session, model_sha256: str) -> Candidate | None:
    """The oldest candidate with these bytes."""
    row = session.scalar(
        select(Row).where(Row.model_sha256 == model_sha256).order_by(Row.created_at, Row.candidate_id).limit(1)
    )
    return _candidate(row) if row else None


def decide(
    session: Session,
    candidate_id: str,
    *,
    was: str,
    state: str,
    decision_id: str,
    decided_at: datetime,
    decided_by: str,
    caps: Mapping[str, Any] | None,
) -> bool:
    """Record what was decided, if the candidate still is what it was; whether it did."""
    return _moved(
        session, candidate_id, was,
        {"state": state, "decision_id": decision_id, "decided_at": decided_at, "decided_by": decided_by,
         "caps_json": dict(caps) if caps is not None else None},
    )  # fmt: skip


def move(session: Session, candidate_id: str, *, was: str, state: str) -> bool:
    """Change the state, if it still is what it was; whether it did."""
    return _moved(session, candidate_id, was, {"state": state})


def expire(session: Session, candidate_id: str, *, was: str) -> bool:
    """End a candidate whose time is over, if it still is what it was; whether it did."""
    return move(session, candidate_id, was=was, state=EXPIRED)


def _moved(session: Session, candidate_id: str, was: str, values: dict[str, Any]) -> bool:
    changed = session.execute(
        update(Row)
        .where(Row.candidate_id == candidate_id, Row.state == was)
        .values(**values)
        .returning(Row.candidate_id)
    ).scalar_one_or_none()
    return changed is not None


def _candidate(row: Row) -> Candidate:
    return Candidate(
        row.candidate_id, row.family, row.folder,
        Bytes(row.model_sha256, row.evaluation_sha256, row.data_sha256, row.manifest_sha256, row.experiment_sha256),
        row.trials, row.gates_passed, tuple(row.alerts_json), row.action, tuple(row.blockers_json), row.started_from,
        row.requested_by, row.requested_by_verified, row.reason, row.created_at, row.expires_at, row.state,
        row.decision_id, row.decided_at, row.decided_by, row.caps_json,
    )  # fmt: skip
