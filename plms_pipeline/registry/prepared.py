"""How is a question asked that is asked a thousand times a second?

Through SQLAlchemy a small SELECT costs ten times what SQLite needs for it: a session, a transaction object, a result with its
metadata. Here the statement is still written in SQLAlchemy, once for both databases, but on SQLite its text goes straight to
the driver and the rows come back as the driver gives them. Such raw rows are enough to see that nothing has changed; whoever
needs values has them converted by the columns' own types (`typed`). On PostgreSQL, where the network costs more than all of
this, the statement is executed as usual and the rows are typed already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import Engine, Select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.orm import Session

Row = tuple[Any, ...]
Rows = tuple[Row, ...]
Convert = Callable[[Any], Any]
_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")


class Prepared:
    """A SELECT with named parameters, put together once; without lists in IN, whose text depends on their length."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement

    @cached_property
    def for_sqlite(self) -> tuple[str, dict[str, Any], dict[str, Convert]]:
        """Its text, the parameters that are constants, and how the others become values of the driver."""
        compiled = self.statement.compile(dialect=_SQLITE)
        convert: dict[str, Convert] = {}
        for name, bind in compiled.binds.items():
            how = bind.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
            if how is not None:
                convert[name] = how
        given = compiled.construct_params(_check=False)
        open_names = {name for name, bind in compiled.binds.items() if bind.required}
        constants = {
            name: convert[name](value) if name in convert else value
            for name, value in given.items()
            if name not in open_names
        }
        return str(compiled), constants, {name: how for name, how in convert.items() if name in open_names}

    @cached_property
    def _columns(self) -> tuple[tuple[int, Convert], ...]:
        found = []
        for place, column in enumerate(self.statement.selected_columns):
            how = column.type.dialect_impl(_SQLITE).result_processor(_SQLITE, None)
            if how is not None:
                found.append((place, how))
        return tuple(found)

    def typed(self, rows: Iterable[Row], dialect: str) -> list[Row]:
        """Rows of an answer as values of the columns' types; needs no open snapshot.

        Args:
            rows: as `Asking.rows` gave them.
            dialect: what that `Asking` says it asks.
        """
        if dialect != AskingDriver.dialect:
            return list(rows)
        columns, typed = self._columns, []
        for row in rows:
            values = list(row)
            for place, how in columns:
                values[place] = how(values[place])
            typed.append(tuple(values))
        return typed


class Asking(Protocol):
    """One consistent snapshot of the books, open for questions."""

    dialect: str

    def rows(self, prepared: Prepared, **values: Any) -> Rows:
        """The rows of an answer: hashable, and equal when nothing has changed; `Prepared.typed` makes values of them."""
        ...


class AskingDriver:
    """Asks SQLite's driver."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def rows(self, prepared: Prepared, **values: Any) -> Rows:
        """As the driver gives them."""
        text, constants, convert = prepared.for_sqlite
        for name, how in convert.items():
            values[name] = how(values[name])
        return tuple(self._execute(text, {**constants, **values}).fetchall())


class AskingSession:
    """Asks through a session."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()
        # What comes through a session is typed, whichever database it comes from.
        self.dialect = "any"

    def rows(self, prepared: Prepared, **values: Any) -> Rows:
        """Typed already."""
        return tuple(tuple(row) for row in self._connection.execute(prepared.statement, values))


class Drivers:
    """Connections of SQLite's driver that nobody uses at the moment; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._free: list[sqlite3.Connection] = []

    @contextmanager
    def snapshot(self) -> Iterator[AskingDriver]:
        """A connection of one's own inside a transaction that only reads.

        Raises:
            sqlite3.Error: what the driver says, as it says it.
        """
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._new()
        is_sound = False
        try:
            connection.execute("BEGIN")
            try:
                yield AskingDriver(connection)
            finally:
                connection.execute("ROLLBACK")
            is_sound = True
        finally:
            if is_sound:
                self._free.append(connection)
            else:
                connection.close()

    def _new(self) -> sqlite3.Connection:
        # Through the engine, which sets the PRAGMAs; detached, so that the pool does not miss it.
        pooled = self._engine.raw_connection()
        connection: Any = pooled.dbapi_connection
        pooled.detach()
        return connection  # type: ignore[no-any-return]  # the pool does not name the driver's type

    def close(self) -> None:
        """Close those that are free."""
        while self._free:
            self._free.pop().close()
