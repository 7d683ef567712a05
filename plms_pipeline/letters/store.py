"""Which letters are there, whose turn is it, and who has them?

A letter is claimed by one UPDATE … RETURNING with a lease and the count of its retries: two retriers never have the same one,
and what a killed retrier had claimed is due again when its lease ends, under the same count and therefore the same key. Every
function takes an open session and never commits. Nobody locks several letters at once but settlement, which tells of several
failures: so nobody waits for anybody in a circle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.letters import rules
from plms_pipeline.letters.reasons import TRANSIENT
from plms_pipeline.letters.rules import DONE, OPEN, PROCESSING, QUARANTINED, READY, STOPPED, Failure, Letter
from plms_pipeline.registry.tables import AuditEntry, DeadLetter

_COLUMNS: Final = (
    DeadLetter.letter_id, DeadLetter.kind, DeadLetter.subject_id, DeadLetter.error_class, DeadLetter.reason,
    DeadLetter.fingerprint, DeadLetter.attempts, DeadLetter.max_attempts, DeadLetter.state, DeadLetter.next_due_at,
    DeadLetter.first_failed_at, DeadLetter.last_failed_at, DeadLetter.last_actor, DeadLetter.project_id, DeadLetter.run_id,
    DeadLetter.lane_id, DeadLetter.lease_holder, DeadLetter.lease_expires_at, DeadLetter.payload_json, DeadLetter.ended_at,
)  # fmt: skip
_FREE: Final[dict[str, Any]] = {"lease_holder": None, "lease_expires_at": None}
MOST_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one cause. `open_letters` are owed work; `example` is the reason of one of them."""

    fingerprint: str
    kind: str
    error_class: str
    letters: int
    open_letters: int
    newest_at: datetime
    example: str


def put(session: Session, failure: Failure, *, now: datetime, actor: str) -> Letter:
    """Tell a failure of a subject: its one letter as it stands afterwards."""
    first = rules.opened(failure, now=now, actor=actor)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    inserted = session.execute(
        dialect.insert(DeadLetter).values(_row(first)).on_conflict_do_nothing().returning(DeadLetter.letter_id)
    ).first()
    if inserted is not None:
        return first
    known = _locked(session, first.letter_id)
    if known is None:  # cleaned away between the two statements
        return put(session, failure, now=now, actor=actor)
    return _written(session, rules.failed_again(known, failure, now=now, actor=actor))


def find(session: Session, letter_id: str) -> Letter | None:
    """The letter with this id."""
    row = session.execute(select(*_COLUMNS).where(DeadLetter.letter_id == letter_id)).first()
    return None if row is None else Letter(*row)


def matching(session: Session, name: str, *, limit: int = 20) -> list[Letter]:
    """Letters whose id, subject or run `name` is; where there is none, those whose id or run begins so."""
    named = (DeadLetter.letter_id, DeadLetter.subject_id, DeadLetter.run_id)
    conditions = [or_(*(column == name for column in named))]
    # Only what can be the beginning of an id becomes a pattern: a wildcard would find them all.
    if re.fullmatch(r"[0-9a-f-]{4,36}", name):
        conditions.append(or_(*(column.like(f"{name}%") for column in named)))
    for condition in conditions:
        rows = session.execute(select(*_COLUMNS).where(condition).order_by(DeadLetter.letter_id).limit(limit))
        found = [Letter(*row) for row in rows]
        if found:
            return found
    return []


def of_subject(session: Session, kind: str, subject_id: str) -> Letter | None:
    """The letter about a subject, locked until the transaction ends."""
    return _locked(session, rules.letter_id_of(kind, subject_id))


def claimable(
    session: Session,
    *,
    now: datetime,
    kinds: Collection[str],
    limit: int,
    is_forced: bool = False,
    fingerprint: str | None = None,
) -> list[str]:
    """The ids of letters whose retry is due, the longest due first.

    Args:
        kinds: of these kinds.
        limit: how many at most.
        is_forced: whether those that wait for their moment are meant too: a person asked for it.
        fingerprint: of this cause only.
    """
    mine: list[ColumnElement[bool]] = [DeadLetter.kind.in_(list(kinds))]
    if fingerprint is not None:
        mine.append(DeadLetter.fingerprint == fingerprint)
    found: list[tuple[datetime, str]] = []
    # One after the other: with OR between them no index gives the first few of many.
    for condition in (_is_abandoned(now), _is_fresh(now, is_forced=is_forced)):
        rows = session.execute(
            select(DeadLetter.next_due_at, DeadLetter.letter_id)
            .where(*mine, condition)
            .order_by(DeadLetter.next_due_at, DeadLetter.letter_id)
            .limit(limit)
        )
        found += [(due_at or now, letter_id) for due_at, letter_id in rows]
    return [letter_id for _, letter_id in sorted(found)[:limit]]


