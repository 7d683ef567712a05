"""How do the projects stand in a lane: what is remembered, what they hold, what they are to the scheduler?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import project_account
from plms_pipeline.portfolio.fairness import LaneBook
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.tables import LaneFairness, LedgerAccount, Preemption, Project, ProjectShare, Slot


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


def book_of(session: Session, lane_id: int) -> tuple[LaneBook, dict[int, str]]:
    """What is remembered of a lane, and which projects were refused in the last round, and why."""
    stored: Any = session.scalar(select(LaneFairness.book_json).where(LaneFairness.lane_id == lane_id))
    refused = (stored or {}).get("refused", {})
    return LaneBook.from_json(stored), {int(project): why for project, why in refused.items()}


def keep_book(session: Session, lane_id: int, book: LaneBook, refused: Mapping[int, str], *, now: datetime) -> None:
    """Remember a lane until the next round."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    stored = {**book.to_json(), "refused": {str(project): why[:300] for project, why in sorted(refused.items())}}
    statement = dialect.insert(LaneFairness).values(lane_id=lane_id, at=now, book_json=stored)
    session.execute(statement.on_conflict_do_update(index_elements=["lane_id"], set_={"at": now, "book_json": stored}))


def had_since(session: Session, lane_id: int, since_ms: float | None) -> list[Had]:
    """The slots of a lane that are open, and those that were given back since a moment."""
    query = (
        select(Slot.project_id, Slot.taken_at, Slot.released_at, Preemption.card_key)
        .outerjoin(Preemption, Preemption.card_key == Slot.subject)
        .where(Slot.resource == lane_resource(lane_id), Slot.project_id.is_not(None))
    )
    is_open = Slot.state.in_(("HELD", "SUSPECT"))
    if since_ms is None:
        query = query.where(is_open)
    else:
        since = datetime.fromtimestamp(since_ms / 1000, UTC)
        query = query.where(or_(is_open, Slot.released_at > since))
    return [
        Had(project or 0, millis(taken), None if released is None else millis(released), aside is None)
        for project, taken, released, aside in session.execute(query)
    ]


def project_facts(session: Session, project_ids: Collection[int]) -> dict[int, ProjectFacts]:
    """What the scores of projects are made from."""
    found: dict[int, ProjectFacts] = {}
    ordered = sorted(project_ids)
    for start in range(0, len(ordered), 900):
        part = ordered[start : start + 900]
        accounts = {
            account: (limit, settled, reserved)
            for account, limit, settled, reserved in session.execute(
                select(
                    LedgerAccount.account, LedgerAccount.limit_usd, LedgerAccount.settled_usd, LedgerAccount.reserved_usd
                ).where(LedgerAccount.account.in_([project_account(project) for project in part]))
            )
        }  # fmt: skip
        rows = session.execute(
            select(
                Project.id, Project.budget_cost_usd_max, Project.estimated_cost_usd, ProjectShare.weight,
                ProjectShare.deadline_at,
            )
            .outerjoin(ProjectShare, ProjectShare.project_id == Project.id)
            .where(Project.id.in_(part))
        )  # fmt: skip
        for project, budget, estimated, weight, deadline in rows:
            _, settled, reserved = accounts.get(project_account(project), (None, Decimal(0), Decimal(0)))
            found[project] = ProjectFacts(
                weight or 1.0, deadline, None if budget is None else budget - settled - reserved,
                max(Decimal(0), (estimated or Decimal(0)) - settled - reserved),
            )  # fmt: skip
    return found


def lock_projects(session: Session, project_ids: Collection[int]) -> None:
    """Let nobody who settles hold these projects while we refer to them; in the order in which settlement locks them."""
    session.execute(
        select(Project.id)
        .where(Project.id.in_(sorted(project_ids)))
        .order_by(Project.id)
        .with_for_update(read=True, key_share=True)
    )


def millis(moment: datetime) -> float:
    """A moment in milliseconds of the epoch."""
    return moment.timestamp() * 1000.0
