"""What did a transaction change, told by the database and not by the product?

Triggers note every change that a rule looks at in a table of the simulator's own, inside the transaction that makes it: what is
rolled back was never noted. After each commit only what is new is read. Nothing here imports the product's tables: the rules
must not share its mistakes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One change of a row. `was` is None for a new row; `a` … `f` are what the table's rule wants to know besides."""

    table: str
    key: Any
    was: str | None
    now: str | None
    a: Any
    b: Any
    c: Any
    d: Any
    e: Any
    f: Any


# table → (key, state, what else, the columns whose change is noted besides the state's)
_WATCHED: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "projects": ("{r}.id", "{r}.status", ("{r}.budget_cost_usd_max",), ("budget_cost_usd_max",)),
    "project_runs": ("{r}.run_id", "{r}.status", ("{r}.project_id", "{r}.run_kind"), ()),
    "run_tasks": ("{r}.run_id || '/' || {r}.task_id", "{r}.status", (), ()),
    "job_cards": (
        "{r}.card_key", "{r}.state",
        ("{o}.lease_holder", "{r}.lease_holder", "{o}.lease_expires_at", "{r}.submissions",
         "{r}.run_id || '/' || {r}.task_id || '/' || {r}.attempt || '/' || {r}.lane_id", "{r}.depends_on_json"),
        ("lease_holder", "submissions"),
    ),
    "slots": ("{r}.subject", "{r}.state", ("{r}.resource",), ()),
    "obligations": ("{r}.obligation_id", "{r}.state", ("{r}.lookup_ref", "{r}.subject_id", "{r}.evidence_kind"), ()),
    "observations": ("{r}.obligation_id", "{r}.reason", ("{r}.wait_ms",), ()),
    "inbox_events": (
        "{r}.event_id", "{r}.state",
        ("{o}.lease_holder", "{r}.lease_holder", "{o}.lease_expires_at", "{r}.outcome"), ("lease_holder", "outcome"),
    ),
    "outbox_events": (
        "{r}.event_key", "{r}.state",
        ("{o}.lease_holder", "{r}.lease_holder", "{o}.lease_expires_at", "{r}.attempts", "{r}.kind", "{r}.subject_id"),
        ("lease_holder", "attempts"),
    ),
    "dead_letters": (
        "{r}.letter_id", "{r}.state",
        ("{o}.lease_holder", "{r}.lease_holder", "{o}.lease_expires_at", "{r}.attempts", "{o}.attempts",
         "{r}.kind || ':' || {r}.subject_id"),
        ("lease_holder", "attempts"),
    ),
    "ledger_entries": ("{r}.subject", "{r}.kind", ("{r}.account", "{r}.amount_usd"), ()),
    "ledger_accounts": (
        "{r}.account", "'open'", ("{r}.settled_usd", "{r}.reserved_usd"), ("settled_usd", "reserved_usd"),
    ),
    "kill_switches": (
        "{r}.id", "CASE WHEN {r}.turned_off_at IS NULL THEN 'on' ELSE 'off' END", ("{r}.scope", "{r}.subject"), (),
    ),
    "holds": (
        "{r}.id", "CASE WHEN {r}.lifted_at IS NULL THEN 'held' ELSE 'lifted' END",
        ("{r}.subject_type", "{r}.subject_id"), (),
    ),
    "task_receipts": (
        "{r}.run_id || '/' || {r}.task_id || '/' || {r}.attempt", "{r}.status", ("{r}.cost_usd", "{r}.source"), (),
    ),
    "run_lineage": ("{r}.run_id", "{r}.relation", ("{r}.parent_run_id",), ()),
    "lanes": ("{r}.lane_id", "'open'", ("{r}.cap",), ("cap",)),
}  # fmt: skip


def install(database: Path) -> None:
    """Put the journal into a migrated registry: its table, its triggers, and what stands there already."""
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TABLE sim_journal (n INTEGER PRIMARY KEY AUTOINCREMENT, tab, key, was, now, a, b, c, d, e, f)"
    )
    for table, (key, state, more, columns) in _WATCHED.items():
        new = _note(table, key, state, more, was="NULL", old="NEW")
        connection.execute(f"CREATE TRIGGER sim_new_{table} AFTER INSERT ON {table} BEGIN {new} END")
        if table in ("observations", "ledger_entries", "task_receipts", "run_lineage"):
            continue
        changed = _note(table, key, state, more, was=state.format(r="OLD"), old="OLD")
        differs = [f"{state.format(r='OLD')} IS NOT {state.format(r='NEW')}"]
        differs += [f"OLD.{column} IS NOT NEW.{column}" for column in columns]
        connection.execute(
            f"CREATE TRIGGER sim_upd_{table} AFTER UPDATE ON {table} WHEN {' OR '.join(differs)} BEGIN {changed} END"
        )
    connection.execute(
        "INSERT INTO sim_journal (tab, key, now, a) SELECT 'lanes', lane_id, 'open', cap FROM lanes ORDER BY lane_id"
    )
    connection.commit()
    connection.close()


def _note(table: str, key: str, state: str, more: tuple[str, ...], *, was: str, old: str) -> str:
    columns = ", ".join(("tab", "key", "was", "now", *"abcdef"[: len(more)]))
    values = [f"'{table}'", key.format(r="NEW"), was, state.format(r="NEW")]
    # What an inserted row was before is nothing.
    values += ["NULL" if "{o}" in each and old == "NEW" else each.format(r="NEW", o=old) for each in more]
    return f"INSERT INTO sim_journal ({columns}) VALUES ({', '.join(values)});"


class Journal:
    """Reads what is new; also answers straight SQL."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._read = 0

    def new(self) -> list[Change]:
        """The changes that were committed since it was asked last, in order."""
        rows = self._connection.execute(
            "SELECT n, tab, key, was, now, a, b, c, d, e, f FROM sim_journal WHERE n > ? ORDER BY n", (self._read,)
        ).fetchall()
        if rows:
            self._read = rows[-1][0]
        return [Change(*row[1:]) for row in rows]

    def ask(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        return self._connection.execute(query, given).fetchall()

    def forget(self) -> None:
        """Remove what was read."""
        self._connection.execute("DELETE FROM sim_journal WHERE n <= ?", (self._read,))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
