"""How is a question asked, or a row written, a thousand times a second?

Through SQLAlchemy a small SELECT costs ten times what SQLite needs for it: a session, a transaction object, a result with its
metadata. Here the statement is still written in SQLAlchemy, once for both databases, but on SQLite its text goes straight to
the driver and the rows come back as the driver gives them. Such raw rows are enough to see that nothing has changed; whoever
needs values has them converted by the columns' own types (`typed`). On PostgreSQL, where the network costs more than all of
this, the statement is executed as usual and the rows are typed already. Rows to insert go the same way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, Protocol, cast

from sqlalchemy import ClauseElement, Column, ColumnElement, Delete, Engine, Select, Table, Update, insert, or_
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from plms_pipeline.registry.types import UtcDateTime

Row = tuple[Any, ...]
Rows = tuple[Row, ...]
Convert = Callable[[Any], Any]
_DRIVER = "plms.driver"
_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")


Parts = tuple[str, dict[str, Any], dict[str, Convert]]


def _parts(statement: ClauseElement) -> Parts:
    """A statement's text for SQLite, the parameters that are constants, and how the others become values of the driver."""
    compiled: Any = statement.compile(dialect=_SQLITE)
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


class Prepared:
    """A SELECT with named parameters, put together once; without lists in IN, whose text depends on their length."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement

    @cached_property
    def for_sqlite(self) -> Parts:
        """Its text, the parameters that are constants, and how the others become values of the driver."""
        return _parts(self.statement)

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


class Change:
    """An UPDATE or DELETE with named parameters, put together once.

    What a session holds of the rows is not looked at: for stores that hold none.
    """

    def __init__(self, statement: Update | Delete) -> None:
        self._statement = statement

    @cached_property
    def _for_sqlite(self) -> Parts:
        return _parts(self._statement)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(cast("Any", self._statement.compile(dialect=_SQLITE)).binds)

    def wants(self, name: str) -> bool:
        """Whether the statement has such a parameter."""
        return name in self._names

    def into(self, session: Session, **values: Any) -> int:
        """Change rows in the session's transaction; how many there were."""
        driver = _driver(session)
        if driver is None:
            return int(session.connection().execute(self._statement, values).rowcount)
        text, constants, convert = self._for_sqlite
        for name, how in convert.items():
            values[name] = how(values[name])
        return int(driver.execute(text, {**constants, **values}).rowcount)


class Inserts:
    """Rows of one table, whose INSERT is put together once for each set of columns.

    Args:
        model: the table's class.
        keeps_first: whether a row that another one excludes is left out instead of an error.
    """

    def __init__(self, model: Any, *, keeps_first: bool = False) -> None:
        self._table: Table = model.__table__
        self._tail = " ON CONFLICT DO NOTHING" if keeps_first else ""
        self._statement = postgresql.insert(model).on_conflict_do_nothing() if keeps_first else insert(model)
        self._known: dict[tuple[str, ...], tuple[str, tuple[tuple[str, Convert | None], ...], Row]] = {}

    def into(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows that all name the same columns, in the session's transaction; how many there are now."""
        driver = _driver(session)
        if driver is None:
            options = {"preserve_rowcount": True}
            told = session.connection().execute(self._statement, [dict(row) for row in rows], execution_options=options)
            return int(told.rowcount)
        columns = tuple(rows[0])
        known = self._known.get(columns)
        if known is None:
            known = self._known[columns] = self._put_together(columns)
        text, given, defaults = known
        values = [(*(row[name] if how is None else how(row[name]) for name, how in given), *defaults) for row in rows]
        return int(driver.executemany(text, values).rowcount)

    def _put_together(self, columns: tuple[str, ...]) -> tuple[str, tuple[tuple[str, Convert | None], ...], Row]:
        """The statement, how each value is converted, and what the columns get that nobody named."""
        others: list[tuple[str, Any]] = []
        for column in self._table.columns:
            default: Any = column.default
            if column.name not in columns and default is not None:
                if not default.is_scalar:
                    raise TypeError(f"{self._table.name}.{column.name} has a default that is computed: name it")
                how = _binder(column)
                others.append((column.name, default.arg if how is None else how(default.arg)))
        names = (*columns, *(name for name, _ in others))
        holes = ", ".join("?" * len(names))
        text = f"INSERT INTO {self._table.name} ({', '.join(names)}) VALUES ({holes}){self._tail}"  # noqa: S608 - names of ours
        given = tuple((name, _binder(self._table.columns[name])) for name in columns)
        return text, given, tuple(value for _, value in others)


def _binder(column: Column[Any]) -> Convert | None:
    how: Convert | None = column.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
    # The rows of one start bear one moment, two dozen times.
    return lru_cache(maxsize=16)(how) if how is not None and isinstance(column.type, UtcDateTime) else how


def _driver(session: Session) -> sqlite3.Connection | None:
    """The driver's connection under a session's transaction; None where the database is not SQLite."""
    known: tuple[Any, sqlite3.Connection | None] | None = session.info.get(_DRIVER)
    transaction = session.get_transaction()
    # Looking it up costs as much as a small statement, and a start has a dozen of them.
    if known is not None and known[0] is transaction and transaction is not None:
        return known[1]
    connection: Any = session.connection()
    found = connection.connection.dbapi_connection if connection.dialect.name == AskingDriver.dialect else None
    session.info[_DRIVER] = (session.get_transaction(), found)
    return found


@contextmanager
def savepoint(session: Session) -> Iterator[None]:
    """A part of a write transaction that is undone by itself when it raises, and leaves the rest as it was."""
    driver = _driver(session)
    if driver is None:
        with session.begin_nested():
            yield
        return
    driver.execute("SAVEPOINT part")
    try:
        yield
        session.flush()
    except BaseException as error:
        session.expunge_all()
        try:
            driver.execute("ROLLBACK TO part")
            driver.execute("RELEASE part")
        except sqlite3.Error as gone:
            # A full disk ends the whole transaction: what is said is why, and not that there is nothing to go back to.
            # Nor is Ctrl-C, which closes the connection under a statement, an error of the database.
            is_why = isinstance(error, sqlite3.Error) or not isinstance(error, Exception)
            raise (error if is_why else gone) from None
        raise
    driver.execute("RELEASE part")


def harms_all(error: Exception) -> bool:
    """Whether the database failed, and with it everything in the transaction; not so when it refused one row."""
    return isinstance(error, sqlite3.Error | DBAPIError) and not isinstance(
        error, sqlite3.IntegrityError | IntegrityError
    )


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


def asking_in(session: Session) -> Asking:
    """Questions inside of a session's transaction."""
    driver = _driver(session)
    return AskingSession(session) if driver is None else AskingDriver(driver)


def asked(session: Session, prepared: Prepared, **values: Any) -> list[Row]:
    """The rows of one answer inside of a session's transaction, as values of the columns' types."""
    ask = asking_in(session)
    return prepared.typed(ask.rows(prepared, **values), ask.dialect)


def one_of(column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """`column IN (values)` with constants, for a statement that is prepared: its text depends on nothing else."""
    return or_(*(column == value for value in values))


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
