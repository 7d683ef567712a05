"""Where do a receipt and its logs go, whole or not at all?"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.instance.files.atomic import replacing

MAX_LOG: Final = 1024 * 1024


def evidence_folder(data_dir: Path, evaluation_id: str) -> Path:
    """Where an evaluation keeps its logs and its own copy of the receipt."""
    return data_dir / "artifacts" / "kpi" / evaluation_id


def write_logs(folder: Path, logs: Mapping[str, str]) -> dict[str, str]:
    """Write one `<kpi>.log` per log that says something; KPI → path. A log is cut at 1 MiB."""
    paths = {}
    for kpi, text in logs.items():
        if text:
            path = folder / f"{kpi}.log"
            with replacing(path) as stream:
                stream.write(text.encode("utf-8", "replace")[:MAX_LOG])
            paths[kpi] = str(path)
    return paths


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> None:
    """Write a receipt as JSON, atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    with replacing(path) as stream:
        stream.write((json.dumps(receipt, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def may_write(directory: Path) -> bool:
    """Whether a file may be put into this folder."""
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def read_report(folder: int, name: str, limit: int) -> bytes | None:
    """A file that a child wrote into a folder that we hold open; None when there is none that is a plain file.

    A hostile child may have put a link or a pipe there: neither is followed nor waited for.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(limit + 1)
