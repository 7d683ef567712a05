"""What does this machine's file system say about the places that the pipeline uses?

Nothing is created here but probes that are removed again: a doctor that makes what it looks for finds it the next time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.markers import default_environment

from plms_pipeline.access.files import FOLDER, PRIVATE_FILE, KeyRing
from plms_pipeline.errors import PlmsError
from plms_pipeline.monitoring.doctor.checks import Keys
from plms_pipeline.monitoring.doctor.lock import canonical, differences, wanted

MEBIBYTE = 2**20
_HEADER: Final = re.compile(r"^(Name|Version):\s*(\S+)\s*$", re.MULTILINE)


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
    installed = {canonical(name): version for name, version in map(_named, metadata.distributions()) if name}
    asked = wanted(lock.read_text(encoding="utf-8"), dict(default_environment()))
    return differences(asked, installed), len(asked)


def _named(found: metadata.Distribution) -> tuple[str, str]:
    """Name and version; `found.name` and `found.version` parse the whole text, which is some hundred pages, for each."""
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    headers = dict(_HEADER.findall(text.partition("\n\n")[0]))
    return headers.get("Name", ""), headers.get("Version", "")


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


def token_keys(data_dir: Path, public_keys: Path | None, now: datetime) -> Keys:
    """The keys that verify tokens, as whoever verifies would find them, and who else could read or change them.

    Args:
        data_dir: PLMS_DATA_DIR.
        public_keys: PLMS_JWT_PUBLIC_KEYS, when another issuer's keys verify.
        now: retired keys are forgotten in time.
    """
    file = public_keys or data_dir / FOLDER / PRIVATE_FILE
    found = Keys(str(file), is_own=public_keys is None)
    try:
        folder_mode, file_mode = (stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file))
    except FileNotFoundError:
        return replace(found, is_missing=True)
    except OSError as error:
        return replace(found, problem=f"{file} cannot be read ({error.strerror})")
    # Ours hold secrets: nobody else may look. Those of another issuer are public, and decide who is believed.
    unwanted = 0o077 if found.is_own else 0o022
    if found.is_own and folder_mode & unwanted:
        return replace(found, open_to=str(file.parent), is_folder_open=True)
    if file_mode & unwanted:
        return replace(found, open_to=str(file))
    try:
        return replace(found, n=len(KeyRing(data_dir, public_keys).keys(now)))
    except PlmsError as error:
        return replace(found, problem=error.message)
    except OSError as error:
        return replace(found, problem=f"{file} cannot be read ({error.strerror})")


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
