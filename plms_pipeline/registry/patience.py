"""How long does somebody in a hurry wait for a lock that another transaction holds?

SQLite's busy timeout bounds every wait there. On PostgreSQL a lock is waited for until whoever holds it ends, and a program
that was stopped in the middle of a transaction never does: a rollback would stand still for as long as nobody looks.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from plms_pipeline.registry.engine import BUSY_TIMEOUT_S


def impatient(session: Session, *, seconds: float = BUSY_TIMEOUT_S) -> None:
    """Let every wait for a lock in this transaction end after so long, as `Unavailable`; the first thing that is done in it."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL lock_timeout = {int(seconds * 1000)}"))