def claim(
    session: Session, letter_id: str, *, holder: str, now: datetime, lease_until: datetime, is_forced: bool = False
) -> Letter | None:
    """Take one letter whose retry is due; None when somebody else has it, or it is not due any more."""
    row = session.execute(
        update(DeadLetter)
        .where(DeadLetter.letter_id == letter_id, _may_be_claimed(now, is_forced=is_forced))
        .values(
            state=PROCESSING, lease_holder=holder, lease_expires_at=lease_until,
            # Taken over from a dead process it is still the same retry.
            attempts=case((DeadLetter.state == READY, DeadLetter.attempts + 1), else_=DeadLetter.attempts),
        )
        .returning(*_COLUMNS)
        .execution_options(synchronize_session=False)
    ).first()  # fmt: skip
    return None if row is None else Letter(*row)


def begun(session: Session, claimed: Letter, *, run_id: str | None = None, payload: Any = None) -> bool:
    """The retry is under way: nobody holds the letter any more, and its outcome is awaited. False when it is not ours."""
    told = {"run_id": run_id, "payload_json": payload}
    values = _FREE | {name: value for name, value in told.items() if value is not None}
    return _changed(session, update(DeadLetter).where(*_is_ours(claimed)).values(**values))


def extend(session: Session, claimed: Letter, *, lease_until: datetime) -> bool:
    """Keep a claimed letter for longer. False when it is not ours any more."""
    return _changed(session, update(DeadLetter).where(*_is_ours(claimed)).values(lease_expires_at=lease_until))


def postpone(session: Session, claimed: Letter, *, due_at: datetime, said: str) -> bool:
    """Give a claimed letter back without having retried: the retry is not counted. False when it is not ours any more."""
    payload = {**(claimed.payload if isinstance(claimed.payload, dict) else {}), "waits_because": said[:500]}
    return _changed(
        session,
        update(DeadLetter)
        .where(*_is_ours(claimed))
        .values(state=READY, attempts=claimed.attempts - 1, next_due_at=due_at, payload_json=payload, **_FREE),
    )


def fail(session: Session, claimed: Letter, reason: str, *, now: datetime, actor: str, is_final: bool = False) -> bool:
    """A claimed retry could not be begun, and counts. False when it is not ours any more."""
    known = _locked(session, claimed.letter_id)
    if known is None or not _holds(known, claimed):
        return False
    failure = Failure(kind=claimed.kind, subject_id=claimed.subject_id, reason=reason, is_final=is_final)
    _written(session, rules.failed_again(known, failure, now=now, actor=actor))
    return True


def recover(session: Session, letter_id: str, *, now: datetime, actor: str) -> bool:
    """The subject is well: the letter is done. One that a person put aside is done too, because nothing is owed any more."""
    return _changed(
        session,
        update(DeadLetter)
        .where(DeadLetter.letter_id == letter_id, DeadLetter.state != DONE)
        .values(state=DONE, ended_at=now, next_due_at=None, last_actor=actor[:255], **_FREE),
    )


def stop(session: Session, letter_id: str, *, now: datetime, actor: str) -> bool:
    """Put a letter aside for good; False when it was, or is done."""
    states = (READY, PROCESSING, QUARANTINED)
    return _moved(session, letter_id, states, actor, state=STOPPED, ended_at=now, next_due_at=None)


def quarantine(session: Session, letter_id: str, *, now: datetime, actor: str) -> bool:
    """Set a letter apart until a person has looked; False when nothing is owed for it."""
    return _moved(session, letter_id, OPEN, actor, state=QUARANTINED, ended_at=now, next_due_at=None)


