"""How do the files of a run get from where they are made to where they are kept?

Attempts write below `runs/<run>/staging/`; when the run has ended the whole of it becomes `runs/<run>/outputs/` by one rename,
so nobody ever sees half of a run's outputs. Links are neither followed nor kept in the books: an artifact is made of real
files. What nobody owns any more is swept after a day.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from plms_pipeline.instance.files.atomic import sync_folder
from plms_pipeline.kpis.files.scratch import remove

RUNS: Final = "runs"
STAGING: Final = "staging"
OUTPUTS: Final = "outputs"
MAX_FILES: Final = 20_000
MAX_PATH: Final = 1024
ORPHANED_AFTER: Final = timedelta(days=1)
_CHUNK: Final = 1024 * 1024
_SAFE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_KINDS: Final = {
    "code": {".py", ".pyi", ".js", ".ts", ".go", ".rs", ".java", ".c", ".h", ".cpp", ".sql", ".sh", ".html", ".css"},
    "config": {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".csv", ".parquet"},
    "model": {".skops", ".npz", ".npy", ".onnx", ".safetensors"},
    "logs": {".log", ".txt", ".out", ".err", ".xml"},
    "prd": {".md", ".rst"},
}


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a run produced; `path` is relative to the data directory, with forward slashes."""

    path: str
    kind: str | None
    size: int
    sha256: str


def promote(data_dir: Path, run_id: str) -> list[Output]:
    """Turn what a run has staged into its outputs, and list them with their digests. Safe to repeat."""
    folder = _folder(data_dir, run_id)
    staging, outputs = folder / STAGING, folder / OUTPUTS
    if staging.is_dir() and not staging.is_symlink() and not outputs.exists():
        os.rename(staging, outputs)  # noqa: PTH104 - the call that is atomic by contract
        sync_folder(folder)
    return sorted(_outputs(data_dir, outputs), key=lambda output: output.path)


def has_staged(data_dir: Path, run_id: str, task_id: str, attempt: int) -> bool:
    """Whether an attempt staged any file of its own. Links are followed nowhere on the way and are no files."""
    folder = data_dir / RUNS
    for part in (run_id, STAGING, task_id, str(attempt)):
        folder /= part
        if folder.is_symlink():
            return False
    return any(
        stat.S_ISREG(os.lstat(os.path.join(place, name)).st_mode)  # noqa: PTH118 - as `os.walk` names them
        for place, _, names in os.walk(folder)
        for name in names
    )


def sweep(data_dir: Path, *, known: frozenset[str], ended: frozenset[str], now: datetime) -> list[str]:
    """Remove what `orphans` finds; what was removed, relative to the data directory."""
    gone = orphans(data_dir, known=known, ended=ended, now=now)
    for name in gone:
        remove(data_dir / name)
    return gone


def orphans(data_dir: Path, *, known: frozenset[str], ended: frozenset[str], now: datetime) -> list[str]:
    """What nobody owns and nobody touched for a day: folders of runs that were never started here, and what was staged after
    its run had ended.

    Args:
        data_dir: the data directory.
        known: every run that the registry holds, of those that have a folder.
        ended: those of them that have ended and been promoted.
        now: aware.

    Returns:
        Folders, relative to the data directory.
    """
    found = []
    for folder in _run_folders(data_dir):
        target = folder if folder.name not in known else folder / STAGING if folder.name in ended else None
        if target is not None and target.is_dir() and _is_old(target, now):
            found.append(str(target.relative_to(data_dir)))
    return found


def run_names(data_dir: Path) -> list[str]:
    """The names of all run folders."""
    return [folder.name for folder in _run_folders(data_dir)]


def has_outputs(data_dir: Path, run_id: str) -> bool:
    """Whether a run's files were promoted."""
    return (_folder(data_dir, run_id) / OUTPUTS).is_dir()


def _folder(data_dir: Path, run_id: str) -> Path:
    if not _SAFE.fullmatch(run_id):
        raise ValueError(f"{run_id!r} may not become part of a path")
    return data_dir / RUNS / run_id


def _run_folders(data_dir: Path) -> list[Path]:
    runs = data_dir / RUNS
    if not runs.is_dir():
        return []
    return sorted(path for path in runs.iterdir() if _SAFE.fullmatch(path.name) and not path.is_symlink())


def _is_old(folder: Path, now: datetime) -> bool:
    try:
        newest = max((os.lstat(path).st_mtime for path in _walk_all(folder)), default=folder.stat().st_mtime)
    except OSError:
        return False
    return now.timestamp() - newest > ORPHANED_AFTER.total_seconds()


def _walk_all(folder: Path) -> Iterator[str]:
    yield str(folder)
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in (*folders, *files))  # noqa: PTH118 - strings of os.walk


def _outputs(data_dir: Path, outputs: Path) -> Iterator[Output]:
    count = 0
    for parent, folders, files in os.walk(outputs):
        folders.sort()
        for name in sorted(files):
            path = Path(parent) / name
            relative = str(path.relative_to(data_dir))
            if not relative.isprintable() or len(relative) > MAX_PATH or count >= MAX_FILES:
                continue
            found = _digest(path)
            if found is not None:
                count += 1
                yield Output(relative, _kind(path), *found)


def _digest(path: Path) -> tuple[int, str] | None:
    """Size and SHA-256 of a plain file; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        digest, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _kind(path: Path) -> str | None:
    if path.name == "kpi_receipt.json":
        return "receipt"
    return next((kind for kind, suffixes in _KINDS.items() if path.suffix.lower() in suffixes), None)
