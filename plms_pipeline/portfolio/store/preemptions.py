"""Which running tasks were put aside for others, and how far is that?

A row per card, for ever: that is how no card is put aside twice. Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, insert, select, update
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.preemption import Choice, Running
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.tables import JobCard, Preemption, Slot

# The reason in the log of slots: such a slot was not given back because a task ended.
PUT_ASIDE: Final = "put aside"
_KEYS: Final = 900


@dataclass(frozen=True, slots=True)
class Aside:
    """A task that is put aside: `state` as in the table."""

    card_key: str
    lane_id: int
    project_id: int
    run_id: str
    for_project_id: int
    state: str


def running_in(session: Session, lane_id: int, *, now: datetime) -> list[Running]:
    """What holds the slots of a lane."""
    rows = session.execute(
        select(Slot.subject, Slot.project_id, Slot.taken_at, JobCard.state, Preemption.card_key)
        .outerjoin(JobCard, JobCard.card_key == Slot.subject)
        .outerjoin(Preemption, Preemption.card_key == Slot.subject)
        .where(Slot.resource == lane_resource(lane_id), Slot.state != "RELEASED")
        .order_by(Slot.slot_id)
    )
    return [
        Running(
            key, project or 0, max(0.0, (now - taken).total_seconds() * 1000.0),
            stays=state != "SUBMITTED" or before is not None,
        )
        for key, project, taken, state, before in rows
    ]  # fmt: skip


def may_another(session: Session, lane_id: int, *, cap: int) -> bool:
    """Whether one more task of a lane may be put aside: none is on its way there, and not as many are as it has slots."""
    rows = session.execute(
        select(Preemption.state, func.count())
        .where(Preemption.lane_id == lane_id, Preemption.state != "over")
        .group_by(Preemption.state)
    ).all()
    return all(state != "asked" for state, _ in rows) and sum(count for _, count in rows) < cap


def ask(session: Session, choice: Choice, lane_id: int, *, now: datetime) -> None:
    """A card is to be paused. Raises an integrity error for one that was before: `may_another` and `running_in` know."""
    run_id = select(JobCard.run_id).where(JobCard.card_key == choice.card_key).scalar_subquery()
    session.execute(
        insert(Preemption).values(
            card_key=choice.card_key, lane_id=lane_id, project_id=choice.project_id, run_id=run_id,
            for_project_id=choice.for_project_id, state="asked", asked_at=now,
        )
    )  # fmt: skip


def find(session: Session, card_key: str) -> Aside | None:
    """What became of a card that was to be put aside; None: it never was."""
    row = session.execute(
        select(
            Preemption.card_key, Preemption.lane_id, Preemption.project_id, Preemption.run_id, Preemption.for_project_id,
            Preemption.state,
        ).where(Preemption.card_key == card_key)
    ).one_or_none()  # fmt: skip
    return None if row is None else Aside(*row)


def move(session: Session, card_key: str, *, expected: str, new: str, now: datetime) -> bool:
    """One step on, or back from `resuming`; False when it is not where it was expected."""
    values: dict[str, Any] = {"state": new} | ({"paused_at": now} if (expected, new) == ("asked", "paused") else {})
    moved: Any = session.execute(
        update(Preemption)
        .where(Preemption.card_key == card_key, Preemption.state == expected)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    return bool(moved.rowcount)


def over(session: Session, card_keys: Collection[str], *, now: datetime, outcome: str) -> None:
    """The cards are put aside no more: they go on, or have ended."""
    keys = sorted(card_keys)
    for start in range(0, len(keys), _KEYS):
        session.execute(
            update(Preemption)
            .where(Preemption.card_key.in_(keys[start : start + _KEYS]), Preemption.state != "over")
            .values(state="over", over_at=now, outcome=outcome[:2000])
            .execution_options(synchronize_session=False)
        )


def is_aside(states: Collection[str] = ("asked", "paused", "resuming")) -> ColumnElement[bool]:
    """In a statement about job cards: the card is put aside (in one of the states)."""
    return exists().where(and_(Preemption.card_key == JobCard.card_key, Preemption.state.in_(list(states))))
