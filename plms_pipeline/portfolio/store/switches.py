"""Which kill switches are on, and since when?

Whoever starts something takes part in a lock that turning a switch on waits for: what has passed the check is in the books when
the switch is on, and what comes after it sees it. Without that a start that read "off" a moment before would still go out.
Mirrors (the flag file was seen, the registry was away) are rows too, so that there is one history; nobody is stopped by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.switch import OnSwitch
from plms_pipeline.registry.prepared import Asking, Prepared, asking_in
from plms_pipeline.registry.tables import KillSwitch, Lane, Project

_COLUMNS: Final[tuple[Any, ...]] = (
    KillSwitch.id, KillSwitch.scope, KillSwitch.subject, KillSwitch.reason, KillSwitch.actor, KillSwitch.turned_on_at,
)  # fmt: skip
# Asked before every start.
_ON: Final = Prepared(select(*_COLUMNS).where(KillSwitch.turned_off_at.is_(None)).order_by(KillSwitch.id))
_LOCK: Final = "hashtextextended('plms:killswitch', 0)"


def that_are_on(session: Session) -> list[OnSwitch]:
    """Every switch that is on, the oldest first. Reads only."""
    return seen(asking_in(session))


def seen(ask: Asking) -> list[OnSwitch]:
    """`that_are_on` in a snapshot that is open."""
    return [OnSwitch(*row) for row in _ON.typed(ask.rows(_ON), ask.dialect)]


def checked(session: Session) -> list[OnSwitch]:
    """Every switch that is on; none is turned on before this writing session ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"))
    return that_are_on(session)


def turn_on(session: Session, *, scope: str, subject: str, reason: str, actor: str, now: datetime) -> bool:
    """Turn a switch on, after everything that has passed the check is in the books; False when it was on already."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    on = select(KillSwitch.id).where(
        KillSwitch.scope == scope, KillSwitch.subject == subject, KillSwitch.turned_off_at.is_(None)
    )
    if session.scalar(on) is not None:
        return False
    session.execute(
        insert(KillSwitch).values(
            scope=scope, subject=subject, reason=reason[:2000], actor=actor[:255], turned_on_at=now
        )
    )
    return True


def turn_off(session: Session, *, scope: str, subject: str, actor: str, now: datetime) -> bool:
    """Turn a switch off; False when it was not on."""
    off = (
        update(KillSwitch)
        .where(KillSwitch.scope == scope, KillSwitch.subject == subject, KillSwitch.turned_off_at.is_(None))
        .values(turned_off_at=now, turned_off_by=actor[:255])
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(off)
    return bool(result.rowcount)


def has_subject(session: Session, scope: str, subject: str) -> bool:
    """Whether there is such a lane or project; always for everything."""
    if scope == "lane":
        return session.scalar(select(Lane.lane_id).where(Lane.lane_id == int(subject))) is not None
    if scope == "project":
        return session.scalar(select(Project.id).where(Project.id == int(subject))) is not None
    return True


def history(session: Session, *, limit: int) -> Sequence[Any]:
    """The newest switches with how they ended: (switch columns…, turned_off_at, turned_off_by)."""
    query = select(*_COLUMNS, KillSwitch.turned_off_at, KillSwitch.turned_off_by)
    return session.execute(query.order_by(KillSwitch.id.desc()).limit(limit)).all()
