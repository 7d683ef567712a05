"""Can the data directory be written, and which proofs lie in the reports folder?"""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

from plms_pipeline.web.api.proofs import StoredProof

PROOF_FILE = "invariants.json"


def folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be written, or None; found out without writing into it."""
    if not folder.is_dir():
        return "it does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "it may not be written"
    state = os.statvfs(folder)
    if state.f_flag & os.ST_RDONLY:
        return "it is mounted read-only"
    return "its disk is full" if state.f_bavail == 0 else None


def free_mb(folder: Path) -> int:
    """Free space on a folder's disk for us, in MiB."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize // 2**20


def stored_proofs(reports_dir: Path, limit: int) -> list[StoredProof]:
    """The proofs of the newest `limit` nights, newest first; a folder that is no date is passed over."""
    nights = []
    for folder in (reports_dir / "nightly").glob("*/"):
        try:
            nights.append(date.fromisoformat(folder.name))
        except ValueError:
            continue
    return [_proof(reports_dir, night.isoformat()) for night in sorted(nights, reverse=True)[:limit]]


def _proof(reports_dir: Path, night: str) -> StoredProof:
    path = Path("nightly") / night / PROOF_FILE
    try:
        loaded = json.loads((reports_dir / path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        loaded = None
    return StoredProof(path.as_posix(), night, loaded if isinstance(loaded, dict) else None)


def newest_proof_mark(reports_dir: Path) -> object:
    """Differs when a newer night was proven, or the newest one anew; None while there is none."""
    folder = reports_dir / "nightly"
    try:
        nights = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        state = (folder / nights[-1] / PROOF_FILE).stat()
    except (OSError, IndexError):
        return None
    return (nights[-1], state.st_mtime_ns, state.st_size)
