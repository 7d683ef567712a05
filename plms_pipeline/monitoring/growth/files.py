"""What lies on the disk that may go: beside Dagster's history, in quarantine, and half-written?

Removing is repeated without harm and never follows a link. A file that vanishes meanwhile was somebody else's to remove.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

RUN_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHARD_ENDS: Final = (".db", ".db-wal", ".db-shm", ".db-journal")
_TEMPORARY_ENDS: Final = (".tmp", ".part")
# Below these our own writers work; what artifacts and runs hold inside is other people's.
_WRITTEN_FLAT: Final = (
    "", "documents", "receipts", "quarantine", "secrets", "evidence", "evidence/spool", "automation_runs",
    "estimate_snapshots", "evaluations", "market_snapshots", "market_dataset", "market_dataset/imports",
    "market_dataset/revisions",
)  # fmt: skip
_NOT_OURS: Final = frozenset({"inbox", "kpi"})


def has_history(state_dir: Path) -> bool:
    """Whether Dagster ever stored anything here."""
    return (state_dir / "storage").is_dir()


def shards(state_dir: Path) -> dict[str, tuple[int, float]]:
    """Run → bytes and newest change of its SQLite files of events."""
    found: dict[str, tuple[int, float]] = {}
    for entry in _entries(_shards(state_dir)):
        run, end = entry.name[:36], entry.name[36:]
        if RUN_ID.fullmatch(run) and end in _SHARD_ENDS:
            size, changed = _size_of(entry)
            before = found.get(run, (0, 0.0))
            found[run] = (before[0] + size, max(before[1], changed))
    return found


def remove_shard(state_dir: Path, run: str) -> None:
    """Remove a run's SQLite files of events; the database last, so that no log ever lies there without it."""
    for end in reversed(_SHARD_ENDS):
        (_shards(state_dir) / f"{run}{end}").unlink(missing_ok=True)


def folders_of_runs(state_dir: Path, kind: str) -> dict[str, tuple[int, float]]:
    """Run → bytes and newest change of its folder; `kind` is `compute_logs` or `run_artifacts`."""
    return {
        entry.name: tree_size(Path(entry.path))
        for entry in _entries(_home(state_dir, kind))
        if RUN_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    }


def remove_folder_of_run(state_dir: Path, kind: str, run: str) -> None:
    """Remove a run's folder."""
    _remove(_home(state_dir, kind) / run)


def tick_logs(state_dir: Path, before: datetime) -> dict[Path, int]:
    """Old files of captured output that belong to no run: those of ticks. Path → bytes."""
    found: dict[Path, int] = {}
    for entry in _entries(_home(state_dir, "compute_logs")):
        if RUN_ID.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            continue
        for parent, _, names in os.walk(entry.path):
            found |= dict(_old_files(Path(parent), names, before))
    return found


def quarantined(data_dir: Path, before: datetime) -> dict[Path, int]:
    """Old lists of refused rows: path → bytes."""
    folder = data_dir / "quarantine"
    names = [entry.name for entry in _entries(folder) if entry.name.endswith(".csv") and not entry.name.startswith(".")]
    return dict(_old_files(folder, names, before))


def temporary(data_dir: Path, reports_dir: Path, before: datetime) -> dict[Path, int]:
    """What our writers left half-written, files and folders, untouched since: path → bytes."""
    found: dict[Path, int] = {}
    for folder in _written(data_dir, reports_dir):
        for entry in _entries(folder):
            if not (entry.name.startswith(".") and entry.name.endswith(_TEMPORARY_ENDS)):
                continue
            size, changed = _size_of(entry) if not entry.is_dir(follow_symlinks=False) else tree_size(Path(entry.path))
            if changed and changed < before.timestamp():
                found[Path(entry.path)] = size
    return found


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    _remove(path)


def tree_size(folder: Path) -> tuple[int, float]:
    """Bytes of the files below a folder, and the newest change of anything in it (0.0 when it is gone)."""
    size, newest = 0, _changed(folder)
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent) / name
            newest = max(newest, _changed(path))
            if name in names:
                size += _bytes(path)
    return size, newest


def _written(data_dir: Path, reports_dir: Path) -> Iterator[Path]:
    yield from (data_dir / name if name else data_dir for name in _WRITTEN_FLAT)
    artifacts = data_dir / "artifacts"
    yield artifacts
    yield from (
        Path(entry.path)
        for entry in _entries(artifacts)
        if entry.name not in _NOT_OURS and entry.is_dir(follow_symlinks=False)
    )
    for parent, _, _ in os.walk(reports_dir):
        yield Path(parent)


def _old_files(folder: Path, names: list[str], before: datetime) -> Iterator[tuple[Path, int]]:
    for name in names:
        path = folder / name
        changed = _changed(path)
        if changed and changed < before.timestamp():
            yield path, _bytes(path)


def _shards(state_dir: Path) -> Path:
    return state_dir / "storage" / "history" / "runs"


def _home(state_dir: Path, kind: str) -> Path:
    homes: Mapping[str, Path] = {
        "compute_logs": state_dir / "compute_logs",
        "run_artifacts": state_dir / "artifacts" / "storage",
    }
    return homes[kind]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size_of(entry: os.DirEntry[str]) -> tuple[int, float]:
    return _bytes(Path(entry.path)), _changed(Path(entry.path))


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
