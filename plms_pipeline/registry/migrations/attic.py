"""How does a downgrade lose nothing?

A rollback script that drops tables destroys what was learnt since the upgrade: that is how an action log was lost once. Here
a downgrade moves a table to the attic (`attic_<name>`) with its rows, indexes and triggers, and the next upgrade brings the
same table back. Foreign keys follow a rename on both databases.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

PREFIX = "attic_"


class Attic:
    """Creates tables, or revives those that an earlier downgrade put away."""

    def __init__(self) -> None:
        self._bind = op.get_bind()
        self._present = set(sa.inspect(self._bind).get_table_names())
        self._revived: set[str] = set()

    def create_table(self, name: str, *columns: Any) -> None:
        """Create the table, unless it lies in the attic: then rename it back, rows and all."""
        if PREFIX + name in self._present:
            op.rename_table(PREFIX + name, name)
            self._revived.add(name)
        else:
            op.create_table(name, *columns)

    def create_index(self, name: str, table: str, columns: list[Any], **options: Any) -> None:
        """Create an index, unless it came back with its table."""
        if table not in self._revived:
            op.create_index(name, table, columns, **options)

    def seed(self, table: str, rows: list[dict[str, Any]], *columns: Any) -> None:
        """Insert the first rows of a table, unless it came back with its own."""
        if table not in self._revived:
            op.bulk_insert(sa.table(table, *columns), rows)

    def retire(self, *tables: str) -> None:
        """Move tables to the attic."""
        for table in tables:
            op.rename_table(table, PREFIX + table)


def refuse(table: str, name: str, event: str, message: str, when: str = "") -> None:
    """A trigger that refuses `event` ('UPDATE', 'DELETE', 'UPDATE OF status') on a table, where `when` holds.

    `when` speaks of OLD and NEW, as both databases do. Triggers move with their table, so a revived one is left alone.
    """
    condition = f" WHEN ({when})" if when else ""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {event} ON {table} FOR EACH ROW{condition} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION plms_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        f"CREATE OR REPLACE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW{condition} "
        f"EXECUTE FUNCTION plms_refuse('{message}')"
    )


def append_only(table: str) -> None:
    """Refuse UPDATE and DELETE on a table of the books."""
    for event in ("UPDATE", "DELETE"):
        refuse(table, f"trg_{table}_no_{event.lower()}", event, f"{table} is append-only: {event} is refused")
