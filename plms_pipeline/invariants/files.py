"""Does the file of a day hold what the book says that it holds?"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from plms_pipeline.invariants.store.books import DayFile


def day_file_problem(expected: DayFile, *, data_dir: Path) -> str | None:
    """What is wrong with the file of a day, or None. A relative path lies below `data_dir`."""
    if expected.path is None:
        return "the book says that it was written but not where" if expected.is_written else None
    path = UPath(expected.path) if "://" in expected.path else UPath(data_dir / expected.path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return f"its file {path} does not exist"
    except OSError as error:
        return f"its file {path} cannot be read ({error.strerror or error})"
    if hashlib.sha256(data).hexdigest() != expected.file_sha256:
        return f"its file {path} is not the one that was written: the SHA-256 differs"
    try:
        n = int(pq.read_metadata(io.BytesIO(data)).num_rows)
    except (OSError, pa.ArrowException) as error:
        return f"its file {path} is no Parquet file ({str(error).splitlines()[0]})"
    if n != expected.n_receipts:
        return f"its file {path} holds {n} receipts, the book says {expected.n_receipts}"
    return None


def is_file(path: Path) -> bool:
    """Whether a file lies there."""
    return path.is_file()


def stored_document(data_dir: Path) -> dict[str, Any] | None:
    """The report that the asset `invariants_report` handed on last, or None when there is none to be read."""
    try:
        loaded = json.loads((data_dir / "documents" / "invariants_report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
