"""How does a file come to be whole or not at all?

Temporary name in the same folder, fsync, `os.replace`, fsync of the folder. The temporary name carries the process id, so
what a killed process left behind can be told from what a living one is writing, and is swept by the next writer of the
same file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from plms_pipeline.instance.process import lives


def sweep(target: Path) -> None:
    """Remove temporary files of `target` whose process is gone."""
    for stale in target.parent.glob(f".{target.name}.*.tmp"):
        pid = stale.name.removeprefix(f".{target.name}.").split(".")[0]
        if pid.isdigit() and not lives(int(pid)):
            stale.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Write `target` atomically: what is written into the yielded stream replaces it when the block ends without an error.

    An `Abandoned` raised inside the block removes the temporary file and ends the block quietly.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    temporary = _temporary(target)
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)  # noqa: PTH105 - the call that is atomic by contract
        sync_folder(target.parent)
    except Abandoned:
        return
    finally:
        temporary.unlink(missing_ok=True)


class Abandoned(Exception):
    """Raised inside `replacing` to keep the old file."""
