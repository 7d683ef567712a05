"""Which changes of lanes are recommended, and what became of them?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.lane_rules import Recommendation
from plms_pipeline.registry.tables import LaneReview


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recommended change of a lane, as it is kept."""

    review_id: str
    lane_id: int
    week_of: str
    field: str
    subject: str
    current: Any
    recommended: Any
    rule: str
    evidence: Any
    state: str


def propose(
    session: Session, lane_id: int, week_of: str, found: Recommendation, *, review_id: str, now: datetime
) -> bool:
    """Keep a recommendation, once a week; an older one of the same field that nobody decided is superseded.

    Returns:
        Whether it is new.
    """
    session.execute(
        update(LaneReview)
        .where(
            LaneReview.lane_id == lane_id, LaneReview.field == found.field, LaneReview.subject == found.subject,
            LaneReview.state == "proposed", LaneReview.week_of < week_of,
        )
        .values(state="superseded", decided_at=now)
    )  # fmt: skip
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    done: Any = session.execute(
        dialect.insert(LaneReview)
        .values(
            review_id=review_id, lane_id=lane_id, week_of=week_of, field=found.field, subject=found.subject,
            current_json=found.current, recommended_json=found.recommended, rule=found.rule, evidence_json=found.evidence,
            state="proposed", created_at=now,
        )
        .on_conflict_do_nothing()
    )  # fmt: skip
    return bool(done.rowcount)


def proposals(session: Session, *, state: str | None = None) -> list[Proposal]:
    """What is or was recommended, the newest week first."""
    query = select(LaneReview).order_by(LaneReview.week_of.desc(), LaneReview.lane_id, LaneReview.field)
    if state is not None:
        query = query.where(LaneReview.state == state)
    return [_proposal(row) for row in session.scalars(query)]


def open_proposal(session: Session, review_id: str) -> Proposal | None:
    """A recommendation, locked against another who decides it; None when there is none."""
    row = session.scalars(select(LaneReview).where(LaneReview.review_id == review_id).with_for_update()).one_or_none()
    return None if row is None else _proposal(row)


def decided(session: Session, review_id: str, state: str, decision_id: str, *, now: datetime) -> None:
    """What became of it."""
    session.execute(
        update(LaneReview)
        .where(LaneReview.review_id == review_id, LaneReview.state == "proposed")
        .values(state=state, decision_id=decision_id, decided_at=now)
    )


def _proposal(row: LaneReview) -> Proposal:
    return Proposal(
        row.review_id, row.lane_id, row.week_of, row.field, row.subject, row.current_json, row.recommended_json, row.rule,
        row.evidence_json, row.state,
    )  # fmt: skip
