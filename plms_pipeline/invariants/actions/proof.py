"""What is proven tonight, on which snapshot: the window of one proof and the numbers that every check shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from plms_pipeline.invariants.report import Found
from plms_pipeline.invariants.rules import INVARIANTS, Invariant
from plms_pipeline.invariants.store import books, rows
from plms_pipeline.invariants.window import Day, days_to_prove, first_unproven
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.violations import VIOLATIONS
from plms_pipeline.settings import Settings

_TABLE: Final = "table:"
_DAY: Final = "day:"


@dataclass(slots=True)
class Proof:
    """One proof: an open session, what is to be proven (`names`), its window, and counts that are asked for once."""

    session: Session
    registry: Registry
    settings: Settings
    names: Collection[str]
    full: bool
    marks: Mapping[str, tuple[int, int]]
    _counts: dict[str, int] = field(default_factory=dict)
    _newest: dict[str, int] = field(default_factory=dict)
    _days: list[Day] | None = None
    _at_once: Mapping[str, Sequence[Any]] | None = None
    # What the receipts of the window give: two checks need it, and it is the longest part of a proof.
    rebuild: object = None

    def offenders_of(self, invariant: Invariant) -> Found | None:
        """What the indexes say about a row invariant; None when it must be asked on its own.

        A full proof does not ask the indexes.
        """
        if self.full:
            return None
        if self._at_once is None:
            chosen = [INVARIANTS[each] for each in self.names if each in VIOLATIONS]
            try:
                self._at_once = rows.all_at_once(self.session, chosen)
            except SQLAlchemyError:
                # One question that cannot be asked must not silence the others: each is then asked on its own.
                self.session.rollback()
                self._at_once = {}
        found = self._at_once.get(invariant.name)
        if found is None:
            return None
        return rows.told(invariant, found, checked=self.rows_of(VIOLATIONS[invariant.name].table))

    def above(self, table: str) -> int:
        """The id above which the rows of a table are in the window."""
        mark, _ = self.marks.get(_TABLE + table, (0, 0))
        return first_unproven(mark, self.newest(table), full=self.full)

    def newest(self, table: str) -> int:
        """The largest id of a table."""
        if table not in self._newest:
            self._newest[table] = rows.newest_id(self.session, Base.metadata.tables[table])
        return self._newest[table]

    def rows_of(self, table: str) -> int:
        """How many rows a table holds: counted anew in a full proof, else what was counted plus what came since.

        Counting a million rows takes a hundred times as long as finding that none of them offends.
        """
        if table not in self._counts:
            mark, n = (0, 0) if self.full else self.marks.get(_TABLE + table, (0, 0))
            self._counts[table] = n + rows.row_count(self.session, Base.metadata.tables[table], above=mark)
        return self._counts[table]

    def saw_rows(self) -> bool:
        """Whether runs or receipts were counted already."""
        return any(self._counts.get(table) for table in ("project_runs", "task_receipts"))

    def in_window(self, table: str) -> int:
        """How many rows of a table are in the window."""
        above = self.above(table)
        return rows.row_count(self.session, Base.metadata.tables[table], above=above) if above else self.rows_of(table)

    @property
    def days(self) -> frozenset[date]:
        """The days in the window."""
        marks = {
            date.fromisoformat(subject.removeprefix(_DAY)): mark
            for subject, (mark, _) in self.marks.items()
            if subject.startswith(_DAY)
        }
        return days_to_prove(self.every_day(), marks, full=self.full)

    def every_day(self) -> list[Day]:
        """Every day of the book."""
        if self._days is None:
            self._days = books.days(self.session)
        return self._days

    def new_marks(self) -> dict[str, tuple[int, int]]:
        """How far this proof got, as marks for the next one."""
        tables = [table.name for table in Base.metadata.sorted_tables if rows.id_column(table) is not None]
        chosen = self.days
        return {
            **{_TABLE + name: (self.newest(name), self.rows_of(name)) for name in tables},
            **{
                _DAY + each.day.isoformat(): (each.changed_seq, each.n)
                for each in self.every_day()
                if each.day in chosen
            },
        }


def begin(session: Session, registry: Registry, settings: Settings, *, names: Collection[str], full: bool) -> Proof:
    """A proof of some invariants on an open session."""
    return Proof(session, registry, settings, names, full, rows.marks(session))
