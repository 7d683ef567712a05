"""What does the reference executor remember, so that a kill at any moment loses nothing?

One SQLite file: runs, cards (each attempt at a task), the versions of providers, and the events that must still reach PLMS.
A task's end and its event are one transaction; times are seconds since 1970 on the machine's clock, so that a restart
goes on where the killed process stopped. Money is whole micro-dollars.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast
from uuid import uuid4

from plms_pipeline.errors import BadInput
from plms_pipeline.pas.reference.machine import CardState, RunState

Connection = sqlite3.Connection
StoreError = sqlite3.Error
VERSION: Final = 1
# What workers tell of a card.
BEAT: Final = "beat"
KPI: Final = "kpi"
RECEIPT: Final = "receipt"
_MICRO: Final = Decimal(1_000_000)
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, request_key TEXT UNIQUE NOT NULL, body_sha256 TEXT NOT NULL, project_id INTEGER NOT NULL,
  run_kind TEXT NOT NULL, tasks_total INTEGER NOT NULL CHECK (tasks_total > 0), cap_micro INTEGER CHECK (cap_micro >= 0),
  sandbox INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, spend_micro INTEGER NOT NULL DEFAULT 0, rounds INTEGER NOT NULL
  DEFAULT 0, created_at REAL NOT NULL, ended_at REAL, CHECK (cap_micro IS NULL OR spend_micro <= cap_micro)
) STRICT;
CREATE TABLE cards (
  id INTEGER PRIMARY KEY, card_key TEXT UNIQUE NOT NULL, body_sha256 TEXT NOT NULL, card_json TEXT NOT NULL,
  pas_task_id TEXT UNIQUE NOT NULL, run_id TEXT NOT NULL REFERENCES runs(run_id), task_id TEXT NOT NULL, attempt INTEGER NOT
  NULL, lane INTEGER NOT NULL, priority REAL NOT NULL, state TEXT NOT NULL, is_newest INTEGER NOT NULL DEFAULT 1, is_command
  INTEGER NOT NULL, started_at REAL, due_at REAL, left_s REAL, receipt_json TEXT, error TEXT, ended_at REAL,
  held INTEGER NOT NULL DEFAULT 0, UNIQUE (run_id, task_id, attempt)
) STRICT;
CREATE INDEX cards_due ON cards (due_at) WHERE state = 'running';
CREATE INDEX cards_open ON cards (lane, priority DESC, id) WHERE state IN ('queued', 'running');
CREATE INDEX cards_run ON cards (run_id, id);
CREATE TABLE providers (name TEXT PRIMARY KEY, version TEXT NOT NULL) STRICT;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL, due_at REAL NOT NULL, is_forged
  INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT
) STRICT;
CREATE INDEX events_due ON events (due_at) WHERE state = 'pending';
"""
# Beside the first version, so that a file from before serves on.
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS told (
  card_id INTEGER NOT NULL REFERENCES cards(id), kind TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (card_id, kind, name)
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `runs`."""

    run_id: str
    request_key: str
    body_sha256: str
    project_id: int
    run_kind: str
    tasks_total: int
    cap_micro: int | None
    sandbox: int
    state: RunState
    reason: str | None
    spend_micro: int
    rounds: int
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Card:
    """A row of `cards`. `left_s`: what remains while it is paused; `held`: paused by itself, not with its run."""

    id: int
    card_key: str
    body_sha256: str
    card_json: str
    pas_task_id: str
    run_id: str
    task_id: str
    attempt: int
    lane: int
    priority: float
    state: CardState
    is_newest: int
    is_command: int
    started_at: float | None
    due_at: float | None
    left_s: float | None
    receipt_json: str | None
    error: str | None
    ended_at: float | None
    held: int


@dataclass(frozen=True, slots=True)
class Event:
    """A delivery that is due."""

    id: int
    event_id: str
    path: str
    body: bytes
    is_forged: int
    attempts: int


def open_store(path: str) -> sqlite3.Connection:
    """Open the executor's file, making it when it is new. `path` may be `:memory:` in tests.

    Raises:
        BadInput: the file holds something else, or cannot be opened (`bad_pas_db`).
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing either way. Only a power cut may take the last moment, which is no reason to wait
        # for the disk three times per card in an executor that is there to try things on.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        with writing(connection):
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('store_id', ?)", (uuid4().hex,))
                connection.execute(f"PRAGMA user_version = {VERSION}")
                found = VERSION
            if found == VERSION:
                connection.execute(_ADDED)
    except sqlite3.Error as error:
        raise BadInput(f"{path} cannot be opened as the executor's database ({error}).", code="bad_pas_db") from None
    if found != VERSION:
        connection.close()
        raise BadInput(f"{path} is not a database of this executor; name another file with --db.", code="bad_pas_db")
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: everything inside the block, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def to_micro(usd: Decimal) -> int:
    """Dollars as whole micro-dollars."""
    return int((usd * _MICRO).to_integral_value())


def to_usd(micro: int) -> Decimal:
    """Whole micro-dollars as dollars."""
    return Decimal(micro) / _MICRO


def store_id(connection: sqlite3.Connection) -> str:
    """The identity of this file, made once."""
    return str(connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()[0])


def run_of(connection: sqlite3.Connection, run_id: str) -> Run | None:
    """The run of that id."""
    row = connection.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return Run(**dict(row)) if row else None


def run_of_request(connection: sqlite3.Connection, request_key: str) -> Run | None:
    """The run that a submission with that key made."""
    row = connection.execute("SELECT * FROM runs WHERE request_key = ?", (request_key,)).fetchone()
    return Run(**dict(row)) if row else None


def add_run(connection: sqlite3.Connection, run: Run) -> None:
    """Write a new run."""
    _insert(connection, "runs", {name: getattr(run, name) for name in Run.__dataclass_fields__})


def change_run(connection: sqlite3.Connection, run_id: str, **values: Any) -> None:
    """Write columns of a run; a run that is over keeps its state whatever is written."""
    if "state" in values:
        cursor = _update(
            connection, "runs", "run_id = ? AND state NOT IN ('completed', 'terminated')", (run_id,), values
        )
        if cursor.rowcount != 1:
            raise RuntimeError(f"run {run_id} is over and cannot become {values['state']}")
    else:
        _update(connection, "runs", "run_id = ?", (run_id,), values)


def card_of(connection: sqlite3.Connection, card_key: str) -> Card | None:
    """The card of that key."""
    return next(_cards(connection, "card_key = ?", card_key), None)


def card_of_attempt(connection: sqlite3.Connection, run_id: str, task_id: str, attempt: int) -> Card | None:
    """The card of one attempt at a task."""
    return next(_cards(connection, "run_id = ? AND task_id = ? AND attempt = ?", run_id, task_id, attempt), None)


def newest_cards(connection: sqlite3.Connection, run_id: str) -> list[Card]:
    """The newest attempt at each task of a run, in order of submission."""
    return list(_cards(connection, "run_id = ? AND is_newest = 1 ORDER BY id", run_id))


def add_card(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """Write a new card, which becomes the newest attempt at its task."""
    connection.execute(
        "UPDATE cards SET is_newest = 0 WHERE run_id = ? AND task_id = ?", (values["run_id"], values["task_id"])
    )
    _insert(connection, "cards", values)


def change_card(connection: sqlite3.Connection, card_id: int, **values: Any) -> None:
    """Write columns of a card; one that has ended stays as it is.

    Raises:
        RuntimeError: it has ended.
    """
    cursor = _update(
        connection,
        "cards",
        "id = ? AND state NOT IN ('succeeded', 'failed', 'skipped', 'cancelled')",
        (card_id,),
        values,
    )
    if cursor.rowcount != 1:
        raise RuntimeError(f"card {card_id} has ended and cannot change")


def due_cards(connection: sqlite3.Connection, now: float, limit: int) -> list[Card]:
    """Running cards whose time is over, the first that ended first."""
    return list(_cards(connection, "state = 'running' AND due_at <= ? ORDER BY due_at, id LIMIT ?", now, limit))


def running_commands(connection: sqlite3.Connection) -> list[Card]:
    """Cards whose command runs, or ran when the process was killed."""
    return list(_cards(connection, "is_command = 1 AND state IN ('running', 'paused') ORDER BY id"))


def startable(connection: sqlite3.Connection, lanes: Iterable[int], limit: int) -> list[Card]:
    """Queued cards of runs that execute, in lanes with room: the most urgent first, then in order of submission."""
    numbers = tuple(lanes)
    marks = ", ".join("?" * len(numbers))
    working = "run_id IN (SELECT run_id FROM runs WHERE state = 'executing')"
    where = f"state = 'queued' AND held = 0 AND lane IN ({marks}) AND {working} ORDER BY priority DESC, id LIMIT ?"
    return list(_cards(connection, where, *numbers, limit))


def running_by_lane(connection: sqlite3.Connection) -> dict[int, int]:
    """Cards that run now, per lane."""
    rows = connection.execute("SELECT lane, count(*) FROM cards WHERE state = 'running' GROUP BY lane")
    return dict(rows)


def next_due(connection: sqlite3.Connection) -> float | None:
    """When the next running card ends."""
    return cast(
        "float | None",
        connection.execute("SELECT min(due_at) FROM cards WHERE state = 'running' AND due_at IS NOT NULL").fetchone()[
            0
        ],
    )


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many runs are active, cards queued, cards and receipts there are."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM runs WHERE state IN ('executing', 'paused')) AS active_runs,"
        " (SELECT count(*) FROM cards WHERE state IN ('queued', 'waiting')) AS queued_tasks,"
        " (SELECT count(*) FROM cards) AS total_tasks,"
        " (SELECT count(*) FROM cards WHERE receipt_json IS NOT NULL) AS total_receipts"
    ).fetchone()
    return dict(row)


def open_cards_by_run(connection: sqlite3.Connection) -> dict[str, int]:
    """Cards that run now, per run."""
    rows = connection.execute("SELECT run_id, count(*) FROM cards WHERE state = 'running' GROUP BY run_id")
    return dict(rows)


def providers(connection: sqlite3.Connection) -> dict[str, str]:
    """Name → version of every provider."""
    return dict(connection.execute("SELECT name, version FROM providers ORDER BY name"))


def know_providers(connection: sqlite3.Connection, matrix: Mapping[str, str]) -> None:
    """Learn providers that were unknown; the version of a known one stays."""
    connection.executemany("INSERT OR IGNORE INTO providers VALUES (?, ?)", list(matrix.items()))


def add_event(connection: sqlite3.Connection, **values: Any) -> None:
    """Put an event into the outbox."""
    _insert(connection, "events", values)


def due_events(connection: sqlite3.Connection, now: float, limit: int) -> list[Event]:
    """Deliveries that are due, the longest waiting first."""
    rows = connection.execute(
        "SELECT id, event_id, path, body, is_forged, attempts FROM events WHERE state = 'pending' AND due_at <= ?"
        " ORDER BY due_at, id LIMIT ?",
        (now, limit),
    )
    return [Event(**dict(row)) for row in rows]


def next_event_due(connection: sqlite3.Connection) -> float | None:
    """When the next delivery is due."""
    return cast(
        "float | None", connection.execute("SELECT min(due_at) FROM events WHERE state = 'pending'").fetchone()[0]
    )


def change_event(connection: sqlite3.Connection, event_id: int, **values: Any) -> None:
    """Write columns of an event."""
    _update(connection, "events", "id = ?", (event_id,), values)


def tell(connection: sqlite3.Connection, card_id: int, kind: str, name: str, *, at: float, body: str) -> None:
    """Keep what a worker told of a card; the newest word of a kind and name stands."""
    connection.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)", (card_id, kind, name, at, body))