def reset(session: Session, letter_id: str, *, now: datetime, actor: str) -> bool:
    """Let a letter begin anew as TRANSIENT, due now; False when its retry is under way or it is done."""
    return _moved(
        session, letter_id, (READY, STOPPED, QUARANTINED), actor,
        state=READY, error_class=TRANSIENT, attempts=0, next_due_at=now, ended_at=None,
    )  # fmt: skip


def clean(session: Session, *, ended_before: datetime) -> int:
    """Remove letters that are done since before a moment; how many. Nothing else is ever removed."""
    old = (
        select(DeadLetter.letter_id)
        .where(DeadLetter.state == DONE, DeadLetter.ended_at < ended_before)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    gone = session.scalars(
        delete(DeadLetter)
        .where(DeadLetter.letter_id.in_(select(old.c.letter_id)), DeadLetter.state == DONE)
        .returning(DeadLetter.letter_id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def count_done(session: Session, *, ended_before: datetime) -> int:
    """How many letters `clean` would remove."""
    query = select(func.count()).where(DeadLetter.state == DONE, DeadLetter.ended_at < ended_before)
    return int(session.scalar(query.select_from(DeadLetter)) or 0)


def count_due(session: Session, *, now: datetime, kinds: Collection[str] | None = None) -> int:
    """How many letters could be claimed now."""
    query = select(func.count()).select_from(DeadLetter).where(_may_be_claimed(now))
    return int(session.scalar(query if kinds is None else query.where(DeadLetter.kind.in_(list(kinds)))) or 0)


def under_way(session: Session, kinds: Collection[str], *, limit: int = MOST_ROWS) -> list[Letter]:
    """Letters whose retry is under way and whose outcome is awaited."""
    rows = session.execute(
        select(*_COLUMNS)
        .where(DeadLetter.state == PROCESSING, DeadLetter.lease_expires_at.is_(None), DeadLetter.kind.in_(list(kinds)))
        .order_by(DeadLetter.letter_id)
        .limit(limit)
    )
    return [Letter(*row) for row in rows]


def listed(
    session: Session,
    *,
    states: Collection[str] | None = None,
    fingerprint: str | None = None,
    kind: str | None = None,
    limit: int | None = 100,
) -> list[Letter]:
    """Letters, those due first, then the newest failures; None as `limit`: all."""
    query = select(*_COLUMNS)
    if states is not None:
        query = query.where(DeadLetter.state.in_(list(states)))
    if fingerprint is not None:
        query = query.where(DeadLetter.fingerprint == fingerprint)
    if kind is not None:
        query = query.where(DeadLetter.kind == kind)
    order = (
        DeadLetter.next_due_at.is_(None),
        DeadLetter.next_due_at,
        DeadLetter.last_failed_at.desc(),
        DeadLetter.letter_id,
    )
    return [Letter(*row) for row in session.execute(query.order_by(*order).limit(limit))]


def counts(session: Session) -> list[tuple[str, str, str, int]]:
    """(kind, class, state, letters)."""
    rows = session.execute(
        select(DeadLetter.kind, DeadLetter.error_class, DeadLetter.state, func.count())
        .group_by(DeadLetter.kind, DeadLetter.error_class, DeadLetter.state)
        .order_by(DeadLetter.kind, DeadLetter.error_class, DeadLetter.state)
    )
    return [(kind, error_class, state, int(n)) for kind, error_class, state, n in rows]


def retried(session: Session) -> tuple[int, int]:
    """(letters that a retry helped, letters whose retries have all ended one way or the other)."""
    was_tried = DeadLetter.attempts > 0
    helped = func.count().filter(DeadLetter.state == DONE, was_tried)
    over = func.count().filter(DeadLetter.state.in_((DONE, STOPPED)), was_tried)
    row = session.execute(select(helped, over).select_from(DeadLetter)).one()
    return int(row[0]), int(row[1])


def decided(session: Session, letter: Letter) -> list[tuple[datetime, str, str, Any]]:
    """(when, who, what, details) of what people did about a letter, the oldest first."""
    # The log is kept for ever and found by its time; a day for clocks that disagree.
    since = letter.first_failed_at - timedelta(days=1)
    rows = session.execute(
        select(AuditEntry.at, AuditEntry.actor, AuditEntry.action, AuditEntry.details_json)
        .where(AuditEntry.at >= since, AuditEntry.subject == f"letter:{letter.letter_id}")
        .order_by(AuditEntry.id)
    )
    return [(at, actor, action, details) for at, actor, action, details in rows]


def of_project(session: Session, project_id: int) -> tuple[int, str | None]:
    """(letters of a project that are still owed, the run that the newest of all its letters is about)."""
    mine = DeadLetter.project_id == project_id
    owed = session.scalar(select(func.count()).select_from(DeadLetter).where(mine, DeadLetter.state.in_(OPEN)))
    newest = session.scalar(
        select(DeadLetter.run_id)
        .where(mine)
        .order_by(DeadLetter.last_failed_at.desc(), DeadLetter.letter_id)
        .limit(1)
    )  # fmt: skip
    return int(owed or 0), newest


def oldest_open(session: Session) -> datetime | None:
    """Since when the oldest work that is still owed has been failing."""
    return session.scalar(select(func.min(DeadLetter.first_failed_at)).where(DeadLetter.state.in_(OPEN)))


def groups(session: Session, *, limit: int = 10) -> list[Group]:
    """Letters by cause, the largest groups first; those that are done do not count."""
    is_open = DeadLetter.state.in_(OPEN)
    newest = func.max(DeadLetter.last_failed_at)
    rows = session.execute(
        select(
            DeadLetter.fingerprint, DeadLetter.kind, DeadLetter.error_class, func.count(),
            func.count().filter(is_open), newest, func.max(DeadLetter.reason),
        )
        .where(DeadLetter.state != DONE)
        .group_by(DeadLetter.fingerprint, DeadLetter.kind, DeadLetter.error_class)
        .order_by(func.count().desc(), newest.desc(), DeadLetter.fingerprint)
        .limit(limit)
    )  # fmt: skip
    return [Group(*row) for row in rows]


def _may_be_claimed(now: datetime, *, is_forced: bool = False) -> ColumnElement[bool]:
    return or_(_is_fresh(now, is_forced=is_forced), _is_abandoned(now))


def _is_fresh(now: datetime, *, is_forced: bool) -> ColumnElement[bool]:
    """Waits, may be retried, and its moment has come."""
    due = () if is_forced else (DeadLetter.next_due_at <= now,)
    is_retriable = (DeadLetter.error_class == TRANSIENT, DeadLetter.attempts < DeadLetter.max_attempts)
    return and_(DeadLetter.state == READY, *is_retriable, *due)


def _is_abandoned(now: datetime) -> ColumnElement[bool]:
    """Claimed by somebody whose lease has ended."""
    return and_(DeadLetter.state == PROCESSING, DeadLetter.error_class == TRANSIENT, DeadLetter.lease_expires_at <= now)


def _is_ours(claimed: Letter) -> tuple[ColumnElement[bool], ...]:
    return (
        DeadLetter.letter_id == claimed.letter_id,
        DeadLetter.state == PROCESSING,
        DeadLetter.lease_holder == claimed.lease_holder,
        DeadLetter.attempts == claimed.attempts,
    )


def _holds(known: Letter, claimed: Letter) -> bool:
    now_held = (known.state, known.lease_holder, known.attempts)
    return now_held == (PROCESSING, claimed.lease_holder, claimed.attempts) and claimed.lease_holder is not None


def _locked(session: Session, letter_id: str) -> Letter | None:
    row = session.execute(select(*_COLUMNS).where(DeadLetter.letter_id == letter_id).with_for_update()).first()
    return None if row is None else Letter(*row)


def _moved(session: Session, letter_id: str, states: Sequence[str], actor: str, **values: Any) -> bool:
    moved = update(DeadLetter).where(DeadLetter.letter_id == letter_id, DeadLetter.state.in_(states))
    return _changed(session, moved.values(last_actor=actor[:255], **values, **_FREE))


def _changed(session: Session, statement: Any) -> bool:
    done: Any = session.execute(statement.execution_options(synchronize_session=False))
    return bool(done.rowcount == 1)


def _written(session: Session, letter: Letter) -> Letter:
    row = _row(letter)
    row.pop("letter_id")
    _changed(session, update(DeadLetter).where(DeadLetter.letter_id == letter.letter_id).values(**row))
    return letter


def _row(letter: Letter) -> dict[str, Any]:
    names = (column.key for column in _COLUMNS)
    return {name: letter.payload if name == "payload_json" else getattr(letter, name) for name in names}
