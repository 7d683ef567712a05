"""Where does a test get a PostgreSQL database of its own from, without waiting for it?

Copying a database is hundreds of files, and takes longer than most tests do. So a database that comes back with the schema
that it left with gets its first rows again and goes to the next test; one whose schema was touched is dropped.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

# Every definition in the schema with the transaction that wrote it last: whatever a test alters, it shows here.
SCHEMA = """
SELECT md5(string_agg(thing, ',' ORDER BY thing)) FROM (
  SELECT 'class ' || oid || ' ' || xmin AS thing FROM pg_class WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT 'column ' || attrelid || ' ' || attnum || ' ' || a.xmin FROM pg_attribute a
    JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0
  UNION ALL SELECT 'constraint ' || oid || ' ' || xmin FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT 'trigger ' || t.oid || ' ' || t.xmin FROM pg_trigger t
    JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT 'function ' || oid || ' ' || xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'
) AS things
"""
OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def postgres_url(server: Any, database: str) -> str:
    """The URL of a database on the test server, for the driver that the project uses."""
    _, _, query = server.get_uri().partition("?")
    return f"postgresql+psycopg://postgres:@/{database}?{query}"


def execute(server: Any, statement: str) -> None:
    """One statement outside any transaction, as making and dropping databases wants it."""
    engine = create_engine(postgres_url(server, "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


class Clones:
    """Copies of one database, lent to one test at a time.

    Args:
        server: the test server.
        template: the database to copy; nobody may be connected to it while a copy is made.
    """

    def __init__(self, server: Any, template: str) -> None:
        self._server = server
        self._template = template
        self._ready: list[str] = []
        self._schemas: dict[str, str] = {}
        self._connections: dict[str, Any] = {}
        self._tables: list[str] = []
        self._rows: dict[str, bytes] = {}
        self._sequences: list[tuple[str, int | None]] = []

    def take(self) -> str:
        """The name of a copy that nobody else has."""
        if self._ready:
            return self._ready.pop()
        name = f"test_{uuid4().hex[:12]}"
        execute(self._server, f"CREATE DATABASE {name} TEMPLATE {self._template}")
        connection = self._connected(name)
        if not self._tables:
            self._remember(connection)
        self._schemas[name] = connection.execute(text(SCHEMA)).scalar_one()
        return name

    def give_back(self, name: str) -> None:
        """Make a copy as it was, or drop it."""
        connection = self._connected(name)
        # A process that a test killed may still hold locks.
        connection.execute(text(OTHERS))
        if connection.execute(text(SCHEMA)).scalar_one() == self._schemas[name]:
            self._reset(connection)
            self._ready.append(name)
        else:
            self._connections.pop(name).close()
            execute(self._server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    def _connected(self, name: str) -> Any:
        """A connection that stays open as long as the copy lives: a new one would read the whole catalogue anew."""
        if name not in self._connections:
            engine = create_engine(postgres_url(self._server, name), isolation_level="AUTOCOMMIT", poolclass=NullPool)
            self._connections[name] = engine.connect()
        return self._connections[name]

    def _remember(self, connection: Any) -> None:
        names = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        tables = list(connection.execute(text(names)).scalars())
        cursor = connection.connection.cursor()
        for table in tables:
            with cursor.copy(f"COPY {table} TO STDOUT") as copy:
                rows = b"".join(bytes(block) for block in copy)
            if rows:
                self._rows[table] = rows
        listed = "SELECT quote_ident(sequencename), last_value FROM pg_sequences WHERE schemaname = 'public'"
        self._sequences = [(row[0], row[1]) for row in connection.execute(text(listed))]
        self._tables = tables

    def _reset(self, connection: Any) -> None:
        cursor = connection.connection.cursor()
        # Without triggers: rows of the append-only tables go, too, and no order of foreign keys matters.
        cursor.execute("BEGIN; SET LOCAL session_replication_role = replica")
        cursor.execute(";".join(f"DELETE FROM {table}" for table in self._tables))
        for table, rows in self._rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(rows)
        settings = (f"setval('{name}', {last or 1}, {last is not None})" for name, last in self._sequences)
        cursor.execute("SELECT " + ", ".join(settings))
        cursor.execute("COMMIT")
