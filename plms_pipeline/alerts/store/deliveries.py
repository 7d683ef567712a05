"""Which messages are owed, to whom, and what became of them?

A delivery is claimed by one UPDATE with a lease, and sent with no transaction open. Whoever dies in between leaves a lease
that ends, so the same message goes again under the same key. What is said about one group over one channel keeps its order:
a resolve that overtakes its trigger would leave an incident open for ever. Every function takes an open session and never
commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from plms_pipeline.alerts.planning import Owed, Told
from plms_pipeline.alerts.routing import Recipient
from plms_pipeline.notify.channels import LOG, Channel
from plms_pipeline.notify.message import Message, message_of
from plms_pipeline.registry.tables import Delivery

# Longer than any sending lasts.
LEASE: Final = timedelta(seconds=60)
# Longer than any wait between two attempts: a service may ask for an hour.
LONGEST_WAIT: Final = timedelta(minutes=61)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that is ours to make; `attempts` counts this one."""

    id: int
    key: str
    channel: str
    recipient: str
    message: Message
    attempts: int
    severity: str


def owe(session: Session, messages: Iterable[Owed], *, now: datetime) -> int:
    """Owe messages, each once per key; how many were new."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    added = 0
    for one in messages:
        values = {
            "delivery_key": one.key, "kind": one.message.kind, "rule": one.message.rule, "severity": one.message.severity,
            "group_id": one.group_id, "channel": one.recipient.channel, "recipient": one.recipient.address,
            "message_json": one.message.as_json(), "created_at": now, "due_at": one.due_at,
        }  # fmt: skip
        statement = dialect.insert(Delivery).values(values).on_conflict_do_nothing().returning(Delivery.id)
        added += session.execute(statement).first() is not None
    return added


def withdraw(session: Session, group_id: str, *, now: datetime) -> set[tuple[str, str]]:
    """Take back what waits for the end of the quiet hours and is over by now; the (channel, recipient) that hear nothing."""
    rows = session.execute(
        update(Delivery)
        .where(
            Delivery.group_id == group_id, Delivery.state == "pending", Delivery.attempts == 0, Delivery.due_at > now,
            Delivery.kind.in_(("fired", "escalated")),
        )
        .values(state="withdrawn", ended_at=now, last_error="it was over before it was due")
        .returning(Delivery.channel, Delivery.recipient)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return {(channel, recipient) for channel, recipient in rows}


def told(session: Session, groups: Collection[str], channels: Mapping[str, Channel]) -> dict[str, list[Told]]:
    """Group → who was told of which of its subjects."""
    found: dict[str, list[Told]] = {}
    wanted = sorted(groups)
    for start in range(0, len(wanted), 500):
        rows = session.execute(
            select(Delivery.group_id, Delivery.channel, Delivery.recipient, Delivery.message_json).where(
                Delivery.group_id.in_(wanted[start : start + 500]), Delivery.kind.in_(("fired", "escalated")),
                Delivery.state != "withdrawn",
            ).order_by(Delivery.id)
        )  # fmt: skip
        for group_id, channel, address, document in rows:
            known = channels.get(channel)
            recipient = Recipient(channel, known.kind if known else LOG, address)
            subjects = None if document["more"] else frozenset(str(subject) for subject, _ in document["lines"])
            found.setdefault(group_id, []).append(Told(recipient, subjects))
    return found


def is_any_due(session: Session, channels: Collection[str] | None, now: datetime) -> bool:
    """Whether anything is to be sent over some channels (None: any)."""
    return session.execute(select(Delivery.id).where(*_due(now), *_over(channels)).limit(1)).first() is not None


def channels_due(session: Session, now: datetime) -> list[str]:
    """Channels over which something is to be sent."""
    return list(session.scalars(select(Delivery.channel).where(*_due(now)).distinct().order_by(Delivery.channel)))


def claim(session: Session, channels: Collection[str] | None, *, holder: str, now: datetime) -> Claimed | None:
    """Take the most urgent delivery that is due over some channels."""
    earlier = aliased(Delivery)
    has_earlier = exists().where(
        earlier.group_id == Delivery.group_id, earlier.channel == Delivery.channel, earlier.recipient == Delivery.recipient,
        earlier.state == "pending", earlier.id < Delivery.id,
    )  # fmt: skip
    one = (
        select(Delivery.id)
        .where(*_due(now), *_over(channels), ~has_earlier)
        .order_by(Delivery.severity, Delivery.due_at, Delivery.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("one")
    )
    row = session.execute(
        update(Delivery)
        .where(Delivery.id.in_(select(one.c.id)), *_due(now))
        .values(lease_holder=holder, lease_expires_at=now + LEASE, attempts=Delivery.attempts + 1)
        .returning(
            Delivery.id, Delivery.delivery_key, Delivery.channel, Delivery.recipient, Delivery.message_json, Delivery.attempts,
            Delivery.severity,
        )
        .execution_options(synchronize_session=False)
    ).first()  # fmt: skip
    if row is None:
        return None
    return Claimed(row[0], row[1], row[2], row[3], message_of(row[4]), row[5], row[6])


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What may be claimed; what was owed for at once is due whatever the clock says since."""
    expires = Delivery.lease_expires_at
    return (
        Delivery.state == "pending",
        or_(
            Delivery.due_at <= now,
            Delivery.due_at <= Delivery.created_at,
            # Put off before the clock went back.
            and_(Delivery.attempts > 0, Delivery.due_at > now + LONGEST_WAIT),
        ),
        or_(expires.is_(None), expires <= now, expires > now + LEASE),
    )


