"""Who may do this now, and what if the holder dies?

A lease is a row: one holder until `expires_at`, renewed while the work goes on. Every new holder gets a larger fencing
token, so that a holder who slept through its expiry can be told apart from the present one. Whether a holder on this
machine still lives is asked of the caller (`is_dead`), because rows cannot know about processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lease


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it stands: who holds it since when, until when."""

    name: str
    holder: str
    fencing_token: int
    acquired_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Acquired:
    """The answer to `acquire`: `lease` is the caller's own when `granted`, otherwise the present holder's."""

    granted: bool
    lease: Held


def acquire(
    session: Session,
    name: str,
    holder: str,
    *,
    now: datetime,
    ttl: timedelta,
    is_dead: Callable[[str], bool] = lambda _holder: False,
    details: dict[str, Any] | None = None,
) -> Acquired:
    """Take the lease if it is free, expired, already ours, or its holder is dead. Needs a writing session.

    Taking it again while it is ours gives a new token, and the older one can neither renew nor release any more.
    """
    row = _locked(session, name)
    current = _held(row)
    if current and current.holder != holder and current.expires_at > now and not is_dead(current.holder):
        return Acquired(granted=False, lease=current)
    row.holder = holder
    row.fencing_token += 1
    row.acquired_at = row.renewed_at = now
    row.expires_at = now + ttl
    row.details_json = details
    session.flush()
    lease = _held(row)
    assert lease is not None  # noqa: S101 - every field was set above
    return Acquired(granted=True, lease=lease)


def renew(session: Session, lease: Held, *, now: datetime, ttl: timedelta) -> bool:
    """Extend a lease; False when somebody else holds it by now (the fencing token moved on)."""
    row = _locked(session, lease.name)
    if row.fencing_token != lease.fencing_token or row.holder != lease.holder:
        return False
    row.renewed_at, row.expires_at = now, now + ttl
    return True


def release(session: Session, lease: Held) -> bool:
    """Give a lease back; False when it was no longer ours."""
    row = _locked(session, lease.name)
    if row.fencing_token != lease.fencing_token or row.holder != lease.holder:
        return False
    row.holder = row.acquired_at = row.renewed_at = row.expires_at = None
    return True


def current(session: Session, name: str) -> Held | None:
    """The lease as it stands, or None when nobody holds it."""
    row = session.get(Lease, name)
    return _held(row) if row else None


def _locked(session: Session, name: str) -> Lease:
    """The row of a lease, locked until the transaction ends; made when it is the first time that anybody asks.

    Two processes that ask for a new name at once would both find no row and both insert one. The insert that yields to
    the other's lets the second wait and then read what the first one took.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Lease).values(name=name, fencing_token=0).on_conflict_do_nothing())
    statement = select(Lease).where(Lease.name == name).with_for_update()
    return session.scalars(statement, execution_options={"populate_existing": True}).one()


def _held(row: Lease) -> Held | None:
    if row.holder is None or row.acquired_at is None or row.expires_at is None:
        return None
    return Held(row.name, row.holder, row.fencing_token, row.acquired_at, row.expires_at)
