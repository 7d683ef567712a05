"""What does a backup hold, and what tells that it holds exactly this?

The manifest names every file of a backup with its size and SHA-256, and it is written last: without it nothing is a backup.
It carries a digest of itself, and its text is a function of what it says, so that one flipped byte anywhere in it, in a
number or between two words, is found as in any other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "database"
DATA: Final = "data"
REPORTS: Final = "reports"
PARTS: Final = (DATABASE, DATA, REPORTS)
_HEX: Final = frozenset("0123456789abcdef")


class Unreadable(ValueError):
    """A text that is no manifest; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its size in bytes and the SHA-256 of its bytes, in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself.

    Attributes:
        created_at: when it was begun, aware, in UTC; the registry is as it stood a moment later.
        product_version: of the program that made it.
        dialect: of the registry, `sqlite` or `postgresql`.
        revision: of the registry's schema.
        rows: how many rows each table holds.
        files: path inside of the backup, with forward slashes → what lies there.
        left_out: entries of the data folder that are no part of a backup and that nobody knows.
    """

    created_at: datetime
    product_version: str
    dialect: str
    revision: str
    rows: Mapping[str, int]
    files: Mapping[str, Entry]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size for entry in self.files.values())

    @property
    def database(self) -> str:
        """The path of the registry inside of the backup."""
        return next(name for name in self.files if name.startswith(f"{DATABASE}/"))


def render(manifest: Manifest) -> str:
    """The text of a manifest: the only one that `parse` takes for this manifest."""
    said = {
        "format": FORMAT,
        "product": "plms-pipeline",
        **{name: value for name, value in asdict(manifest).items() if name != "created_at"},
        "created_at": manifest.created_at.isoformat(),
        "left_out": list(manifest.left_out),
    }
    return json.dumps({**said, "sha256": _digest(said)}, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def parse(data: bytes) -> Manifest:
    """The manifest of these bytes.

    Raises:
        Unreadable: they are cut off, damaged, of a newer format, or say something that cannot be (such as a path that leads
            out of the folder).
    """
    try:
        said: Any = json.loads(data.decode("ascii"))
    except ValueError as error:
        raise Unreadable(f"it is no JSON ({type(error).__name__}: cut off or damaged)") from None
    if not isinstance(said, dict) or "sha256" not in said or "format" not in said:
        raise Unreadable("it says neither its format nor its own SHA-256")
    if said["format"] != FORMAT:
        raise Unreadable(f"its format is {said['format']!r}, this program reads {FORMAT}")
    told = said.pop("sha256")
    if told != _digest(said):
        raise Unreadable("what it says is not what its own SHA-256 was taken of")
    try:
        manifest = _read(said)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"it does not say what a manifest says ({type(error).__name__}: {error})") from None
    if render(manifest).encode() != data:
        raise Unreadable("its text is not the one that was written")
    return manifest


def _read(said: Mapping[str, Any]) -> Manifest:
    files = {name: Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in said["files"].items()}
    for name, entry in files.items():
        if not is_inside(name):
            raise ValueError(f"path {name!r} leads elsewhere")
        if entry.size < 0 or len(entry.sha256) != 64 or not set(entry.sha256) <= _HEX:
            raise ValueError(f"{name!r} has no digest")
    if sum(name.startswith(f"{DATABASE}/") for name in files) != 1:
        raise ValueError("it does not hold one database")
    return Manifest(
        created_at=datetime.fromisoformat(said["created_at"]),
        product_version=str(said["product_version"]),
        dialect=str(said["dialect"]),
        revision=str(said["revision"]),
        rows={str(table): int(n) for table, n in said["rows"].items()},
        files=files,
        left_out=tuple(str(name) for name in said["left_out"]),
    )


def is_inside(name: str) -> bool:
    """Whether a path of a manifest stays below one of its parts wherever it is laid out."""
    parts = name.split("/")
    return len(parts) > 1 and parts[0] in PARTS and not {"", ".", ".."} & set(parts) and "\0" not in name


def _digest(said: Mapping[str, Any]) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def missing_and_extra(manifest: Manifest, present: frozenset[str]) -> list[str]:
    """What is wrong with the names in a backup's folder, one sentence each."""
    named = frozenset(manifest.files) | {MANIFEST}
    return [
        *(f"{name} is missing" for name in sorted(named - present)),
        *(f"{name} is not in the manifest" for name in sorted(present - named)),
    ]


def difference(name: str, expected: Entry, found: Entry) -> str | None:
    """Why a file is not the one that was backed up, or None."""
    if found.size != expected.size:
        return f"{name} has {found.size} bytes, the manifest says {expected.size}"
    if found.sha256 != expected.sha256:
        return (
            f"{name} holds other bytes than were backed up (SHA-256 {found.sha256[:12]}…, not {expected.sha256[:12]}…)"
        )
    return None
