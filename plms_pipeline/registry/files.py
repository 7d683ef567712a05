"""How is a SQLite registry opened by somebody who only reads, and is its file still what was opened?

Nothing of it may change: not the journal mode of a file that is none of ours, not one byte of an empty file. Where the folder
may be written the connection is an ordinary one that refuses to write (`query_only`), because SQLite's own read-only mode
leaves `-shm` and `-wal` behind, which then belong to whoever read last. Where it may not, SQLite's read-only mode cannot make
those files; a database without them is complete by itself and is read as it lies (`immutable`), provided that it has not
changed by the time the answer is given.

SQLite looks at the file only for what it does not remember: a file that was moved away, replaced or overwritten goes on
being answered from memory until somebody writes. So whoever holds it open looks at it before each use (`Watched`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from plms_pipeline.errors import Unavailable

_STEPS_BETWEEN_LOOKS = 1_000_000
DAMAGED = "registry_damaged"
# Pages of SQLite have 512 bytes and more, and a database is pages and nothing else.
SMALLEST_PAGE = 512


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


class Watched:
    """The file of a registry that is held open. A look costs one `stat`.

    What lies in the file is not read: a descriptor of ours would drop SQLite's POSIX locks when it is closed, and SQLite itself
    can look past its locks only at a file that nobody writes (`immutable`), which a checkpoint does all the time.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> None:
        """The file must be the one that was seen first, and still a database. One that is yet to be made is not missed.

        Raises:
            Unavailable: it is gone: who has it open would write what nobody finds, and a new connection would begin empty
                books in its place. Or another file lies there, or it was overwritten with something that is no whole number
                of a database's pages.
        """
        try:
            found = _state(self.file)
        except OSError:
            if self._seen is None:
                return
            raise missing(self.file, was_there=True) from None
        if found == self._seen:
            return
        if self._seen is not None and found[0] != self._seen[0]:
            raise Unavailable(
                f"Another file lies where the registry {self.file} was, which this process still has open; start it again.",
                code="registry_unavailable",
            )
        if self._seen is not None and self._seen[1] and (found[1] == 0 or found[1] % SMALLEST_PAGE):
            raise damaged(str(self.file), f"its {found[1]} bytes are no whole pages")
        self._seen = found


def damaged(name: str, reason: str) -> Unavailable:
    """The registry is no database any more: what everything needs is away, and no fault of whoever asks."""
    return Unavailable(
        f"The registry {name} is no intact SQLite database ({reason}); restore it from a backup or from the copy "
        "beside it (registry.db.before-<revision>), or point PLMS_DATABASE_URL at the right file.",
        code=DAMAGED,
    )


def missing(file: Path, *, was_there: bool = False) -> Unavailable:
    """There is no file, and whoever only reads makes none."""
    if was_there:
        remedy, code = "bring it back, or restore a backup with `plms backup restore`", "registry_unavailable"
    else:
        remedy, code = "`plms db upgrade` makes it", "registry_not_at_head"
    return Unavailable(f"There is no registry at {file}{' any more' if was_there else ''}; {remedy}.", code=code)


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _is_open(file: Path) -> bool:
    """Whether a connection, or one that died, has left its log or its index beside the file."""
    return any(file.with_name(file.name + end).exists() for end in ("-wal", "-shm", "-journal"))
