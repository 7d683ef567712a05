"""How many places of a resource are taken, and may one more be?

A slot is a row that counts until it is RELEASED. Whoever wants one locks the resource first (its lane's row, or a lock of its
name), counts, and inserts in the same transaction: any number of processes, and none of them passes the cap. A holder that is
late is SUSPECT and keeps counting, because the work it stands for may still be going on. The guard of the sources kept a
number in a file, read it, compared it and wrote it back: twelve callers passed a limit of three.

Every function takes an open session and never commits; those that change something need a writing session. Lock order, for
whoever takes more than one thing in a transaction: slots, then rate buckets, then ledger accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import case, func, insert, literal, select, text, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lane, Slot
from plms_pipeline.registry.types import UtcDateTime

LANE: Final = "lane:"
LAUNCHER: Final = "launcher"
_OPEN: Final = ("HELD", "SUSPECT")
_COLUMNS: Final[tuple[Any, ...]] = (
    Slot.slot_id, Slot.resource, Slot.subject, Slot.project_id, Slot.run_id, Slot.holder, Slot.cap_then, Slot.taken_at,
    Slot.expires_at, Slot.state,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot that counts: HELD, or SUSPECT since its lease expired."""

    slot_id: str
    resource: str
    subject: str
    project_id: int | None
    run_id: str | None
    holder: str
    cap_then: int
    taken_at: datetime
    expires_at: datetime
    state: str


def lane_resource(lane_id: int) -> str:
    """The name of a lane as a resource."""
    return f"{LANE}{lane_id}"


def lock(session: Session, resource: str) -> int | None:
    """Wait until nobody else decides about this resource; the cap in force now for a lane, None for any other resource.

    A lane is locked by its row, so that a new cap and a new slot are decided one after the other.
    """
    lane_id = _lane_of(resource)
    if lane_id is not None:
        # Not FOR UPDATE: that would also wait for every row that merely refers to the lane.
        row = select(Lane.cap, Lane.active).where(Lane.lane_id == lane_id).with_for_update(key_share=True)
        found = session.execute(row).one_or_none()
        if found is None:
            return 0
        return int(found.cap) if found.active else 0
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"plms:{resource}"})
    return None


def take(
    session: Session,
    *,
    slot_id: str,
    resource: str,
    subject: str,
    cap: int,
    holder: str,
    project_id: int | None,
    run_id: str | None,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Take a place of the resource for a subject; False when all are taken, and then nothing has changed.

    A subject that has a place keeps it, with the new holder and expiry: whoever died between taking and telling is continued.
    For a lane the smaller of `cap` and the lane's own cap as it stands under the lock holds.
    """
    in_force = lock(session, resource)
    cap = cap if in_force is None else min(cap, in_force)
    if renew(session, resource, subject, now=now, expires_at=expires_at, holder=holder):
        return True
    if open_count(session, resource) >= cap:
        return False
    session.execute(
        insert(Slot).values(
            slot_id=slot_id, resource=resource, subject=subject, project_id=project_id, run_id=run_id, holder=holder[:255],
            cap_then=cap, taken_at=now, renewed_at=now, expires_at=max(now, expires_at), state="HELD",
        )
    )  # fmt: skip
    return True


def renew(
    session: Session, resource: str, subject: str, *, now: datetime, expires_at: datetime, holder: str | None = None
) -> bool:
    """Extend the lease of a subject's place (a SUSPECT one is HELD again); False when it has none."""
    values: dict[str, Any] = {"state": "HELD", "renewed_at": now, "expires_at": expires_at}
    if holder is not None:
        values["holder"] = holder[:255]
    return _changed(session.execute(_open(resource, subject).values(values))) > 0


def release(session: Session, resource: str, subject: str, *, now: datetime, reason: str) -> bool:
    """Give a subject's place back; False when it has none, so that giving it back twice changes nothing.

    A clock that jumped back never keeps a place from being given back: then it was held for no time.
    """
    moment = literal(now, UtcDateTime())
    ended = case((Slot.taken_at > moment, Slot.taken_at), else_=moment)
    values = {"state": "RELEASED", "released_at": ended, "release_reason": reason[:2000]}
    return _changed(session.execute(_open(resource, subject).values(values))) > 0


def mark_suspect(session: Session, now: datetime) -> int:
    """Mark the places whose lease has expired; how many. They keep counting until somebody knows what became of them."""
    late = update(Slot).where(Slot.state == "HELD", Slot.expires_at <= now).values(state="SUSPECT")
    return _changed(session.execute(late.execution_options(synchronize_session=False)))


def open_count(session: Session, resource: str) -> int:
    """How many places of a resource count now: HELD and SUSPECT ones."""
    query = select(func.count()).select_from(Slot).where(Slot.resource == resource, Slot.state.in_(_OPEN))
    return int(session.scalar(query) or 0)


def open_counts(session: Session) -> dict[str, int]:
    """Resource → places that count now; a resource without any is left out."""
    query = select(Slot.resource, func.count()).where(Slot.state.in_(_OPEN)).group_by(Slot.resource)
    return {resource: int(count) for resource, count in session.execute(query)}


def open_slots(session: Session, resource: str | None = None, *, state: str | None = None) -> list[OpenSlot]:
    """The places that count now, of one resource or of all, the oldest first."""
    query = select(*_COLUMNS).where(Slot.state.in_(_OPEN if state is None else (state,)))
    if resource is not None:
        query = query.where(Slot.resource == resource)
    return [OpenSlot(*row) for row in session.execute(query.order_by(Slot.taken_at, Slot.slot_id))]


def _open(resource: str, subject: str) -> Any:
    return (
        update(Slot)
        .where(Slot.resource == resource, Slot.subject == subject, Slot.state.in_(_OPEN))
        .execution_options(synchronize_session=False)
    )


def _lane_of(resource: str) -> int | None:
    name = resource.removeprefix(LANE)
    return int(name) if name != resource and name.isascii() and name.isdigit() else None


def _changed(result: Any) -> int:
    return int(result.rowcount)
