"""Through which folder do several workers add up what they count, and who removes it?

prometheus_client wants a folder that is new for each server, and names it by an environment variable. Whoever made it removes
it; after `kill -9` nobody does, so each folder says whose it is, and the next server removes those whose owner is gone. The
name of a process is its number and when it began: the number alone may by now be somebody else's, who lives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plms_pipeline.monitoring.process import is_dead, this_holder

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name
PREFIX = "plms-metrics-"
OWNER = "owner"


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """A new folder, named by the environment before the workers import anything, and removed at the end."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / OWNER).write_text(this_holder(), encoding="utf-8")
        before = os.environ.get(FOLDER_VARIABLE)
        os.environ[FOLDER_VARIABLE] = name
        try:
            yield folder
        finally:
            if before is None:
                del os.environ[FOLDER_VARIABLE]
            else:
                os.environ[FOLDER_VARIABLE] = before


def sweep(parent: Path) -> list[Path]:
    """Remove the folders of servers that are gone; what was removed.

    Only what belongs to this account and names an owner of this machine who is known to be dead: the place is everybody's.
    """
    removed = []
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        with suppress(OSError, UnicodeDecodeError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            if is_dead((folder / OWNER).read_text(encoding="utf-8").strip()):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed
