"""How do models stand in the books, and what did the live monitor write last?

A registry that was not upgraded yet has no such tables; then there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Candidate, Champion, LiveSnapshot


def are_there(session: Session) -> bool:
    """Whether this registry knows of models."""
    found = inspect(session.connection())
    return all(found.has_table(name) for name in ("candidates", "champions", "live_snapshots"))


def candidates(session: Session) -> Sequence[tuple[str, str, int]]:
    """(family, state, candidates)."""
    key = (Candidate.family, Candidate.state)
    rows = session.execute(select(*key, func.count()).group_by(*key))
    return [(family, state, count) for family, state, count in rows]


def promotions(session: Session) -> Sequence[tuple[str, int]]:
    """(family, number of its newest promotion)."""
    rows = session.execute(select(Champion.family, func.max(Champion.sequence)).group_by(Champion.family))
    return [(family, sequence) for family, sequence in rows]


def newest_snapshot(session: Session, family: str) -> tuple[datetime, int, Mapping[str, Any]] | None:
    """When the live monitor looked last, at how many returns, and what it saw."""
    row = session.execute(
        select(LiveSnapshot.at, LiveSnapshot.rows, LiveSnapshot.metrics_json)
        .where(LiveSnapshot.family == family)
        .order_by(LiveSnapshot.at.desc(), LiveSnapshot.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.at, row.rows, row.metrics_json or {})


def codes(session: Session, family: str, *, since: datetime, behind: int) -> Sequence[tuple[int, datetime, list[str]]]:
    """(id, moment, codes) of the snapshots since a moment, behind an id."""
    rows = session.execute(
        select(LiveSnapshot.id, LiveSnapshot.at, LiveSnapshot.alerts_json)
        .where(LiveSnapshot.family == family, LiveSnapshot.id > behind, LiveSnapshot.at >= since)
        .order_by(LiveSnapshot.id)
    )
    return [(number, at, [str(code) for code in found or []]) for number, at, found in rows]
