"""Where do temporary copies live, and who cleans up after a process that was killed?

Each folder's name carries the process id. A killed process cannot remove its own; the next one that needs a folder removes
those of dead processes, but only after an hour, because two containers may share a temporary folder and not their ids.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from plms_pipeline.instance.process import lives

PREFIX: Final = "plms-kpi-"
LEFT_AFTER_S: Final = 3600.0


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder of ours below the system's temporary folder, removed at the end whatever lies in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()
    try:
        # The file system's own clock: what is compared with it was stamped by it.
        sweep(folder.parent, now=folder.stat().st_mtime)
        yield folder
    finally:
        remove(folder)


def sweep(parent: Path, *, now: float) -> None:
    """Remove folders of dead processes of this user that nobody touched for an hour before `now` (epoch seconds)."""
    for path in parent.glob(f"{PREFIX}*-*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            state = path.lstat()
            is_left = state.st_uid == os.geteuid() and now - state.st_mtime > LEFT_AFTER_S
            if is_left and pid.isdigit() and not lives(int(pid)):
                remove(path)


def remove(folder: Path) -> None:
    """Remove a tree, also when its owner took the rights away; a symbolic link is removed, never followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink(missing_ok=True)
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for parent, folders, _ in os.walk(folder):
            for name in folders:  # before os.walk enters them
                if not (Path(parent) / name).is_symlink():
                    with contextlib.suppress(OSError):
                        (Path(parent) / name).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
