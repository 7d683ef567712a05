"""Is this file a table that can be read to its end?

Looked at before the first row is written anywhere: one pass takes the SHA-256 and, for gzip, unpacks everything once, so that a
truncated or exploding archive is refused while the registry is still untouched. The obvious version finds out in the middle,
with half of the file in the books.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias, cast

from plms_pipeline.errors import BadInput

Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]

CHUNK: Final = 1 << 20
# A gzip of real receipts shrinks five- to thirtyfold; 64 MiB is allowed whatever the ratio.
BOMB_FREE_BYTES: Final = 64 << 20
BOMB_RATIO: Final = 200
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x7fELF", "a program"),
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file that can be read: its kind, the SHA-256 of its bytes as they lie on disk, and what to recognise it by later.

    `lines` counts line ends of the unpacked text; it is for progress bars only.
    """

    path: Path
    kind: Kind
    gzipped: bool
    sha256: str
    size: int
    identity: tuple[int, int, int]
    lines: int

    @property
    def thing(self) -> str:
        """The file as it is named in messages, in the quarantine and in the audit log; undecodable bytes become `?`."""
        return self.path.name.encode("utf-8", "replace").decode()


def remedy(columns: Sequence[str]) -> str:
    """The end of every sentence that refuses a file."""
    return f"Give a UTF-8 CSV (also .gz), Parquet or JSON-lines file with the columns {', '.join(columns)}."


def inspect(path: Path, expected: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Inspected:
    """Look at a file once, from its first to its last byte.

    Args:
        expected: the columns to name when the file is refused.
        progress: called with the number of further bytes read.

    Raises:
        BadInput: it is missing, no regular file, unreadable, empty, truncated, a bomb, or not a table.
    """
    try:
        # Before it is opened: opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise BadInput(f"{path} is not a regular file. {remedy(expected)}", code="not_a_file")
        with path.open("rb") as handle:
            digest, count = _digest(handle, progress)
            identity = _identity(handle)
            handle.seek(0)
            head = handle.read(512)
            if not head:
                raise BadInput(f"{path} is empty. {remedy(expected)}", code="empty_file")
            gzipped = head[:2] == b"\x1f\x8b"
            if gzipped:
                handle.seek(0)
                head, count = _unpacked_head(handle, path, identity[1], expected)
            kind = _kind(head, path, expected, gzipped=gzipped)
            return Inspected(path, kind, gzipped, digest, identity[1], identity, count)
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; check the path. {remedy(expected)}", code="file_missing") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory; name the file in it. {remedy(expected)}", code="not_a_file") from None
    except OSError as error:
        text = error.strerror or error.__class__.__name__
        raise BadInput(
            f"{path} cannot be read ({text}); check its rights and its disk.", code="file_unreadable"
        ) from error


def unchanged(inspected: Inspected) -> bool:
    """Whether the path still names the very bytes that were inspected (inode, size, modification time)."""
    try:
        with inspected.path.open("rb") as handle:
            return _identity(handle) == inspected.identity
    except OSError:
        return False


def opened(inspected: Inspected) -> IO[bytes]:
    """The file as a stream of unpacked bytes."""
    if inspected.gzipped:
        return cast("IO[bytes]", gzip.open(inspected.path, "rb"))
    return inspected.path.open("rb")


def _identity(handle: IO[bytes]) -> tuple[int, int, int]:
    found = os.fstat(handle.fileno())
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _digest(handle: IO[bytes], progress: Callable[[int], None] | None) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    while chunk := handle.read(CHUNK):
        digest.update(chunk)
        count += chunk.count(b"\n")
        if progress is not None:
            progress(len(chunk))
    return digest.hexdigest(), count


def _unpacked_head(handle: IO[bytes], path: Path, packed: int, expected: Sequence[str]) -> tuple[bytes, int]:
    """Unpack everything once: the first bytes and the number of line ends."""
    head, size, count = b"", 0, 0
    try:
        with gzip.GzipFile(fileobj=handle) as stream:
            while chunk := stream.read(CHUNK):
                head = head or chunk[:512]
                size += len(chunk)
                count += chunk.count(b"\n")
                if size > max(BOMB_FREE_BYTES, BOMB_RATIO * packed):
                    raise BadInput(
                        f"{path} unpacks to more than {BOMB_RATIO} times its size, as no table does; it was left "
                        f"unread. {remedy(expected)}",
                        code="gzip_bomb",
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(
            f"{path} is a truncated or damaged gzip file ({error}); fetch it again, `gzip -t` tells when it is whole.",
            code="damaged_gzip",
        ) from None
    if not head:
        raise BadInput(f"{path} unpacks to nothing. {remedy(expected)}", code="empty_file")
    return head, count


def _kind(head: bytes, path: Path, expected: Sequence[str], *, gzipped: bool) -> Kind:
    if head[:4] == b"PAR1":
        if gzipped:
            raise BadInput(f"{path} is a gzipped Parquet file; unpack it first, Parquet is compressed by itself.")
        return "parquet"
    what = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if what is None and b"\x00" in head.partition(b"\n")[0]:
        what = "binary data"
    if what is not None:
        raise BadInput(f"{path} is {what}, not a table. {remedy(expected)}", code="not_a_table")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"[" and text[1:].lstrip()[:1] == b"{":
        raise BadInput(
            f"{path} is one JSON array; write one object per line, as `jq -c '.[]' FILE` does.", code="not_json_lines"
        )
    return "jsonl" if text[:1] == b"{" else "csv"
