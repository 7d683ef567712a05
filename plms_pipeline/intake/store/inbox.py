"""Which events came in, and what became of each?

An event is claimed by one UPDATE … RETURNING with a lease, so that two processes never settle the same one at once and what a
killed process had claimed is due again when its lease ends. Sensors read by state, never by a cursor over ids: on
PostgreSQL a row with a smaller id may be committed later and would be skipped for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from plms_pipeline.intake.store.importing import insert_into
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.rules import RETRIER, Failure, Letter
from plms_pipeline.registry.tables import InboxEvent

PENDING = "pending"
SETTLER = "settlement"
_AGAIN = "retry:"
# No claim and no pause lasts so long, whatever the settings: one that seems to was made before the clock went back.
LONGEST_LEASE = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was claimed; `attempts` counts this claim."""

    id: int
    event_id: str
    endpoint: str
    document: Mapping[str, Any]
    run_id: str | None
    task_id: str | None
    attempt: int | None
    actor: str
    received_at: datetime
    attempts: int


def add(session: Session, row: Mapping[str, Any]) -> bool:
    """Keep one event; False when its id is known."""
    statement = insert_into(session, InboxEvent).values(**row).on_conflict_do_nothing(index_elements=["event_id"])
    return session.execute(statement.returning(InboxEvent.id)).first() is not None


def body_sha256_of(session: Session, event_id: str) -> str | None:
    """The digest of the body that came under an event id."""
    return session.scalar(select(InboxEvent.body_sha256).where(InboxEvent.event_id == event_id))


def holders(session: Session, *, now: datetime) -> set[str]:
    """Who holds events that wait, under a lease that has not ended."""
    query = select(InboxEvent.lease_holder).where(
        InboxEvent.state == PENDING, InboxEvent.lease_holder.is_not(None), InboxEvent.lease_expires_at > now
    )
    return {holder for holder in session.scalars(query.distinct()) if holder is not None}


