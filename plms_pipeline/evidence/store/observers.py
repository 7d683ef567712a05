"""What does the observer that looks say about itself?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lease


def details(session: Session, name: str) -> dict[str, Any]:
    """What the holder of a lease wrote beside it; empty when nothing."""
    found = session.scalar(select(Lease.details_json).where(Lease.name == name))
    return dict(found) if isinstance(found, dict) else {}
