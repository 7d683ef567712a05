"""How many tokens are in a bucket, whoever asks?

The bucket's row is locked while it is refilled and taken from; a bucket that nobody used is full.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.buckets import JUMP, Level, Rate, full, take
from plms_pipeline.registry.tables import RateBucket


def spend(session: Session, name: str, rate: Rate, *, now: datetime) -> float:
    """Take one token: 0.0 when there was one, else the seconds until there will be, and then nothing was taken."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = full(rate, now)
    session.execute(
        dialect.insert(RateBucket).values(name=name, tokens=new.tokens, refilled_at=new.at).on_conflict_do_nothing()
    )
    row = session.execute(
        select(RateBucket.tokens, RateBucket.refilled_at).where(RateBucket.name == name).with_for_update()
    ).one()
    level, wait_s = take(Level(*row), rate, now)
    if wait_s == 0.0:
        session.execute(
            update(RateBucket)
            .where(RateBucket.name == name)
            .values(tokens=level.tokens, refilled_at=level.at)
            .execution_options(synchronize_session=False)
        )
    return wait_s


def levels(session: Session) -> dict[str, Level]:
    """Name → bucket as it was left. Reads only."""
    query = select(RateBucket.name, RateBucket.tokens, RateBucket.refilled_at).order_by(RateBucket.name)
    return {name: Level(tokens, at) for name, tokens, at in session.execute(query)}


def forget(session: Session, name: str) -> None:
    """Fill a bucket."""
    session.execute(delete(RateBucket).where(RateBucket.name == name))


def follow_clock(session: Session, name: str, *, now: datetime) -> None:
    """After the clock jumped back: go on from now, or nothing begins until it is as late as it was.

    Not after a small step: that is somebody who looked at the clock and then waited for a lock, and going back with it would
    count the same time twice.
    """
    session.execute(
        update(RateBucket)
        .where(RateBucket.name == name, RateBucket.refilled_at > now + JUMP)
        .values(refilled_at=now)
        .execution_options(synchronize_session=False)
    )
