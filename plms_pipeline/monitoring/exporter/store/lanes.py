"""Which guards and lanes are how full, and who waits?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.store.slots import LANE, LAUNCHER
from plms_pipeline.registry.tables import (
    JobCard,
    Lane,
    LedgerAccount,
    LedgerEntry,
    QueuedCard,
    RateBucket,
    Slot,
)

_OPEN = ("HELD", "SUSPECT")
_SPENT = ("settle", "overrun", "charge")


def lanes(session: Session) -> list[tuple[str, str, int]]:
    """(lane, name, cap), by number."""
    rows = session.execute(select(Lane.lane_id, Lane.name, Lane.cap).order_by(Lane.lane_id))
    return [(str(lane), name, cap) for lane, name, cap in rows]


def slots(session: Session) -> tuple[int, dict[str, int], dict[str, int]]:
    """Places of the launcher that are taken; lane → slots in use (suspect ones included); lane → suspect ones."""
    rows = session.execute(
        select(Slot.resource, Slot.state, func.count()).where(Slot.state.in_(_OPEN)).group_by(Slot.resource, Slot.state)
    )
    launcher, in_use, suspect = 0, dict[str, int](), dict[str, int]()
    for resource, state, count in rows:
        if resource == LAUNCHER:
            launcher += count
        elif resource.startswith(LANE):
            lane = resource.removeprefix(LANE)
            in_use[lane] = in_use.get(lane, 0) + count
            if state == "SUSPECT":
                suspect[lane] = count
    return launcher, in_use, suspect


def queues(session: Session) -> Sequence[tuple[str, bool, int, datetime]]:
    """(lane, whether they are put aside, cards, since when the first is ready) of what waits."""
    rows = session.execute(
        select(QueuedCard.lane_id, QueuedCard.is_paused, func.count(), func.min(QueuedCard.ready_at)).group_by(
            QueuedCard.lane_id, QueuedCard.is_paused
        )
    )
    return [(str(lane), aside, count, since) for lane, aside, count, since in rows]


def open_cards(session: Session) -> dict[str, int]:
    """State → cards that have not ended."""
    rows = session.execute(
        select(JobCard.state, func.count()).where(JobCard.state.in_(("WAITING", "SUBMITTED"))).group_by(JobCard.state)
    )
    return dict(rows.all())


def accounts(session: Session, names: Sequence[str]) -> dict[str, tuple[Decimal | None, Decimal, Decimal]]:
    """Account → (limit, settled, reserved), in USD; one in which nothing was ever moved is left out."""
    rows = session.execute(
        select(
            LedgerAccount.account, LedgerAccount.limit_usd, LedgerAccount.settled_usd, LedgerAccount.reserved_usd
        ).where(LedgerAccount.account.in_(names))
    )
    return {account: (limit, settled, reserved) for account, limit, settled, reserved in rows}


def spent_without_receipt(session: Session, account: str) -> float:
    """What starts took that left no receipt in our books, of the launcher's account of a day."""
    spent = session.scalar(
        select(func.sum(LedgerEntry.amount_usd)).where(
            LedgerEntry.account == account, LedgerEntry.kind.in_(_SPENT), LedgerEntry.subject.startswith("launch:")
        )
    )
    return float(spent or 0)


def bucket_levels(session: Session, names: Sequence[str]) -> dict[str, tuple[float, datetime]]:
    """Bucket → (tokens, when they were in it)."""
    rows = session.execute(
        select(RateBucket.name, RateBucket.tokens, RateBucket.refilled_at).where(RateBucket.name.in_(names))
    )
    return {name: (tokens, at) for name, tokens, at in rows}