def free_from(session: Session, dead: Iterable[str]) -> None:
    """Take events from holders that are known to be dead: what they held is due now, not when their lease ends."""
    session.execute(
        update(InboxEvent)
        .where(InboxEvent.state == PENDING, InboxEvent.lease_holder.in_(sorted(dead)))
        .values(lease_holder=None, lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )


def claim(
    session: Session,
    *,
    holder: str,
    now: datetime,
    lease_until: datetime,
    limit: int,
    longest: timedelta = LONGEST_LEASE,
) -> list[Event]:
    """Take up to `limit` events that wait, oldest first.

    Args:
        longest: what ends later than so long from now was claimed or put off before the clock went back: it is due.
    """
    due = (
        select(InboxEvent.id)
        .where(*_is_due(now, longest))
        .order_by(InboxEvent.received_at, InboxEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A plain subquery may be run again for each row on PostgreSQL, and then skips what it locked itself: beyond the limit.
        .cte("due")
    )
    rows = session.execute(
        update(InboxEvent)
        .where(InboxEvent.id.in_(select(due.c.id)), *_is_due(now, longest))
        .values(lease_holder=holder, lease_expires_at=lease_until, attempts=InboxEvent.attempts + 1)
        .returning(
            InboxEvent.id, InboxEvent.event_id, InboxEvent.endpoint, InboxEvent.body_json, InboxEvent.run_id,
            InboxEvent.task_id, InboxEvent.attempt, InboxEvent.actor, InboxEvent.received_at, InboxEvent.attempts,
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return sorted((Event(*row) for row in rows), key=lambda event: (event.received_at, event.id))


def held(session: Session, ids: Iterable[int], *, holder: str) -> set[int]:
    """Those of the events that still wait and are still claimed by `holder`: others were taken over meanwhile."""
    rows = session.scalars(
        select(InboxEvent.id)
        .where(InboxEvent.id.in_(list(ids)), InboxEvent.state == PENDING, InboxEvent.lease_holder == holder)
        .with_for_update()
    )
    return set(rows)


def finish(session: Session, outcomes: Sequence[tuple[int, str, str]], *, at: datetime) -> None:
    """Say what became of claimed events: (id, `settled` | `ignored` | `refused`, one line)."""
    if not outcomes:
        return
    statement = (
        update(InboxEvent)
        .where(InboxEvent.id == bindparam("event"), InboxEvent.state == PENDING)
        .values(
            state=bindparam("new_state"), outcome=bindparam("said"), settled_at=bindparam("at"),
            lease_holder=None, lease_expires_at=None,
        )
    )  # fmt: skip
    rows = [
        {"event": event, "new_state": state, "said": said[:2000], "at": at}
        for event, state, said in outcomes
    ]  # fmt: skip
    session.connection().execute(statement, rows)
    refused = {event: said for event, state, said in outcomes if state == "refused"}
    if refused:
        _put_aside(session, refused, at)


def _put_aside(session: Session, refused: Mapping[int, str], at: datetime) -> None:
    """Keep what was refused as dead letters, in one order, so that two settlements never wait for each other in a circle."""
    rows = session.execute(
        select(
            InboxEvent.id,
            InboxEvent.event_id,
            InboxEvent.run_id,
            InboxEvent.endpoint,
            InboxEvent.attempts,
            InboxEvent.actor,
        )
        .where(InboxEvent.id.in_(list(refused)), InboxEvent.state == "refused")
        .order_by(InboxEvent.event_id)
    )
    for number, event_id, run_id, endpoint, attempts, actor in rows.all():
        first = _first_of(session, event_id) if actor == RETRIER else None
        failure = Failure(
            kind="event", subject_id=first or event_id, reason=refused[number], run_id=run_id[:64] if run_id else None,
            payload={"endpoint": endpoint, "attempts": attempts, "event_id": event_id},
        )  # fmt: skip
        letters.put(session, failure, now=at, actor=SETTLER)


def again_id(letter_id: str, event_id: str) -> str:
    """The id under which a refused event is settled once more: names its letter, and is the same when it is asked again."""
    return f"{_AGAIN}{letter_id}:{hashlib.sha256(event_id.encode()).hexdigest()[:16]}"


def event_of(letter: Letter) -> str:
    """The event that stands for a letter's subject now: the first one, or the newest that was put in its place."""
    payload = letter.payload if isinstance(letter.payload, dict) else {}
    return str(payload.get("event_id") or letter.subject_id)


def _first_of(session: Session, event_id: str) -> str | None:
    """The first event of a chain, if the id is one that we gave."""
    letter = letters.find(session, event_id.removeprefix(_AGAIN).partition(":")[0])
    return letter.subject_id if letter is not None and letter.kind == "event" else None


def put_back(
    session: Session,
    ids: Iterable[int],
    *,
    holder: str,
    due_at: datetime | None,
    said: str | None,
    was_tried: bool = True,
) -> None:
    """Give claimed events back: due at once, or at a moment. What somebody else has claimed since stays with them.

    Args:
        said: why, for whoever looks at the event meanwhile.
        was_tried: False when nobody tried to settle them, which then does not count as an attempt.
    """
    session.execute(
        update(InboxEvent)
        .where(InboxEvent.id.in_(list(ids)), InboxEvent.state == PENDING, InboxEvent.lease_holder == holder)
        .values(
            lease_holder=None, lease_expires_at=due_at, outcome=said[:2000] if said else None,
            attempts=InboxEvent.attempts - (0 if was_tried else 1),
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def extend(session: Session, ids: Iterable[int], *, holder: str, lease_until: datetime) -> None:
    """Keep claimed events for longer."""
    session.execute(
        update(InboxEvent)
        .where(InboxEvent.id.in_(list(ids)), InboxEvent.state == PENDING, InboxEvent.lease_holder == holder)
        .values(lease_expires_at=lease_until)
        .execution_options(synchronize_session=False)
    )


def count_due(session: Session, *, now: datetime, longest: timedelta = LONGEST_LEASE) -> int:
    """How many events wait for somebody to settle them; `longest` as in `claim`."""
    return int(session.scalar(select(func.count()).select_from(InboxEvent).where(*_is_due(now, longest))) or 0)


def pending_runs(session: Session) -> set[str]:
    """The runs (or other names of runs) that an event waits for."""
    rows = session.scalars(select(InboxEvent.run_id).where(InboxEvent.state == PENDING).distinct())
    return {run_id for run_id in rows if run_id is not None}


def depth(session: Session) -> dict[str, int]:
    """How many events stand in each state."""
    rows = session.execute(select(InboxEvent.state, func.count()).group_by(InboxEvent.state))
    return {str(state): int(n) for state, n in rows}


def _is_due(now: datetime, longest: timedelta) -> tuple[ColumnElement[bool], ...]:
    ends_at = InboxEvent.lease_expires_at
    free = or_(ends_at.is_(None), ends_at <= now, ends_at > now + longest)
    return InboxEvent.state == PENDING, free
