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

from sqlalchemy import bindparam, case, func, select, text, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.prepared import Asking, Change, Inserts, Prepared, asked, asking_in, one_of
from plms_pipeline.registry.tables import Lane, Slot
from plms_pipeline.registry.types import UtcDateTime

LANE: Final = "lane:"
LAUNCHER: Final = "launcher"
_OPEN: Final = ("HELD", "SUSPECT")
_COLUMNS: Final[tuple[Any, ...]] = (
    Slot.slot_id, Slot.resource, Slot.subject, Slot.project_id, Slot.run_id, Slot.holder, Slot.cap_then, Slot.taken_at,
    Slot.expires_at, Slot.state,
)  # fmt: skip


_MINE: Final = (
    Slot.resource == bindparam("of_resource", type_=Slot.resource.type),
    Slot.subject == bindparam("of_subject", type_=Slot.subject.type),
    one_of(Slot.state, _OPEN),
)
_MOMENT: Final = bindparam("moment", type_=UtcDateTime())
# Not FOR UPDATE: that would also wait for every row that merely refers to the lane.
_LANE: Final = Prepared(
    select(Lane.cap, Lane.active).where(Lane.lane_id == bindparam("lane_id")).with_for_update(key_share=True)
)
_HAS_PLACE: Final = Prepared(select(Slot.slot_id).where(*_MINE).limit(1))
_TAKEN: Final = Prepared(
    select(func.count())
    .select_from(Slot)
    .where(Slot.resource == bindparam("of_resource", type_=Slot.resource.type), one_of(Slot.state, _OPEN))
)
_ALL_TAKEN: Final = Prepared(
    select(Slot.resource, func.count()).where(one_of(Slot.state, _OPEN)).group_by(Slot.resource)
)
_NEW: Final = Inserts(Slot)
_RELEASE: Final = Change(
    update(Slot)
    .where(*_MINE)
    .values(
        state="RELEASED",
        released_at=case((Slot.taken_at > _MOMENT, Slot.taken_at), else_=_MOMENT),
        release_reason=bindparam("reason", type_=Slot.release_reason.type),
    )
)


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
        found = asked(session, _LANE, lane_id=lane_id)
        return int(found[0][0]) if found and found[0][1] else 0
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
    if asked(session, _HAS_PLACE, of_resource=resource, of_subject=subject):
        return renew(session, resource, subject, now=now, expires_at=expires_at, holder=holder)
    if open_count(session, resource) >= cap:
        return False
    _NEW.into(session, [{
        "slot_id": slot_id, "resource": resource, "subject": subject, "project_id": project_id, "run_id": run_id,
        "holder": holder[:255], "cap_then": cap, "taken_at": now, "renewed_at": now, "expires_at": max(now, expires_at),
        "state": "HELD",
    }])  # fmt: skip
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
    return _RELEASE.into(session, of_resource=resource, of_subject=subject, moment=now, reason=reason[:2000]) > 0


def last_end(session: Session, resource: str, subject: str) -> tuple[datetime, str] | None:
    """When a subject's place was given back last, and why; None when it never had one that was. Reads only."""
    row = session.execute(
        select(Slot.released_at, Slot.release_reason)
        .where(Slot.resource == resource, Slot.subject == subject, Slot.state == "RELEASED")
        .order_by(Slot.released_at.desc())
        .limit(1)
    ).first()
    return None if row is None or row[0] is None else (row[0], row[1] or "")


def mark_suspect(session: Session, now: datetime) -> int:
    """Mark the places whose lease has expired; how many. They keep counting until somebody knows what became of them."""
    late = update(Slot).where(Slot.state == "HELD", Slot.expires_at <= now).values(state="SUSPECT")
    return _changed(session.execute(late.execution_options(synchronize_session=False)))


def open_count(session: Session, resource: str) -> int:
    """How many places of a resource count now: HELD and SUSPECT ones."""
    return int(asked(session, _TAKEN, of_resource=resource)[0][0])


def open_counts(session: Session) -> dict[str, int]:
    """Resource → places that count now; a resource without any is left out."""
    return counted(asking_in(session))


def counted(ask: Asking) -> dict[str, int]:
    """`open_counts` in a snapshot that is open."""
    return {resource: int(count) for resource, count in ask.rows(_ALL_TAKEN)}


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
