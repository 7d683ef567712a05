"""How is a file of a run read? Up to a limit, for a file that grew beyond all measure must not fill the memory of a server.

What is missing, cannot be read or is too large is one error that names the file; what the bytes mean is asked by the caller.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from plms_pipeline.errors import BadInput, NoData

MAX_DOCUMENT_BYTES: Final = 16 << 20
_PIECE: Final = 1 << 20


def missing(path: Path) -> NoData:
    """A file of a run is gone: what to do about it."""
    return NoData(
        f"There is no file {path}: the run folder was moved or cleaned. Bring it back from a backup, or train again.",
        code="file_missing",
    )


def _ordinary(path: Path) -> IO[bytes]:
    """Open without waiting: whoever finds a pipe or a device in the place of a file must not stand before it for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return os.fdopen(descriptor, "rb")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with _ordinary(path) as stream:
            yield stream
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror or 'no reason given'}); correct its rights or bring it back from a "
            "backup.",
            code="file_unreadable",
        ) from None


def read_whole(path: Path, limit: int) -> bytes:
    """All bytes of a file.

    Args:
        path: the file.
        limit: how many bytes it may have at most.

    Raises:
        NoData: there is none (`file_missing`).
        BadInput: it cannot be read (`file_unreadable`), or is larger (`too_large`).
    """
    with _opened(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise BadInput(f"{path} is larger than {limit >> 20} MiB.", code="too_large")
    return content


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece.

    Raises:
        NoData: there is none (`file_missing`).
        BadInput: it cannot be read (`file_unreadable`).
    """
    digest = hashlib.sha256()
    with _opened(path) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def is_of(content: bytes, sha256: str) -> bool:
    """Whether these are the bytes of this SHA-256."""
    return hmac.compare_digest(hashlib.sha256(content).hexdigest(), sha256.lower())


def read_json(path: Path) -> dict[str, Any]:
    """A document of a run folder; its digest was compared before.

    Raises:
        NoData: it is gone (`file_missing`).
        BadInput: it cannot be read, is too large, or is no JSON object (`file_unreadable`).
    """
    content = read_whole(path, MAX_DOCUMENT_BYTES)
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds no JSON object; train again.", code="file_unreadable")
    return document
