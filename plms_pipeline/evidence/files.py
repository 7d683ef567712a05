"""Where does the observer write while the registry is away? One file per process, so that nobody waits for anybody.

`$PLMS_DATA_DIR/evidence/spool/<process>.jsonl`. Appends are synced before they count. Whoever replays renames the file
first, so that a line that is written meanwhile goes into a new one; it is removed when its rows are in the registry.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def spool_folder(data_dir: Path) -> Path:
    """Where spools lie."""
    return data_dir / "evidence" / "spool"


class SpoolFile:
    """The spool of one process. Appends must come from one thread at a time.

    Args:
        folder: of all spools.
        name: of the process; letters, digits, dots and dashes.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path = folder / f"{name}.jsonl"

    def append(self, lines: Sequence[str]) -> None:
        """Write lines, on the disk when this returns.

        Raises:
            OSError: the disk is full or may not be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # A line that a crash cut off must not swallow the first of these.
            left = memoryview(("\n" + "\n".join(lines) + "\n").encode())
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def take_spools(folder: Path, owner: str) -> list[Path]:
    """Every spool that waits, renamed so that it belongs to `owner`; also what an earlier owner left behind."""
    taken = []
    for path in sorted(folder.glob("*.jsonl")):
        target = path.with_suffix(f".{owner}.replay")
        try:
            path.replace(target)
        except FileNotFoundError:  # another process was faster
            continue
        taken.append(target)
    return sorted({*taken, *folder.glob("*.replay")})


def read_spool(path: Path) -> list[str]:
    """The lines of a spool; nothing when somebody else has replayed it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def drop_spool(path: Path) -> None:
    """It is in the registry."""
    path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Keep a spool with lines that cannot be read, for a person; where it lies now."""
    target = path.with_suffix(".broken")
    path.replace(target)
    return target
