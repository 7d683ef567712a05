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
from typing import Any, Final

from sqlalchemy import case, cast, delete, false, func, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.queueing import LONGEST_LEASE
from plms_pipeline.registry.tables import Hold, Lane, QueuedCard

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


def put(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Queue cards; one that is queued already stays as it is."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for start in range(0, len(rows), _ROWS):
        session.execute(dialect.insert(QueuedCard).values(list(rows[start : start + _ROWS])).on_conflict_do_nothing())


def leave(session: Session, card_keys: Iterable[str]) -> None:
    """Cards that wait no more: they went out, ended, or were called off."""
    keys = sorted(card_keys)
    for start in range(0, len(keys), _KEYS):
        session.execute(
            delete(QueuedCard)
            .where(QueuedCard.card_key.in_(keys[start : start + _KEYS]))
            .execution_options(synchronize_session=False)
        )


def again(session: Session, card_key: str, *, not_before: datetime, holds_slot: bool) -> None:
    """The card goes (again) at `not_before`; `holds_slot`: in the slot that it has."""
    session.execute(
        update(QueuedCard)
        .where(QueuedCard.card_key == card_key)
        .values(not_before=not_before, holds_slot=holds_slot)
        .execution_options(synchronize_session=False)
    )


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


def who_waits(session: Session, now: datetime, *, lane_ids: Collection[int] | None = None) -> list[Waiting]:
    """Lane by lane, whose tasks wait for a slot now. What is on hold does not wait."""
    is_rehearsal = case((QueuedCard.run_kind == REHEARSAL, 1), else_=0)
    query = (
        select(
            QueuedCard.lane_id, QueuedCard.project_id, func.count(), func.sum(is_rehearsal), func.max(QueuedCard.rank)
        )
        .where(QueuedCard.holds_slot == false(), _is_due(now), *_not_held(session))
        .group_by(QueuedCard.lane_id, QueuedCard.project_id)
        .order_by(QueuedCard.lane_id, QueuedCard.project_id)
    )  # fmt: skip
    if lane_ids is not None:
        query = query.where(QueuedCard.lane_id.in_(sorted(lane_ids)))
    return [
        Waiting(lane, project, int(tasks), int(rehearsing), float(rank))
        for lane, project, tasks, rehearsing, rank in session.execute(query)
    ]


def next_cards(
    session: Session, lane_id: int, project_id: int, *, now: datetime, only_rehearsals: bool, limit: int
) -> list[NextCard]:
    """The first cards of a project in a lane: what was begun and put aside, then the highest rank first."""
    query = select(*_NEXT).where(
        QueuedCard.lane_id == lane_id, QueuedCard.holds_slot == false(), QueuedCard.project_id == project_id,
        _is_due(now), *_not_held(session),
    )  # fmt: skip
    if only_rehearsals:
        query = query.where(QueuedCard.run_kind == REHEARSAL)
    ordered = query.order_by(QueuedCard.is_paused.desc(), QueuedCard.rank.desc(), QueuedCard.card_key).limit(limit)
    return [NextCard(*row) for row in session.execute(ordered)]


def to_resume(session: Session, lane_id: int, *, now: datetime, limit: int) -> list[NextCard]:
    """Cards that were on their way in a slot of their own when somebody died or the line broke."""
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
    """Lanes in which a card waits or is to be resumed → whether one is to be resumed."""
    query = (
        select(QueuedCard.lane_id, func.max(case((QueuedCard.holds_slot, 1), else_=0)))
        .where(_is_due(now))
        .group_by(QueuedCard.lane_id)
        .order_by(QueuedCard.lane_id)
    )
    return {lane: bool(resumes) for lane, resumes in session.execute(query)}


def caps(session: Session) -> dict[int, int]:
    """Lane → slots; a lane that is not active has none."""
    rows = session.execute(select(Lane.lane_id, Lane.cap, Lane.active).order_by(Lane.lane_id))
    return {lane: cap if active else 0 for lane, cap, active in rows}


def length(session: Session) -> int:
    """How many cards are queued."""
    return session.scalar(select(func.count()).select_from(QueuedCard)) or 0


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether the moment has come; one that is too far off for any lease or pause was written before the clock went back."""
    return or_(QueuedCard.not_before <= now, QueuedCard.not_before > now + LONGEST_LEASE)


def _not_held(session: Session) -> tuple[ColumnElement[bool], ...]:
    """Leaves out what is on hold: there are few holds, and mostly none."""
    held: dict[str, list[str]] = {"run": [], "project": [], "lane": []}
    for kind, subject in session.execute(
        select(Hold.subject_type, Hold.subject_id).where(Hold.lifted_at.is_(None)).distinct()
    ):
        held.setdefault(kind, []).append(subject)
    conditions: list[ColumnElement[bool]] = []
    if held["run"]:
        conditions.append(QueuedCard.run_id.not_in(_held("run")))
    if held["project"]:
        conditions.append(cast(QueuedCard.project_id, Hold.subject_id.type).not_in(_held("project")))
    if held["lane"]:
        conditions.append(cast(QueuedCard.lane_id, Hold.subject_id.type).not_in(_held("lane")))
    return tuple(conditions)


def _held(kind: str) -> Any:
    return select(Hold.subject_id).where(Hold.subject_type == kind, Hold.lifted_at.is_(None))
