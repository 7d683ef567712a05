"""Does the schema itself still stand: its triggers, constraints, indexes and references?

Whoever can drop a trigger can change the books in silence, so a missing guard is a violation like a wrong row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table, UniqueConstraint, text
from sqlalchemy.orm import Session

from plms_pipeline.invariants.report import CAP
from plms_pipeline.invariants.store.rows import dialect_of, id_column, named
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.violations import VIOLATIONS

_APPEND_ONLY: Final = (
    "task_receipts", "decisions", "audit_log", "state_transitions", "estimate_versions", "kpi_receipts",
    "ledger_entries", "observations", "price_changes", "price_factors",
)  # fmt: skip
TRIGGERS: Final = {
    **{f"trg_{table}_no_{event}": table for table in _APPEND_ONLY for event in ("update", "delete")},
    "trg_project_runs_terminal": "project_runs",
    "trg_run_tasks_terminal": "run_tasks",
    "trg_job_cards_terminal": "job_cards",
    "trg_inbox_events_terminal": "inbox_events",
    "trg_slots_terminal": "slots",
    "trg_obligations_terminal": "obligations",
}
"""The triggers that refuse, and their tables."""


def broken_triggers(session: Session) -> list[str]:
    """The triggers that are missing, switched off, or no longer refuse, each with what is wrong."""
    found = dict(_sqlite_triggers(session) if dialect_of(session) == "sqlite" else _postgres_triggers(session))
    wrong = []
    for name, table in sorted(TRIGGERS.items()):
        state = found.get((table, name))
        if state is None:
            wrong.append(f"{table}: trigger {name} is missing")
        elif not state:
            wrong.append(f"{table}: trigger {name} does not refuse any more")
    return wrong


def _sqlite_triggers(session: Session) -> Iterator[tuple[tuple[str, str], bool]]:
    rows = session.execute(text("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'"))
    for table, name, sql in rows:
        head, _, body = re.sub(r"\s+", " ", sql).partition(" BEGIN ")
        bare = name.endswith("_terminal") or " WHEN " not in head.upper()
        yield (table, name), bare and body.upper().startswith("SELECT RAISE(ABORT,")


def _postgres_triggers(session: Session) -> Iterator[tuple[tuple[str, str], bool]]:
    rows = session.execute(
        text(
            "SELECT c.relname, t.tgname, t.tgenabled::text, t.tgqual IS NULL, p.prosrc FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
        )
    )
    for table, name, enabled, unconditional, body in rows:
        bare = name.endswith("_terminal") or unconditional
        yield (table, name), bare and enabled in ("O", "A") and "RAISE EXCEPTION" in body.upper()


def missing_guards(session: Session) -> list[str]:
    """Constraints and violation indexes of the models that the database has not, or has with another predicate."""
    present = _constraints(session)
    wrong = [
        f"{table.name}: constraint {constraint.name} is missing"
        for table in Base.metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint | UniqueConstraint | ForeignKeyConstraint)
        and (table.name, str(constraint.name)) not in present
    ]
    return sorted([*wrong, *_wrong_indexes(session)])


def _constraints(session: Session) -> set[tuple[str, str]]:
    """(table, constraint) of everything that stands. Every constraint of ours has a name."""
    if dialect_of(session) == "sqlite":
        rows = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        return {(table, name) for table, sql in rows for name in re.findall(r'CONSTRAINT "?(\w+)"?', sql)}
    found = session.execute(
        text(
            "SELECT t.relname, c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
            "WHERE t.relnamespace = current_schema()::regnamespace AND c.convalidated"
        )
    )
    return {(table, name) for table, name in found}


def _wrong_indexes(session: Session) -> Iterator[str]:
    if dialect_of(session) == "sqlite":
        rows = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    else:
        rows = session.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"))
    present = {name: _squeezed(sql) for name, sql in rows}
    # Over an expression, so no comparison of the models sees it.
    if "ux_estimate_versions_key" not in present:
        yield "estimate_versions: index ux_estimate_versions_key is missing"
    for violation in VIOLATIONS.values():
        sql = present.get(violation.index)
        if sql is None:
            yield f"{violation.table}: index {violation.index} is missing"
        elif dialect_of(session) == "sqlite" and not sql.endswith("WHERE " + _squeezed(violation.on("sqlite"))):
            # PostgreSQL rewrites the predicate when it stores it; there only the presence can be compared.
            yield f"{violation.table}: index {violation.index} has another predicate"


def _squeezed(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


def references() -> list[ForeignKeyConstraint]:
    """Every foreign key of the models, in the order of tables."""
    return [
        constraint
        for table in Base.metadata.sorted_tables
        for constraint in sorted(table.foreign_key_constraints, key=lambda it: str(it.name))
    ]


def dangling(session: Session, reference: ForeignKeyConstraint, *, above: int) -> tuple[int, list[str]]:
    """Rows whose reference leads nowhere: the total, and the first by name. Asked of the rows, not of the constraint."""
    element = reference.elements[0]
    child, parent = element.parent.name, element.column
    table = element.parent.table
    where = f"NOT EXISTS (SELECT 1 FROM {parent.table.name} p WHERE p.{parent.name} = c.{child})"  # noqa: S608 - our names
    where = f"c.{child} IS NOT NULL AND {where}"
    return _listed(session, table, where, above=above, shows=(child,))


def broken_checks(session: Session, *, above: dict[str, int]) -> Iterator[tuple[str, int, list[str]]]:
    """(constraint, total, first rows by name) of every CHECK of the models that rows break and no row invariant covers."""
    covered = {(each.table, f"ck_{each.table}_{name}") for each in VIOLATIONS.values() for name in each.forbidden_by}
    for table in Base.metadata.sorted_tables:
        for constraint in sorted(table.constraints, key=lambda it: str(it.name)):
            name = str(constraint.name)
            if isinstance(constraint, CheckConstraint) and (table.name, name) not in covered:
                total, rows = _listed(session, table, f"NOT ({constraint.sqltext})", above=above.get(table.name, 0))
                if total:
                    yield name, total, rows


def _listed(
    session: Session, table: Table, where: str, *, above: int, shows: tuple[str, ...] = ()
) -> tuple[int, list[str]]:
    keys = tuple(column.name for column in table.primary_key)
    if above and id_column(table) is not None:
        where = f"c.{keys[0]} > {above:d} AND ({where})"
    names = keys + tuple(name for name in shows if name not in keys)
    columns = ", ".join(f"c.{name}" for name in names)
    # Names come from our own models; nothing of a person's input stands in this text.
    sql = f"SELECT COUNT(*) OVER (), {columns} FROM {table.name} c WHERE {where} ORDER BY {columns} LIMIT {CAP:d}"  # noqa: S608 - our names
    rows = session.execute(text(sql)).all()
    return (int(rows[0][0]) if rows else 0), [named(table.name, names, row[1:]) for row in rows]
