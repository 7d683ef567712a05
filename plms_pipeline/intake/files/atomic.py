"""How does a file come to be whole or not at all?

Temporary name in the same folder, fsync, `os.replace`, fsync of the folder. The temporary name carries the process id, so
what a killed process left behind can be told from what a living one is writing, and is swept by the next writer of the
same file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final
from uuid import uuid4

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.process import lives

# Nobody who names another place helps these.
_ABOUT_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


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


@contextmanager
def named_by(flag: str, path: Path) -> Iterator[None]:
    """What is written inside goes where a person said; a place that cannot take it is their mistake, a full disk is not.

    Args:
        flag: by which the place was named, such as `--output`.
        path: the file or folder.

    Raises:
        BadInput: it is no folder, may not be written, or cannot be named so (`bad_output`).
        OSError: as it came, of everything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _ABOUT_THE_DISK or not _is_about(error, path.absolute()):
            raise
        raise BadInput(
            f"{flag} {path} cannot be written ({error.strerror or error}); name a place that may be.", code="bad_output"
        ) from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error speaks of a place, something in it, beside it (a temporary file) or above it."""
    if not isinstance(error.filename, str):
        return True
    wrong = Path(error.filename).absolute()
    return wrong.is_relative_to(path.parent) or path.is_relative_to(wrong)


@contextmanager
def folder_named_by(flag: str, folder: Path) -> Iterator[None]:
    """As `named_by`, for a folder: it is made first, because who finds out after a long work has worked for nothing.

    One that was made for a work that then failed, and is empty, is taken away again.

    Raises:
        BadInput: as `named_by`.
    """
    with named_by(flag, folder):
        is_new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
            yield
        except BaseException:
            if is_new:
                with suppress(OSError):
                    folder.rmdir()
            raise
