"""How many tokens are in a bucket, whoever asks?

The bucket's row is locked while it is refilled and taken from; a bucket that nobody used is full.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.buckets import JUMP, Level, Rate, full, take
from plms_pipeline.registry.prepared import Change, Prepared, asked
from plms_pipeline.registry.tables import RateBucket
from plms_pipeline.registry.types import UtcDateTime

_NAME: Final = RateBucket.name == bindparam("of_name", type_=RateBucket.name.type)
_LEVEL: Final = Prepared(select(RateBucket.tokens, RateBucket.refilled_at).where(_NAME).with_for_update())
_TAKE: Final = Change(
    update(RateBucket)
    .where(_NAME)
    .values(tokens=bindparam("left", type_=RateBucket.tokens.type), refilled_at=bindparam("at", type_=UtcDateTime()))
)


def spend(session: Session, name: str, rate: Rate, *, now: datetime) -> float:
    """Take one token: 0.0 when there was one, else the seconds until there will be, and then nothing was taken."""
    rows = asked(session, _LEVEL, of_name=name)
    if not rows:
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        new = full(rate, now)
        session.execute(
            dialect.insert(RateBucket).values(name=name, tokens=new.tokens, refilled_at=new.at).on_conflict_do_nothing()
        )
        rows = asked(session, _LEVEL, of_name=name)
    level, wait_s = take(Level(*rows[0]), rate, now)
    if wait_s == 0.0:
        _TAKE.into(session, of_name=name, left=level.tokens, at=level.at)
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
