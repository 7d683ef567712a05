"""How does an artifact come into the inbox, whole or not at all?

The nightly evaluates each folder in `$PLMS_DATA_DIR/artifacts/inbox`. A folder is copied beside it first and then renamed,
so that no evaluation sees half of it; names that begin with a dot are never evaluated.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.process import lives
from plms_pipeline.kpis.files.scratch import remove
from plms_pipeline.kpis.files.tree import content_sha256, copy_into, snapshot

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,99}")


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did with one folder."""

    name: str
    state: Literal["added", "replaced", "unchanged"]
    sha256: str


def artifacts_in(inbox: Path) -> list[Path]:
    """What waits in the inbox, by name; a file or a link among them counts as a broken artifact, so it is listed too."""
    if not inbox.is_dir():
        return []
    return sorted(path for path in inbox.iterdir() if not path.name.startswith("."))


def add(directory: Path, inbox: Path) -> Added:
    """Put a copy of an artifact into the inbox under its own name; again with the same content changes nothing.

    Raises:
        BadInput: the folder cannot be read as an artifact, or its name has other characters than letters, digits, space,
            dot, dash and underscore.
    """
    place = directory.resolve()
    name = place.name
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be an artifact's name; use letters, digits, space, dot, dash and underscore.",
            code="bad_artifact",
        )
    target = inbox / name
    inbox.mkdir(parents=True, exist_ok=True)
    _sweep(inbox)
    with snapshot(place) as taken:
        if not target.is_symlink() and target.is_dir() and _same(target, taken.sha256):
            return Added(name, "unchanged", taken.sha256)
        # A dot in front: not evaluated; the process id tells whose it is.
        mark = f"{os.getpid()}-{uuid4().hex[:8]}-{name}"
        fresh, old = inbox / f".new-{mark}", inbox / f".old-{mark}"
        copy_into(taken, fresh)
        existed = target.exists() or target.is_symlink()
        if existed:
            target.rename(old)
        fresh.rename(target)
    remove(old)
    return Added(name, "replaced" if existed else "added", taken.sha256)


def _same(target: Path, sha256: str) -> bool:
    try:
        return content_sha256(target) == sha256
    except BadInput:
        return False


def _sweep(inbox: Path) -> None:
    """Remove what killed processes left behind."""
    for path in inbox.glob(".*-*-*"):
        _, _, rest = path.name.partition("-")
        pid = rest.partition("-")[0]
        if path.name.startswith((".new-", ".old-")) and pid.isdigit() and not lives(int(pid)):
            remove(path)
