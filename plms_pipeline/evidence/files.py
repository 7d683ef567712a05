"""Where does the observer write while the registry is away? One file per process, so that nobody waits for anybody.

`$PLMS_DATA_DIR/evidence/spool/<process>.jsonl`. Appends are synced before they count. Whoever replays renames the file
first, so that a line that is written meanwhile goes into a new one; it is removed when its rows are in the registry. The
file is locked while it is written and while it is read: who opened it just before it was renamed finds that out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path


def spool_folder(data_dir: Path) -> Path:
    """Where spools lie."""
    return data_dir / "evidence" / "spool"


class SpoolFile:
    """The spool of one process; any number of its threads may append.

    Args:
        folder: of all spools.
        name: of the process; letters, digits and dashes.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path = folder / f"{name}.jsonl"

    def append(self, lines: Sequence[str]) -> None:
        """Write lines, on the disk when this returns.

        Raises:
            OSError: the disk is full or may not be written.
        """
        # A line that a crash cut off must not swallow the first of these.
        data = ("\n" + "\n".join(lines) + "\n").encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self._appended(data):
            pass

    def _appended(self, data: bytes) -> bool:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not self._is_still(descriptor):
                return False
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _is_still(self, descriptor: int) -> bool:
        """Whether the file that was opened is the one that lies under the name: it may have been taken meanwhile."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def take_spools(folder: Path, owner: str) -> list[Path]:
    """Every spool that waits, renamed so that nothing is added to it; also what was renamed earlier and not replayed."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            path.replace(path.with_suffix(f".{owner}.replay"))
        except FileNotFoundError:  # another process was faster
            continue
    return sorted(folder.glob("*.replay"))


def read_spool(path: Path) -> list[str]:
    """The lines of a spool that was taken; nothing when somebody else has replayed it."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            # Who was writing when it was renamed has to end first.
            fcntl.flock(file, fcntl.LOCK_EX)
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def drop_spool(path: Path) -> None:
    """It is in the registry."""
    path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Keep a spool with lines that cannot be read, for a person; where it lies now."""
    target = path.with_suffix(".broken")
    if path.exists():
        path.replace(target)
    return target
