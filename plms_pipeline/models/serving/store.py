"""Where is it written what serving did?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.models.serving.minutes import NAMES, Counts
from plms_pipeline.registry.tables import ServingMinute


def add_minutes(session: Session, family: str, book: Mapping[datetime, Counts]) -> None:
    """Add counts to those of their minutes, whoever else counts there."""
    for minute, counts in sorted(book.items()):
        values = {name: getattr(counts, name) for name in NAMES}
        session.execute(_upsert(session, {"family": family, "minute": minute, **values}))


def _upsert(session: Session, row: dict[str, Any]) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(ServingMinute).values(row)
    more = {name: getattr(ServingMinute, name) + row[name] for name in NAMES}
    return statement.on_conflict_do_update(index_elements=["family", "minute"], set_=more)
