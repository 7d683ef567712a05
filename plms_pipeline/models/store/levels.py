"""What did serving add up? Sums over its minutes; every function takes an open session and never commits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.models.decision.levels import LONG, SHORT, Level, Served, levels
from plms_pipeline.registry.tables import ServingMinute


def served(session: Session, family: str, *, since: datetime, until: datetime) -> Served:
    """What serving of a family added up in the minutes that began in a window."""
    columns = (
        "requests", "errors", "slow_750", "guardrail_requests", "slow_250", "trades_evaluated", "violations",
    )  # fmt: skip
    row = session.execute(
        select(*(func.coalesce(func.sum(getattr(ServingMinute, name)), 0) for name in columns)).where(
            ServingMinute.family == family, ServingMinute.minute >= since, ServingMinute.minute <= until
        )
    ).one()
    return Served(*(int(value) for value in row))


def service_levels(session: Session, family: str, now: datetime) -> tuple[Level, ...]:
    """Every service level of a family, as it stands now."""
    return levels(
        long=served(session, family, since=now - LONG, until=now),
        short=served(session, family, since=now - SHORT, until=now),
    )
