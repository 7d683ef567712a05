"""Which effects on the outside are asked for and due?

A row is put down in the transaction that wants the effect, claimed with a lease by whoever does it, and is done, or due again
later. A claim whose holder died is due again when its lease ends; so every effect must bear being done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.queueing import LONGEST_LEASE
from plms_pipeline.registry.prepared import Asking, Prepared, asking_in, one_of
from plms_pipeline.registry.tables import OutboxEvent
from plms_pipeline.registry.types import UtcDateTime


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect that was claimed; `attempts` counts this claim."""

    id: int
    kind: str
    subject_id: str
    payload: Any
    attempts: int


def ask(
    session: Session,
    kind: str,
    subject_id: str,
    *,
    now: datetime,
    payload: Any = None,
    key: str | None = None,
    due_at: datetime | None = None,
) -> bool:
    """Ask for one effect, once per key; the key is `kind:subject` unless several of a kind concern one subject.

    Args:
        due_at: not before; None: at once.

    Returns:
        False when it was asked for before.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = wanted(kind, subject_id, now=now, payload=payload, key=key) | {"due_at": due_at or now}
    asked: Any = session.execute(dialect.insert(OutboxEvent).values(values).on_conflict_do_nothing())
    return bool(asked.rowcount)


def wanted(kind: str, subject_id: str, *, now: datetime, payload: Any = None, key: str | None = None) -> dict[str, Any]:
    """The row of an effect, for an insert of many."""
    return {
        "event_key": key or f"{kind}:{subject_id}",
        "kind": kind,
        "subject_id": subject_id,
        "payload_json": payload,
        "created_at": now,
        "due_at": now,
    }


def any_due(session: Session, kinds: Collection[str], now: datetime) -> bool:
    """Whether an effect of some kinds is due: asked before a write transaction is opened for nothing."""
    return is_any_due(asking_in(session), kinds, now)


def is_any_due(ask: Asking, kinds: Collection[str], now: datetime) -> bool:
    """`any_due` in a snapshot that is open."""
    return bool(ask.rows(_any_due(tuple(sorted(kinds))), now=now, latest=now + LONGEST_LEASE))


@cache
def _any_due(kinds: tuple[str, ...]) -> Prepared:
    moment = UtcDateTime()
    due = due_within(bindparam("now", type_=moment), bindparam("latest", type_=moment))
    return Prepared(select(OutboxEvent.id).where(one_of(OutboxEvent.kind, kinds), *due).limit(1))


def claim(
    session: Session, kinds: Collection[str], *, holder: str, now: datetime, lease_until: datetime, limit: int
) -> list[Effect]:
    """Take up to `limit` due effects of some kinds, oldest first."""
    due = (
        select(OutboxEvent.id)
        .where(OutboxEvent.kind.in_(kinds), *is_due(now))
        .order_by(OutboxEvent.due_at, OutboxEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A plain subquery may be run again for each row on PostgreSQL, and then skips what it locked itself: beyond the limit.
        .cte("due")
    )
    return take(session, select(due.c.id), holder=holder, now=now, lease_until=lease_until)


def take(session: Session, ids: Any, *, holder: str, now: datetime, lease_until: datetime) -> list[Effect]:
    """Claim those of `ids` (a subquery or a list) that are still due."""
    rows = session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id.in_(ids), *is_due(now))
        .values(lease_holder=holder, lease_expires_at=lease_until, attempts=OutboxEvent.attempts + 1)
        .returning(
            OutboxEvent.id, OutboxEvent.kind, OutboxEvent.subject_id, OutboxEvent.payload_json, OutboxEvent.attempts
        )
        .execution_options(synchronize_session=False)
    ).all()
    return sorted((Effect(*row) for row in rows), key=lambda effect: effect.id)


def is_due(now: datetime) -> tuple[Any, ...]:
    """The conditions under which an effect may be claimed.

    What was asked for at once is due, whatever the clock says since: it may have gone back. So is what was put off until
    later than anything is (`wait_s`).
    """
    return due_within(now, now + LONGEST_LEASE)


def due_within(now: Any, latest: Any) -> tuple[Any, ...]:
    """`is_due` for a statement that is put together once: `latest` is when the longest claim made now would end."""
    expires_at = OutboxEvent.lease_expires_at
    return (
        OutboxEvent.state == "pending",
        or_(OutboxEvent.due_at <= now, OutboxEvent.due_at <= OutboxEvent.created_at, OutboxEvent.due_at > latest),
        or_(expires_at.is_(None), expires_at <= now, expires_at > latest),
    )


def is_free(expires_at: Any, now: datetime) -> Any:
    """Whether a claim that ends at `expires_at` is over, or was never made; one that no claim could last was made before the
    clock went back.
    """
    return or_(expires_at.is_(None), expires_at <= now, expires_at > now + LONGEST_LEASE)


_HOLDERS: Final = Prepared(
    select(OutboxEvent.lease_holder)
    .where(
        OutboxEvent.state == "pending",
        OutboxEvent.lease_holder.is_not(None),
        OutboxEvent.lease_expires_at > bindparam("now", type_=UtcDateTime()),
    )
    .distinct()
)


def holders(ask: Asking, *, now: datetime) -> set[str]:
    """Who holds effects that are to be done, under a lease that has not ended."""
    return {holder for (holder,) in ask.rows(_HOLDERS, now=now)}


def free_from(session: Session, dead: Collection[str]) -> None:
    """Take effects from holders that are known to be dead."""
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.state == "pending", OutboxEvent.lease_holder.in_(sorted(dead)))
        .values(lease_holder=None, lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )


def done(session: Session, effect_id: int, *, now: datetime) -> bool:
    """The effect has happened; False when it was withdrawn, or written down by another, before."""
    return _end(session, effect_id, state="done", done_at=now, last_error=None)


def all_done(session: Session, effect_ids: Collection[int], *, now: datetime) -> None:
    """These effects have happened: one statement, because nobody else may write while it runs."""
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id.in_(sorted(effect_ids)), OutboxEvent.state == "pending")
        .values(lease_holder=None, lease_expires_at=None, state="done", done_at=now, last_error=None)
        .execution_options(synchronize_session=False)
    )


def failed(session: Session, effect_id: int, *, now: datetime, error: str) -> None:
    """The effect will never happen."""
    _end(session, effect_id, state="failed", done_at=now, last_error=error[:2000])


def later(session: Session, effect_id: int, *, due_at: datetime, error: str) -> bool:
    """The effect did not happen now, as far as is known: try again at `due_at`; False when it was withdrawn meanwhile."""
    return _end(session, effect_id, due_at=due_at, last_error=error[:2000])


def drop(session: Session, kinds: Sequence[str], subject_id: str, *, now: datetime, reason: str) -> None:
    """Nobody wants the effects any more."""
    session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.kind.in_(kinds), OutboxEvent.subject_id == subject_id, OutboxEvent.state == "pending")
        .values(state="failed", done_at=now, last_error=reason[:2000])
        .execution_options(synchronize_session=False)
    )


def _end(session: Session, effect_id: int, **values: Any) -> bool:
    ended: Any = session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id == effect_id, OutboxEvent.state == "pending")
        .values(lease_holder=None, lease_expires_at=None, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(ended.rowcount)
