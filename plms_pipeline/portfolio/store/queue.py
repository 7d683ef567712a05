"""Which cards may go out, whose are they, and who waits at all?

The queue holds a row per card that nothing but its turn keeps waiting; it is derived from cards and states, and may be filled
again from them at any time. One index answers who waits in a lane and who of a project is first, so that a decision among a
hundred thousand cards reads no card.

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import Boolean, Integer, bindparam, case, cast, delete, false, func, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.queueing import LONGEST_LEASE
from plms_pipeline.registry.prepared import Asking, Change, Prepared, asked, asking_in
from plms_pipeline.registry.tables import Hold, Lane, ProjectRun, QueuedCard
from plms_pipeline.registry.types import UtcDateTime

# SQLite's oldest builds take 999 parameters in a statement; a row has eleven.
_ROWS: Final = 80
_KEYS: Final = 900
REHEARSAL: Final = "rehearsal"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The tasks of a project that wait in a lane for their turn; `rank` is that of the first."""

    lane_id: int
    project_id: int
    tasks: int
    rehearsing: int
    rank: float


@dataclass(frozen=True, slots=True)
class NextCard:
    """A card whose turn it may be."""

    card_key: str
    project_id: int
    run_id: str
    reserve_usd: Decimal | None
    is_paused: bool = False


_NEXT: Final = (
    QueuedCard.card_key, QueuedCard.project_id, QueuedCard.run_id, QueuedCard.reserve_usd, QueuedCard.is_paused,
)  # fmt: skip


_KEY: Final = QueuedCard.card_key == bindparam("key", type_=QueuedCard.card_key.type)
_LEAVE: Final = Change(delete(QueuedCard).where(_KEY))
_AGAIN: Final = Change(
    update(QueuedCard)
    .where(_KEY)
    .values(not_before=bindparam("then", type_=UtcDateTime()), holds_slot=bindparam("holds", type_=Boolean()))
)
_CAPS: Final = Prepared(select(Lane.lane_id, Lane.cap, Lane.active).order_by(Lane.lane_id))
_LENGTH: Final = Prepared(select(func.count()).select_from(QueuedCard))
_IN_LANE: Final = QueuedCard.lane_id == bindparam("lane_id", type_=Integer())
_DUE_THEN: Final = or_(
    QueuedCard.not_before <= bindparam("now", type_=UtcDateTime()),
    QueuedCard.not_before > bindparam("latest", type_=UtcDateTime()),
)
_ON_THEIR_WAY: Final = Prepared(select(QueuedCard.card_key).where(_IN_LANE, QueuedCard.holds_slot == true()).limit(1))
_HOLDS: Final = Prepared(select(Hold.subject_type).where(Hold.lifted_at.is_(None)).distinct())