def told(connection: sqlite3.Connection, card_id: int, kind: str) -> dict[str, tuple[float, str]]:
    """What workers told of a card: name → (when, body), in order of name."""
    rows = connection.execute(
        "SELECT name, at, body FROM told WHERE card_id = ? AND kind = ? ORDER BY name", (card_id, kind)
    )
    return {name: (at, body) for name, at, body in rows}


def told_of_run(connection: sqlite3.Connection, run_id: str, kind: str) -> list[tuple[str, str]]:
    """What workers told of the newest attempts at the tasks of a run: (task id, body)."""
    rows = connection.execute(
        "SELECT cards.task_id, told.body FROM told JOIN cards ON cards.id = told.card_id WHERE cards.run_id = ?"
        " AND cards.is_newest = 1 AND told.kind = ? ORDER BY cards.id, told.name",
        (run_id, kind),
    )
    return [(task_id, body) for task_id, body in rows]


def energy_of(connection: sqlite3.Connection, run_id: str) -> float | None:
    """kWh of all receipts of a run; None while there is none."""
    return cast(
        "float | None",
        connection.execute(
            "SELECT sum(json_extract(receipt_json, '$.energy_kwh')) FROM cards WHERE run_id = ?", (run_id,)
        ).fetchone()[0],
    )


def events_by_state(connection: sqlite3.Connection) -> dict[str, int]:
    """How many events are pending, delivered, refused and lost."""
    return dict(connection.execute("SELECT state, count(*) FROM events GROUP BY state"))


def _cards(connection: sqlite3.Connection, where: str, *parameters: Any) -> Iterator[Card]:
    for row in connection.execute(f"SELECT * FROM cards WHERE {where}", parameters):  # noqa: S608 - our own text
        yield Card(**dict(row))


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608 - our names


def _update(
    connection: sqlite3.Connection, table: str, where: str, key: tuple[Any, ...], values: Mapping[str, Any]
) -> sqlite3.Cursor:
    pairs = ", ".join(f"{name} = ?" for name in values)
    return connection.execute(f"UPDATE {table} SET {pairs} WHERE {where}", (*values.values(), *key))  # noqa: S608 - our names
