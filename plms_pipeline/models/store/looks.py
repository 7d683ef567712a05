"""What did the live monitor recommend, look by look? Every function takes an open session and never commits."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.models.training.history import Look
from plms_pipeline.registry.tables import LiveSnapshot


def newest(session: Session, family: str, *, limit: int = 1000) -> list[Look]:
    """The newest looks at the champions of a family, newest first."""
    query = (
        select(LiveSnapshot.id, LiveSnapshot.promotion_id, LiveSnapshot.at, LiveSnapshot.action)
        .where(LiveSnapshot.family == family)
        .order_by(LiveSnapshot.at.desc(), LiveSnapshot.id.desc())
        .limit(limit)
    )
    return [Look(number, promotion_id, at, action) for number, promotion_id, at, action in session.execute(query)]
