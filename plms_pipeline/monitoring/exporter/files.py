"""How much room is there, which nights were proven, and is the registry's file still the one that was opened?"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from plms_pipeline.errors import Unavailable
from plms_pipeline.monitoring.exporter.proven import Night
from plms_pipeline.monitoring.files import INVARIANTS, NIGHTLY, SUMMARY


def room(data_dir: Path, reports_dir: Path) -> dict[str, tuple[int, int]]:
    """Place → (bytes free for us, size of its file system); a place that cannot be read is left out."""
    found: dict[str, tuple[int, int]] = {}
    for name, place in (("data", data_dir), ("reports", reports_dir), ("tmp", Path(tempfile.gettempdir()))):
        try:
            state = os.statvfs(_nearest(place))
        except OSError:
            continue
        found[name] = (state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize)
    return found


def _nearest(place: Path) -> Path:
    """The folder itself, or the nearest one above it that exists: nothing was written there yet, and there it will be."""
    return next((folder for folder in (place, *place.parents) if folder.is_dir()), place)


def identity(file: Path | None) -> tuple[int, int] | None:
    """Which file lies at a path: another one after a backup was restored. None: there is none, or none is asked about."""
    try:
        state = file.stat() if file is not None else None
    except OSError:
        return None
    return None if state is None else (state.st_dev, state.st_ino)


class NightReader:
    """Reads the nightly reports; a file that has not changed since is not read again."""

    def __init__(self, reports_dir: Path) -> None:
        self._reports_dir = reports_dir
        self._known: dict[Path, tuple[tuple[int, int], Mapping[str, Any] | None]] = {}

    def nights(self, newest: int) -> list[Night]:
        """The newest nights, the newest first.

        Raises:
            Unavailable: the folder is there and cannot be read.
        """
        place = self._reports_dir / NIGHTLY
        try:
            names = sorted((entry.name for entry in place.iterdir() if _is_date(entry.name)), reverse=True)[:newest]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(
                f"{place} cannot be read ({error.strerror or error}); set PLMS_REPORTS_DIR to the folder of the reports.",
                code="bad_reports_dir",
            ) from error
        known = self._known
        self._known = {}
        found = []
        for place_in_row, name in enumerate(names):
            proof = self._read(place / name / INVARIANTS, known)
            # Only of the newest night is more told than its proof.
            summary = self._read(place / name / SUMMARY, known) if place_in_row == 0 else None
            found.append(Night(date.fromisoformat(name), proof, summary))
        return found

    def _read(
        self, path: Path, known: Mapping[Path, tuple[tuple[int, int], Mapping[str, Any] | None]]
    ) -> Mapping[str, Any] | None:
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            before = known.get(path)
            if before is not None and before[0] == stamp:
                self._known[path] = before
                return before[1]
            loaded = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        document = loaded if isinstance(loaded, dict) else None
        self._known[path] = (stamp, document)
        return document


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False
