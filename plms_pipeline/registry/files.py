"""How is a SQLite registry opened by somebody who only reads?

Nothing of it may change: not the journal mode of a file that is none of ours, not one byte of an empty file. Where the folder
may be written the connection is an ordinary one that refuses to write (`query_only`), because SQLite's own read-only mode
leaves `-shm` and `-wal` behind, which then belong to whoever read last. Where it may not, SQLite's read-only mode cannot make
those files; a database without them is complete by itself and is read as it lies (`immutable`), provided that it has not
changed by the time the answer is given.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_STEPS_BETWEEN_LOOKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One way to read a database file: `uri` for SQLite; `seen` is the file as it lay there when nobody may change it."""

    file: Path
    uri: str
    seen: tuple[int, int, int] | None = None

    @property
    def is_torn(self) -> bool:
        """Whether a file that was taken for immutable was written all the same: what was read may not fit together."""
        return self.seen is not None and (_state(self.file) != self.seen or _is_open(self.file))

    def connector(self, timeout_s: float) -> Callable[[], sqlite3.Connection]:
        """A function that connects for reading only."""

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(self.uri, uri=True, timeout=timeout_s, check_same_thread=False)
            connection.execute("PRAGMA query_only = ON")
            # SQLite holds the thread for as long as a statement takes. A look at the interpreter now and then lets Ctrl-C in.
            connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)
            return connection

        return connect


def snapshot_of(file: Path) -> Snapshot:
    """How to read this file."""
    uri = f"file:{quote(str(file))}"
    if not file.exists() or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        return Snapshot(file, f"{uri}?mode=rw")
    if os.access(file.parent, os.W_OK) or _is_open(file):
        return Snapshot(file, f"{uri}?mode=ro")
    return Snapshot(file, f"{uri}?mode=ro&immutable=1", _state(file))


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _is_open(file: Path) -> bool:
    """Whether a connection, or one that died, has left its log or its index beside the file."""
    return any(file.with_name(file.name + end).exists() for end in ("-wal", "-shm", "-journal"))