def put(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Queue cards; one that is queued already stays as it is."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for start in range(0, len(rows), _ROWS):
        session.execute(dialect.insert(QueuedCard).values(list(rows[start : start + _ROWS])).on_conflict_do_nothing())


def has_run(session: Session, run_id: str) -> bool:
    """Whether there is such a run, with anything queued or not."""
    return session.scalar(select(ProjectRun.run_id).where(ProjectRun.run_id == run_id)) is not None


def leave(session: Session, card_keys: Iterable[str]) -> None:
    """Cards that wait no more: they went out, ended, or were called off."""
    keys = sorted(card_keys)
    if len(keys) == 1:
        _LEAVE.into(session, key=keys[0])
        return
    for start in range(0, len(keys), _KEYS):
        session.execute(
            delete(QueuedCard)
            .where(QueuedCard.card_key.in_(keys[start : start + _KEYS]))
            .execution_options(synchronize_session=False)
        )


def again(session: Session, card_key: str, *, not_before: datetime, holds_slot: bool) -> None:
    """The card goes (again) at `not_before`; `holds_slot`: in the slot that it has."""
    _AGAIN.into(session, key=card_key, then=not_before, holds=holds_slot)


def at_once(session: Session, card_keys: Iterable[str], *, now: datetime) -> None:
    """The cards wait no longer for a lease or a pause to end; what they hold they keep."""
    keys = sorted(card_keys)
    for start in range(0, len(keys), _KEYS):
        session.execute(
            update(QueuedCard)
            .where(QueuedCard.card_key.in_(keys[start : start + _KEYS]))
            .values(not_before=now)
            .execution_options(synchronize_session=False)
        )


def who_waits(session: Session, lane_id: int, now: datetime) -> list[Waiting]:
    """Whose tasks wait for a slot of a lane now. What is on hold does not wait."""
    ask = asking_in(session)
    rows = ask.rows(_waiting(held_kinds(ask)), lane_id=lane_id, now=now, latest=now + LONGEST_LEASE)
    return [
        Waiting(lane_id, project, int(tasks), int(rehearsing), float(rank)) for project, tasks, rehearsing, rank in rows
    ]


@cache
def _waiting(held: frozenset[str]) -> Prepared:
    is_rehearsal = case((QueuedCard.run_kind == REHEARSAL, 1), else_=0)
    return Prepared(
        select(QueuedCard.project_id, func.count(), func.sum(is_rehearsal), func.max(QueuedCard.rank))
        .where(_IN_LANE, QueuedCard.holds_slot == false(), _DUE_THEN, *_free_of(held))
        .group_by(QueuedCard.project_id)
        .order_by(QueuedCard.project_id)
    )


def next_cards(
    session: Session, lane_id: int, project_id: int, *, now: datetime, only_rehearsals: bool, limit: int
) -> list[NextCard]:
    """The first cards of a project in a lane: what was begun and put aside, then the highest rank first."""
    ask = asking_in(session)
    prepared = _next_cards(held_kinds(ask), only_rehearsals=only_rehearsals)
    rows = ask.rows(prepared, lane_id=lane_id, project_id=project_id, now=now, latest=now + LONGEST_LEASE, most=limit)
    return [NextCard(*row) for row in prepared.typed(rows, ask.dialect)]


@cache
def _next_cards(held: frozenset[str], *, only_rehearsals: bool) -> Prepared:
    query = select(*_NEXT).where(
        _IN_LANE, QueuedCard.holds_slot == false(), QueuedCard.project_id == bindparam("project_id", type_=Integer()),
        _DUE_THEN, *_free_of(held),
    )  # fmt: skip
    if only_rehearsals:
        query = query.where(QueuedCard.run_kind == REHEARSAL)
    ordered = query.order_by(QueuedCard.is_paused.desc(), QueuedCard.rank.desc(), QueuedCard.card_key)
    return Prepared(ordered.limit(bindparam("most", type_=Integer())))


def to_resume(session: Session, lane_id: int, *, now: datetime, limit: int) -> list[NextCard]:
    """Cards that were on their way in a slot of their own when somebody died or the line broke."""
    if not asked(session, _ON_THEIR_WAY, lane_id=lane_id):
        return []
    query = (
        select(*_NEXT)
        .where(
            QueuedCard.lane_id == lane_id,
            QueuedCard.holds_slot == true(),
            _is_due(now),
            *_not_held(session),
        )
        .order_by(QueuedCard.not_before, QueuedCard.card_key)
        .limit(limit)
    )
    return [NextCard(*row) for row in session.execute(query)]


def lanes_with_work(session: Session, now: datetime) -> dict[int, bool]:
    """Lanes in which a card waits or is to be resumed → whether one is to be resumed. What is on hold does neither."""
    ask = asking_in(session)
    rows = ask.rows(_work(held_kinds(ask)), now=now, latest=now + LONGEST_LEASE)
    return {lane: bool(resumes) for lane, resumes in rows}


@cache
def _work(held: frozenset[str]) -> Prepared:
    return Prepared(
        select(QueuedCard.lane_id, func.max(case((QueuedCard.holds_slot, 1), else_=0)))
        .where(_DUE_THEN, *_free_of(held))
        .group_by(QueuedCard.lane_id)
        .order_by(QueuedCard.lane_id)
    )


def caps(session: Session) -> dict[int, int]:
    """Lane → slots; a lane that is not active has none."""
    return caps_in(asking_in(session))


def caps_in(ask: Asking) -> dict[int, int]:
    """`caps` in a snapshot that is open."""
    return {lane: cap if active else 0 for lane, cap, active in ask.rows(_CAPS)}


def length(session: Session) -> int:
    """How many cards are queued."""
    return length_in(asking_in(session))


def length_in(ask: Asking) -> int:
    """`length` in a snapshot that is open."""
    return int(ask.rows(_LENGTH)[0][0])


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether the moment has come; one that is too far off for any lease or pause was written before the clock went back."""
    return or_(QueuedCard.not_before <= now, QueuedCard.not_before > now + LONGEST_LEASE)


def _not_held(session: Session) -> tuple[ColumnElement[bool], ...]:
    """Leaves out what is on hold: there are few holds, and mostly none."""
    return _free_of(held_kinds(asking_in(session)))


def held_kinds(ask: Asking) -> frozenset[str]:
    """What kinds of things (run, project, lane) somebody holds at all."""
    return frozenset(kind for (kind,) in ask.rows(_HOLDS))


def _free_of(held: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    conditions: list[ColumnElement[bool]] = []
    if "run" in held:
        conditions.append(QueuedCard.run_id.not_in(_held("run")))
    if "project" in held:
        conditions.append(cast(QueuedCard.project_id, Hold.subject_id.type).not_in(_held("project")))
    if "lane" in held:
        conditions.append(cast(QueuedCard.lane_id, Hold.subject_id.type).not_in(_held("lane")))
    return tuple(conditions)


def _held(kind: str) -> Any:
    return select(Hold.subject_id).where(Hold.subject_type == kind, Hold.lifted_at.is_(None))
