"""In which folder do the processes of one server meet, and who removes it?

Whoever made it removes it; after `kill -9` nobody does, so each folder says whose it is, and the next server removes those
whose owner is gone. The name of a process is its number and when it began: the number alone may by now be somebody else's,
who lives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plms_pipeline.monitoring.process import is_dead, this_holder

OWNER = "owner"


@contextmanager
def own_folder(prefix: str) -> Iterator[Path]:
    """A new folder among the temporary ones, removed at the end; those of dead servers are removed first.

    Args:
        prefix: what its name begins with; one for each purpose.
    """
    sweep(Path(tempfile.gettempdir()), prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / OWNER).write_text(this_holder(), encoding="utf-8")
        yield folder


@contextmanager
def told(variable: str, value: str) -> Iterator[None]:
    """What the processes that are started in the block find in their environment."""
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def sweep(parent: Path, prefix: str) -> list[Path]:
    """Remove the folders of servers that are gone; what was removed.

    Only what belongs to this account and names an owner of this machine who is known to be dead: the place is everybody's.
    """
    removed = []
    for folder in sorted(parent.glob(f"{prefix}*")):
        with suppress(OSError, UnicodeDecodeError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            if is_dead((folder / OWNER).read_text(encoding="utf-8").strip()):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed
