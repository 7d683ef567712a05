"""The audit log: one row per write that somebody did, in the transaction of that write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.registry.tables import AuditEntry


def record(
    session: Session,
    *,
    at: datetime,
    actor: Actor,
    action: str,
    subject: str,
    outcome: str,
    details: dict[str, Any] | None = None,
) -> None:
    """Append one entry. `details` must hold neither secrets nor whole rows: the log is kept for ever and read by many."""
    entry = AuditEntry(
        at=at, actor=actor.name[:255], action=action, subject=subject[:512], outcome=outcome, details_json=details
    )
    session.add(entry)
    session.flush()
