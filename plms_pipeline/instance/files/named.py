"""Whose mistake is it that a place cannot be written: of the person who named it, or of the disk?"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from plms_pipeline.errors import BadInput

# Nobody who names another place helps these.
_ABOUT_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


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
