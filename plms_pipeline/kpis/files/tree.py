"""Which bytes are this artifact?

An artifact is a folder that somebody else may still be writing, and that may hold anything: links to `/etc`, pipes that
block the reader, a million files. It is walked once with open directory handles and without following a single link; what
was hashed is what is copied, and everything else measures the copy. Symbolic links are never followed, also not those
that stay inside: an artifact made of real files loses nothing, and no chain of links can lead a reader out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.files.scratch import scratch_folder

RECEIPT: Final = "kpi_receipt.json"
SKIPPED_FOLDERS: Final = frozenset({"__pycache__", ".git", ".pytest_cache", ".ruff_cache", ".mypy_cache"})
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_FILES: Final = 5_000
MAX_DEPTH: Final = 32
MAX_TEXT: Final = 512 * 1024
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an artifact; `path` is relative, with forward slashes."""

    path: str
    size: int
    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An artifact as it was at one moment: where the copy lies, what it holds, and what was left out.

    `sha256` covers paths, contents and executable bits, in the order of the paths.
    """

    root: Path
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]
    sha256: str

    def has(self, name: str) -> bool:
        """Whether the copy has a file, or a folder with files, of this name."""
        return any(entry.path == name or entry.path.startswith(name + "/") for entry in self.entries)

    def text(self, name: str, *, limit: int = MAX_TEXT) -> str | None:
        """A text file's content, None when there is none.

        Raises:
            BadInput: it has more than `limit` bytes, is not UTF-8, or is a folder.
        """
        found = next((entry for entry in self.entries if entry.path == name), None)
        if found is None:
            note = next((note for note in self.notes if note.startswith(f"{name} ")), None)
            if note or self.has(name):
                raise BadInput(note or f"{name} is a folder, not a file", code="bad_artifact_input")
            return None
        if found.size > limit:
            raise BadInput(f"{name} has {found.size} bytes; at most {limit} are read", code="bad_artifact_input")
        try:
            return (self.root / name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise BadInput(f"{name} is not UTF-8 text", code="bad_artifact_input") from None


def content_sha256(directory: Path) -> str:
    """The hash that `snapshot` would find, without copying anything.

    Raises:
        BadInput: see `snapshot`.
    """
    entries, _ = _scan(directory, None)
    return _digest(entries)


@contextlib.contextmanager
def snapshot(directory: Path) -> Iterator[Snapshot]:
    """A private copy of an artifact, removed at the end.

    Raises:
        BadInput: no folder, too many files or bytes, too deep, or not readable (`bad_artifact`).
    """
    with scratch_folder() as target:
        entries, notes = _scan(directory, target)
        yield Snapshot(target, entries, notes, _digest(entries))


def copy_into(taken: Snapshot, target: Path) -> None:
    """A fresh copy of a snapshot for one child, which may do with it what it likes."""
    shutil.copytree(taken.root, target, symlinks=True)


def _digest(entries: tuple[Entry, ...]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps([entry.path, entry.sha256, entry.executable]).encode() + b"\n")
    return digest.hexdigest()


@dataclass(slots=True)
class _Budget:
    files: int = 0
    size: int = 0


def _scan(directory: Path, target: Path | None) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    entries: list[Entry] = []
    notes: list[str] = []
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BadInput(
            f"{directory} is not a folder that can be read ({error.strerror}); an artifact is a folder of real files.",
            code="bad_artifact",
        ) from None
    try:
        _walk(handle, "", target, entries, notes, _Budget(), 0)
    except OSError as error:
        raise BadInput(f"{directory} cannot be read completely: {error}.", code="bad_artifact") from None
    finally:
        os.close(handle)
    return tuple(sorted(entries, key=lambda entry: entry.path)), tuple(sorted(notes))


def _walk(
    handle: int, prefix: str, target: Path | None, entries: list[Entry], notes: list[str], budget: _Budget, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise BadInput(f"the artifact is nested deeper than {MAX_DEPTH} folders: {prefix[:80]}.", code="bad_artifact")
    with os.scandir(handle) as listing:
        found = sorted(listing, key=lambda each: each.name)
    for each in found:
        path = prefix + each.name
        if not path.isprintable():  # also true of bytes that are not UTF-8
            raise BadInput(f"a file name of the artifact cannot be printed: {path[:80]!a}.", code="bad_artifact")
        if each.is_symlink():
            notes.append(f"{path} is a symbolic link and was not followed")
        elif each.is_dir(follow_symlinks=False):
            if each.name in SKIPPED_FOLDERS:
                continue
            inner = os.open(each.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            try:
                _walk(inner, path + "/", target, entries, notes, budget, depth + 1)
            finally:
                os.close(inner)
        elif not each.is_file(follow_symlinks=False):
            notes.append(f"{path} is neither file nor folder and was not read")
        elif path != RECEIPT and not each.name.endswith(".pyc"):
            entries.append(_take(handle, each.name, path, target, budget))


def _take(handle: int, name: str, path: str, target: Path | None, budget: _Budget) -> Entry:
    """Hash one file, and copy it when there is a target."""
    budget.files += 1
    if budget.files > MAX_FILES:
        raise BadInput(
            f"the artifact has more than {MAX_FILES} files; hand in only the work itself.", code="bad_artifact"
        )
    digest = hashlib.sha256()
    size = 0
    # A pipe put in the file's place would block a reader for ever without O_NONBLOCK.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    with os.fdopen(descriptor, "rb") as source, contextlib.ExitStack() as stack:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise BadInput(f"{path} changed while it was read; try again.", code="bad_artifact")
        copy = None
        if target is not None:
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = stack.enter_context(place.open("xb"))
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            budget.size += len(chunk)
            if budget.size > MAX_BYTES:
                raise BadInput(
                    f"the artifact has more than {MAX_BYTES // 1024 // 1024} MiB; hand in only the work itself.",
                    code="bad_artifact",
                )
            digest.update(chunk)
            if copy is not None:
                copy.write(chunk)
    executable = bool(mode & 0o111)
    if target is not None and executable:
        (target / path).chmod(0o755)
    return Entry(path, size, digest.hexdigest(), executable)
