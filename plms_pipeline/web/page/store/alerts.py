"""Has anything changed about the alerts?

The page asks the alerts' own routes for them; here is only what tells that they changed.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry import tables

# None in an installation without alerts: their section is hidden there.
_STATE: Final[Any] = getattr(tables, "AlertState", None)


def marks(session: Session) -> tuple[object, ...]:
    """Differs whenever an open alert does."""
    if _STATE is None:
        return ()
    rows = session.execute(
        select(_STATE.rule, _STATE.subject, _STATE.state, _STATE.severity, _STATE.fired_at, _STATE.acked_at)
        .where(_STATE.state.in_(("firing", "acked")))
        .order_by(_STATE.rule, _STATE.subject)
    )
    return tuple(tuple(row) for row in rows)
