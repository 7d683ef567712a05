"""How does a file come to be whole or not at all?

Temporary name in the same folder, fsync, `os.replace`, fsync of the folder: without the first fsync a power cut leaves an empty
file under the right name, without the last one the old file. Nothing temporary stays when the writing fails. The temporary name
carries the process id, so what a killed process left behind can be told from what a living one is writing, and is swept by the
next writer of the same file.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from plms_pipeline.instance.process import lives

_AS_THE_UMASK_SAYS: Final = 0o666


class Abandoned(Exception):
    """Raised while a file is being made: keep the old one, and say nothing."""


@contextmanager
def replacing(target: Path, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Write `target` atomically: what is written into the yielded stream replaces it when the block ends without an error.

    An `Abandoned` raised inside the block removes the temporary file and ends the block quietly.

    Args:
        target: the file; its folder is made when it is missing.
        mode: its rights, whatever the umask; under no name does it ever have wider ones. None: as the umask says.
    """
    with made_aside(target) as partial:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(partial, flags, _AS_THE_UMASK_SAYS if mode is None else mode)
        with os.fdopen(descriptor, "wb") as stream:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield stream


@contextmanager
def made_aside(target: Path) -> Iterator[Path]:
    """A path to make a file at, for whoever needs a name and no stream; it replaces `target` as in `replacing`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, target)  # noqa: PTH105 - the call that is atomic by contract
        sync_folder(target.parent)
    except Abandoned:
        return
    finally:
        partial.unlink(missing_ok=True)


def write_if_different(path: Path, text: str) -> bool:
    """Make `path` hold `text`, atomically; True if it had to be written.

    A file that is right already is left alone, so that two processes which start at once do not race and a read-only
    mount works once it is filled.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return False
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))
    return True


def sync_folder(folder: Path) -> None:
    """Make what was created and renamed in `folder` durable."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(target: Path) -> None:
    """Remove temporary files of `target` whose process is gone."""
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        pid = stale.name.removeprefix(f".{target.name}.").split(".")[0]
        if pid.isdigit() and not lives(int(pid)):
            stale.unlink(missing_ok=True)
