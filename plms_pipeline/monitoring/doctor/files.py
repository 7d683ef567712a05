"""What does this machine's file system say about the places that the pipeline uses?

Nothing is created here but probes that are removed again: a doctor that makes what it looks for finds it the next time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment

from plms_pipeline.monitoring.doctor.lock import canonical, differences, wanted

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """A folder as found: why it cannot be written (empty when it can), free space, and the file system's time there."""

    path: Path
    problem: str
    free_mb: int | None
    file_time: datetime | None


def python_version() -> tuple[int, int, int]:
    """The version of the interpreter that runs this."""
    return sys.version_info[0], sys.version_info[1], sys.version_info[2]


def lock_differences(lock: Path | None) -> tuple[list[str] | None, int]:
    """How the installed packages differ from a lock file, and how many it asks for; (None, 0) when there is none."""
    if lock is None or not lock.is_file():
        return None, 0
    installed = {canonical(found.name): found.version for found in metadata.distributions() if found.name}
    asked = wanted(lock.read_text(encoding="utf-8"), dict(default_environment()))
    return differences(asked, installed), len(asked)


def look_at(path: Path) -> Place:
    """Look at a folder, or where it is not there yet, at the nearest one above it: there it will be made."""
    standing = nearest_existing(path)
    problem, file_time = _write_probe(standing)
    free = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(standing).free // MEBIBYTE
    return Place(path, problem, free, file_time)


def is_file(path: Path) -> bool:
    """Whether a file is there; one that may not be looked at counts as missing."""
    try:
        return path.is_file()
    except OSError:
        return False


def nearest_existing(path: Path) -> Path:
    """The path itself or the first of its parents that exists."""
    return next((candidate for candidate in (path, *path.parents) if os.path.lexists(candidate)), path)


def _write_probe(folder: Path) -> tuple[str, datetime | None]:
    if not folder.is_dir():
        return "it is no folder" if os.path.lexists(folder) else "it does not exist", None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".plms-doctor-") as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
            return "", datetime.fromtimestamp(os.fstat(probe.fileno()).st_mtime, UTC)
    except OSError as error:
        return error.strerror or str(error), None
