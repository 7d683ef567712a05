"""What lies there of trainings, bars and receipts, how old is it, and what does it rest on? Links are followed nowhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plms_pipeline.models.layout import MANIFEST, MAX_MANIFEST_BYTES
from plms_pipeline.models.training.files import RUNS

_CONTENT: Final = re.compile(r"([0-9a-f]{64})\.parquet")


@dataclass(frozen=True, slots=True)
class Kept:
    """A run's folder, or a file of bars or receipts.

    Attributes:
        name: relative to the data folder.
        content: hash of the bars or receipts that it is, or was trained on; None: unknown.
        size: bytes.
        changed: newest change of anything in it, epoch seconds.
    """

    name: str
    content: str | None
    size: int
    changed: float


def runs(root: Path) -> list[Kept]:
    """Folders of trainings; what is half-written is not among them."""
    found = []
    for entry in _entries(root / RUNS):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            size, changed = _tree(Path(entry.path))
            found.append(Kept(f"{RUNS}/{entry.name}", _trained_on(Path(entry.path)), size, changed))
    return found


def snapshots(root: Path, folder: str) -> list[Kept]:
    """Files of bars or receipts in a folder of the data folder, known by their content."""
    found = []
    for entry in _entries(root / folder):
        match = _CONTENT.fullmatch(entry.name)
        if match and entry.is_file(follow_symlinks=False):
            stat = entry.stat(follow_symlinks=False)
            found.append(Kept(f"{folder}/{entry.name}", match[1], stat.st_size, stat.st_mtime))
    return found


def _trained_on(folder: Path) -> str | None:
    try:
        with (folder / MANIFEST).open("rb") as stream:
            document = json.loads(stream.read(MAX_MANIFEST_BYTES))
        return str(document["data"]["content_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tree(folder: Path) -> tuple[int, float]:
    size, newest = 0, 0.0
    for parent, _, names in os.walk(folder):
        for name in ("", *names):
            try:
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - a walk of strings
            except OSError:
                continue
            newest = max(newest, found.st_mtime)
            size += found.st_size if name else 0
    return size, newest


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
