"""Where does the Parquet file of a day lie, and how does it get there whole?

`<base>/receipts/<YYYY-MM-DD>.parquet` on any fsspec path. The day is a `date` or a validated key, never a string from
outside: a partition key `../../x` would otherwise write wherever it likes. On a local disk the file appears by rename; on
an object store an upload is atomic by itself.
"""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.intake.dayfile import ROWS_KEY
from plms_pipeline.intake.parsing import is_day

FOLDER: Final = "receipts"
LOCAL: Final = frozenset({"", "file", "local"})


def day_of_key(key: str) -> date:
    """A partition key as a day.

    Raises:
        BadInput: it is no ISO date.
    """
    if is_day(key):
        try:
            return date.fromisoformat(key)
        except ValueError:
            pass
    raise BadInput(
        f"{key[:64]!r} is no partition of receipts; a partition is a UTC day such as 2025-07-20.", code="bad_partition"
    )


class DayFiles:
    """The files of all days below one base path (a folder, or a URL that fsspec understands)."""

    def __init__(self, base: str | Path | UPath) -> None:
        self.base = UPath(base)

    @property
    def is_local(self) -> bool:
        """Whether the base is a folder of this machine."""
        return self.base.protocol in LOCAL

    def noted(self, day: date) -> str:
        """The place of a day's file as the registry notes it: relative to a local base, which may move; else the URL."""
        return f"{FOLDER}/{day.isoformat()}.parquet" if self.is_local else str(self.path(day))

    def path(self, day: date) -> UPath:
        """The file of a day."""
        return self.base / FOLDER / f"{day.isoformat()}.parquet"

    def write(self, day: date, data: bytes) -> bool:
        """Put a day's bytes in place unless they lie there already; says whether anything was written.

        Raises:
            Unavailable: the disk or store refuses.
        """
        path = self.path(day)
        try:
            if path.exists() and path.read_bytes() == data:
                return False
            put(path, data)
        except OSError as error:
            raise Unavailable(
                f"{path} cannot be written ({error.strerror or error}); make room or check the rights of its folder, then "
                "run it again. The registry holds every receipt.",
                code="file_unwritable",
            ) from error
        return True

    def read(self, day: date) -> pa.Table:
        """The table of a day.

        Raises:
            NoData: the day has no file.
        """
        return read_parquet(self.path(day))

    def rows_sha256(self, day: date) -> str | None:
        """The row digest in the footer of a day's file; None when there is no readable file."""
        path = self.path(day)
        try:
            with path.open("rb") as stream:
                metadata = pq.read_metadata(stream).metadata or {}
        except (OSError, pa.ArrowException):
            return None
        digest = metadata.get(ROWS_KEY)
        return digest.decode() if digest else None


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet; the same rows with the same library give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=True, write_statistics=True, version="2.6")
    return buffer.getvalue()


def put(path: UPath, data: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part."""
    if path.protocol in LOCAL:
        with replacing(Path(path.path)) as stream:
            stream.write(data)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read_parquet(path: UPath) -> Any:
    """The table at `path`.

    Raises:
        NoData: there is no file, or it is damaged; materializing the partition writes it again.
    """
    try:
        with path.open("rb") as stream:
            return pq.read_table(stream)
    except FileNotFoundError:
        raise NoData(f"{path} does not exist; materialize that partition of receipts first.", code="no_file") from None
    except (OSError, pa.ArrowException) as error:
        raise NoData(
            f"{path} is damaged ({str(error).splitlines()[0]}); delete it and materialize that partition of receipts again.",
            code="damaged_file",
        ) from error
