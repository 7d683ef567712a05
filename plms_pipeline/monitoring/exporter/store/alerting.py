"""How do the alerts stand, and what of them has not gone out?

A registry that was not upgraded yet has no such tables; then there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import column, func, inspect, select, table
from sqlalchemy.orm import Session

from plms_pipeline.registry.types import UtcDateTime

_STATES = table("alert_states", column("rule"), column("severity"), column("state"))
_DELIVERIES = table(
    "deliveries", column("channel"), column("state"), column("created_at", UtcDateTime()), column("due_at", UtcDateTime())
)  # fmt: skip
_CHECKS = table("alert_checks", column("error"), column("checked_at", UtcDateTime()))
TABLES = ("alert_states", "deliveries", "alert_checks")


def are_there(session: Session) -> bool:
    """Whether this registry knows of alerts."""
    found = inspect(session.connection())
    return all(found.has_table(name) for name in TABLES)


def alerts(session: Session) -> Sequence[tuple[str, str, str, int]]:
    """(rule, severity, state, subjects)."""
    key = (_STATES.c.rule, _STATES.c.severity, _STATES.c.state)
    rows = session.execute(select(*key, func.count()).group_by(*key))
    return [(rule, severity, state, count) for rule, severity, state, count in rows]


def deliveries(session: Session) -> Sequence[tuple[str, str, int]]:
    """(channel, state, messages)."""
    key = (_DELIVERIES.c.channel, _DELIVERIES.c.state)
    rows = session.execute(select(*key, func.count()).group_by(*key))
    return [(channel, state, count) for channel, state, count in rows]


def oldest_delivery(session: Session) -> datetime | None:
    """Since when the first message waits that has not gone out."""
    oldest: datetime | None = session.scalar(
        select(func.min(_DELIVERIES.c.created_at)).where(_DELIVERIES.c.state == "pending")
    )
    return oldest


def checks(session: Session) -> tuple[datetime | None, int]:
    """When the source that was looked at longest ago was, and how many failed at their last look."""
    row = session.execute(select(func.min(_CHECKS.c.checked_at), func.count(_CHECKS.c.error))).one()
    return row[0], row[1]
