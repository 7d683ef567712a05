"""What did the live monitor recommend, look by look? Every function takes an open session and never commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

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


def add(
    session: Session, *, family: str, promotion_id: str | None, at: datetime, window: tuple[datetime | None, datetime | None],
    rows: int, metrics: Mapping[str, Any], codes: Sequence[str], action: str, path: str | None,
) -> int:  # fmt: skip
    """Keep one look; its number.

    Args:
        window: the first and the last moment that was looked at.
        codes: stable codes of the alerts.
        path: of the snapshot's file, relative to the data folder.
    """
    row = LiveSnapshot(
        family=family, promotion_id=promotion_id, at=at, window_from=window[0], window_to=window[1], rows=rows,
        metrics_json=dict(metrics), alerts_json=list(codes), action=action, path=path,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.id
