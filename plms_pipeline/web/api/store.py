"""What does the registry say about itself?"""

from __future__ import annotations

from sqlalchemy import inspect
from sqlalchemy.orm import Session


def table_count(session: Session) -> int:
    """How many tables the database has."""
    return len(inspect(session.connection()).get_table_names())