def _over(channels: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    return () if channels is None else (Delivery.channel.in_(sorted(channels)),)


def done(session: Session, delivery_id: int, *, now: datetime, answer: str) -> bool:
    """It was taken; False when somebody else said so before."""
    return _end(session, delivery_id, state="done", ended_at=now, answer=answer[:500], last_error=None)


def later(session: Session, delivery_id: int, *, due_at: datetime, now: datetime, error: str) -> bool:
    """It was not taken, as far as is known: again at `due_at`."""
    # `created_at` is the least moment at which it is due: what was put off must not count as owed for at once.
    return _end(session, delivery_id, due_at=max(due_at, now + timedelta(milliseconds=1)), last_error=error[:2000])


def dead(session: Session, delivery_id: int, *, now: datetime, error: str) -> bool:
    """It will not be tried again by itself."""
    return _end(session, delivery_id, state="dead", ended_at=now, last_error=error[:2000])


def revive(session: Session, key: str, *, now: datetime) -> bool:
    """Try a dead one anew; False when there is none."""
    done_: Any = session.execute(
        update(Delivery)
        .where(Delivery.delivery_key == key, Delivery.state == "dead")
        .values(state="pending", ended_at=None, attempts=0, due_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done_.rowcount)


def holders(session: Session) -> set[str]:
    """Who holds deliveries."""
    rows = session.scalars(
        select(Delivery.lease_holder).where(Delivery.state == "pending", Delivery.lease_holder.is_not(None)).distinct()
    )
    return {holder for holder in rows if holder}


def free_from(session: Session, dead_holders: Collection[str]) -> int:
    """Take deliveries from holders that are known to be dead; how many."""
    freed: Any = session.execute(
        update(Delivery)
        .where(Delivery.state == "pending", Delivery.lease_holder.in_(sorted(dead_holders)))
        .values(lease_holder=None, lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )
    return int(freed.rowcount)


def of_group(session: Session, group_id: str) -> list[dict[str, Any]]:
    """What went to whom about a group, in order."""
    return _shown(session, Delivery.group_id == group_id, limit=500)


def newest(session: Session, *, limit: int, states: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The newest deliveries, oldest of them first."""
    return _shown(session, *(() if states is None else (Delivery.state.in_(sorted(states)),)), limit=limit)


def _shown(session: Session, *conditions: ColumnElement[bool], limit: int) -> list[dict[str, Any]]:
    rows = session.execute(
        select(
            Delivery.id, Delivery.delivery_key, Delivery.kind, Delivery.rule, Delivery.severity, Delivery.channel,
            Delivery.recipient, Delivery.state, Delivery.attempts, Delivery.created_at, Delivery.due_at, Delivery.ended_at,
            Delivery.answer, Delivery.last_error,
        ).where(*conditions).order_by(Delivery.id.desc()).limit(limit)
    )  # fmt: skip
    found = [
        {
            "delivery_key": row.delivery_key, "kind": row.kind, "rule": row.rule, "severity": row.severity,
            "channel": row.channel, "recipient": row.recipient, "state": row.state, "attempts": row.attempts,
            "created_at": row.created_at.isoformat(), "due_at": row.due_at.isoformat(),
            "ended_at": row.ended_at and row.ended_at.isoformat(), "answer": row.answer, "error": row.last_error,
        }
        for row in rows
    ]  # fmt: skip
    return found[::-1]


def counts(session: Session) -> dict[str, int]:
    """State → deliveries."""
    rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
    return {"pending": 0, "done": 0, "dead": 0, "withdrawn": 0} | {row[0]: int(row[1]) for row in rows}


def stuck(session: Session, *, before: datetime) -> list[str]:
    """Keys of deliveries that were due before a moment and are neither made nor given up."""
    rows = session.scalars(
        select(Delivery.delivery_key).where(Delivery.state == "pending", Delivery.due_at < before).order_by(Delivery.id)
    )
    return list(rows)


def _end(session: Session, delivery_id: int, **values: Any) -> bool:
    ended: Any = session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == "pending")
        .values(lease_holder=None, lease_expires_at=None, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(ended.rowcount)
