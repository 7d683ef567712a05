"""How do the projects stand in a lane: what is remembered, what they hold, what they are to the scheduler?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Integer, bindparam, cast, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.portfolio.fairness import LaneBook
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.prepared import Change, Prepared, asked, one_of
from plms_pipeline.registry.tables import (
    LaneFairness,
    LedgerAccount,
    Preemption,
    Project,
    ProjectShare,
    QueuedCard,
    Slot,
)
from plms_pipeline.registry.types import UtcDateTime


@dataclass(frozen=True, slots=True)
class Had:
    """A slot of a lane that is open, or was given back since the last round; moments in ms of the epoch.

    `is_whole`: a task had it from begin to end, so its time says how long tasks take.
    """

    project_id: int
    taken_ms: float
    released_ms: float | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What the scheduler knows of a project: weight, deadline, and its money in USD."""

    weight: float = 1.0
    deadline_at: datetime | None = None
    left_usd: Decimal | None = None
    needed_usd: Decimal = Decimal(0)


_BOOK: Final = Prepared(select(LaneFairness.book_json).where(LaneFairness.lane_id == bindparam("lane_id")))
_KEEP: Final = Change(
    update(LaneFairness)
    .where(LaneFairness.lane_id == bindparam("of_lane", type_=LaneFairness.lane_id.type))
    .values(
        at=bindparam("moment", type_=UtcDateTime()), book_json=bindparam("book", type_=LaneFairness.book_json.type)
    )
)  # fmt: skip
_IS_OPEN: Final = one_of(Slot.state, ("HELD", "SUSPECT"))
_SLOTS: Final = (
    select(Slot.project_id, Slot.taken_at, Slot.released_at, Preemption.card_key)
    .outerjoin(Preemption, Preemption.card_key == Slot.subject)
    .where(Slot.resource == bindparam("lane", type_=Slot.resource.type), Slot.project_id.is_not(None))
)
_OPEN: Final = Prepared(_SLOTS.where(_IS_OPEN))
_OPEN_OR_SINCE: Final = Prepared(
    _SLOTS.where(or_(_IS_OPEN, Slot.released_at > bindparam("since", type_=UtcDateTime())))
)


def book_of(session: Session, lane_id: int) -> tuple[LaneBook, dict[int, str]]:
    """What is remembered of a lane, and which projects were refused in the last round, and why."""
    rows = asked(session, _BOOK, lane_id=lane_id)
    stored: Any = rows[0][0] if rows else None
    refused = (stored or {}).get("refused", {})
    return LaneBook.from_json(stored), {int(project): why for project, why in refused.items()}


def keep_book(session: Session, lane_id: int, book: LaneBook, refused: Mapping[int, str], *, now: datetime) -> None:
    """Remember a lane until the next round."""
    stored = {**book.to_json(), "refused": {str(project): why[:300] for project, why in sorted(refused.items())}}
    if _KEEP.into(session, of_lane=lane_id, moment=now, book=stored):
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(LaneFairness).values(lane_id=lane_id, at=now, book_json=stored)
    session.execute(statement.on_conflict_do_update(index_elements=["lane_id"], set_={"at": now, "book_json": stored}))


def had_since(session: Session, lane_id: int, since_ms: float | None) -> list[Had]:
    """The slots of a lane that are open, and those that were given back since a moment."""
    lane = lane_resource(lane_id)
    if since_ms is None:
        rows = asked(session, _OPEN, lane=lane)
    else:
        rows = asked(session, _OPEN_OR_SINCE, lane=lane, since=datetime.fromtimestamp(since_ms / 1000, UTC))
    return [
        Had(project or 0, millis(taken), None if released is None else millis(released), aside is None)
        for project, taken, released, aside in rows
    ]


_FACTS: Final = Prepared(
    select(
        Project.id, Project.budget_cost_usd_max, Project.estimated_cost_usd, ProjectShare.weight,
        ProjectShare.deadline_at, LedgerAccount.settled_usd, LedgerAccount.reserved_usd,
    )
    .outerjoin(ProjectShare, ProjectShare.project_id == Project.id)
    .outerjoin(LedgerAccount, LedgerAccount.account == literal(PROJECT) + cast(Project.id, LedgerAccount.account.type))
    .where(
        Project.id.in_(
            select(QueuedCard.project_id).where(QueuedCard.lane_id == bindparam("lane_id", type_=Integer()))
        )
    )
)  # fmt: skip


def project_facts(session: Session, lane_id: int) -> dict[int, ProjectFacts]:
    """What the scores of the projects are made from that wait in a lane."""
    found: dict[int, ProjectFacts] = {}
    for project, budget, estimated, weight, deadline, settled, reserved in asked(session, _FACTS, lane_id=lane_id):
        taken = (settled or Decimal(0)) + (reserved or Decimal(0))
        found[project] = ProjectFacts(
            weight or 1.0, deadline, None if budget is None else budget - taken,
            max(Decimal(0), (estimated or Decimal(0)) - taken),
        )  # fmt: skip
    return found


def lock_projects(session: Session, project_ids: Collection[int]) -> None:
    """Let nobody who settles hold these projects while we refer to them; in the order in which settlement locks them."""
    if session.get_bind().dialect.name != "postgresql":
        return  # SQLite has one writer at a time.
    session.execute(
        select(Project.id)
        .where(Project.id.in_(sorted(project_ids)))
        .order_by(Project.id)
        .with_for_update(read=True, key_share=True)
    )


def millis(moment: datetime) -> float:
    """A moment in milliseconds of the epoch."""
    return moment.timestamp() * 1000.0
