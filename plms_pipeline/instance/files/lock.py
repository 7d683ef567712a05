"""How is a thing that may run once on a data directory kept from running twice?"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plms_pipeline.errors import VerdictNo


@contextmanager
def exclusive(path: Path, note: str, what: str) -> Iterator[None]:
    """Hold a lock file for as long as the block runs; the operating system lets go of it when the process dies.

    Args:
        path: the lock file; its text says to others who holds it.
        note: what to tell others, for instance the process id and the URL.
        what: the thing that runs at most once, for the error.

    Raises:
        VerdictNo: somebody else holds it (`already_running`).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "unknown"
            raise VerdictNo(
                f"{what} already runs on this data directory ({holder}); use that one, stop it, or set PLMS_DATA_DIR.",
                code="already_running",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        yield
    finally:
        os.close(descriptor)
