"""Which files of this installation go into a backup, while others are made, moved and replaced beside?

By name, so that nothing gets in that nobody thought of: secrets least of all. What a folder of the data directory holds is
either listed here to be kept, or listed to be left out, or told as unknown. Links are followed nowhere; half-written files
are nobody's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from plms_pipeline.errors import BadInput, Conflict, Unavailable
from plms_pipeline.monitoring.backup.files.places import chunks_of, open_plain

FLAG: Final = "KILLSWITCH"
"""Raised before a restore so that nothing starts on what is restored: it stays, with the reason that it gives."""
FEEDS_THE_BOOKS: Final = ("evidence",)
"""Whose files end in the registry and are then removed: kept before the registry is."""
BESIDE_THE_BOOKS: Final = (
    FLAG, "artifacts", "automation_runs", "documents", "estimate_snapshots", "evaluations", "market_dataset",
    "market_snapshots", "quarantine", "receipts", "runs",
)  # fmt: skip
"""What rows of the registry refer to, or what stands for itself: kept after it. `market_dataset` names bars that were written
to `market_snapshots` before, so it is read before them."""
LEFT_OUT: Final = {
    "secrets": "keys and tokens stay where they are, or are made anew",
    "dagster": "Dagster's history: shown, never decided by",
    "pas": "the reference executor's own memory",
    "kpi_warehouse.db": "a database that is measured, not ours; `plms kpi warehouse load` builds the sample",
    "README.md": "shipped",
    "samples": "shipped",
    ".gitignore": "shipped",
    "lost+found": "the file system's",
}
SHIPPED: Final = frozenset({"README.md", "samples", ".gitignore", "lost+found"})
PASSES: Final = 20
_REGISTRY_FILE: Final = "registry.db"

Keep = Callable[[str, Iterable[bytes]], None]


def keep_tree(root: Path, part: str, tops: Iterable[str] | None, keep: Keep) -> int:
    """Hand every plain file below `root` to `keep`, as (`part`/its path, its bytes); how many links were passed over.

    A folder may be renamed while it is read (what a run staged becomes its outputs), and then neither name is seen whole. So
    whenever something vanished everything is looked at again, and only what was not kept yet is read.

    Args:
        root: the data or the reports folder.
        part: the name of this part in the backup.
        tops: the entries of `root` to keep; all when None.
        keep: writes one file.

    Raises:
        Unavailable: a file cannot be read, or files kept vanishing.
    """
    kept: set[str] = set()
    links = 0
    for _ in range(PASSES):
        vanished: list[OSError] = []
        links = 0
        for path in _files(root, tops, vanished):
            if path.is_symlink():
                links += 1
                continue
            name = f"{part}/{path.relative_to(root).as_posix()}"
            if name in kept:
                continue
            try:
                with open_plain(path) as stream:
                    keep(name, chunks_of(stream))
            except FileNotFoundError as error:
                if os.path.lexists(path):
                    continue  # a pipe or a socket
                vanished.append(error)
                continue
            except PermissionError as error:
                raise _unreadable(path, error) from error
            kept.add(name)
        if not vanished:
            return links
    raise Unavailable(
        f"Files below {root} kept vanishing while they were copied, {PASSES} times in a row; run `plms backup create` again "
        "at a quieter time.",
        code="overtaken",
    )


def _files(root: Path, tops: Iterable[str] | None, vanished: list[OSError]) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise _unreadable(Path(str(error.filename or root)), error) from error
        vanished.append(error)

    if not root.is_dir():
        return
    for top in sorted(entry.name for entry in root.iterdir()) if tops is None else tops:
        start = root / top
        if not os.path.lexists(start):
            continue
        if start.is_symlink() or not start.is_dir():
            if not is_half_written(top):
                yield start
            continue
        for parent, folders, files in os.walk(start, onerror=failed):
            folders.sort()
            names = [*files, *(name for name in folders if (Path(parent) / name).is_symlink())]
            yield from (Path(parent) / name for name in sorted(names) if not is_half_written(name))


def is_half_written(name: str) -> bool:
    """Whether a file's name is the one that our writers give to what is not whole yet."""
    return name.startswith(".") and name.endswith((".tmp", ".part"))


def unknown_entries(data_dir: Path, registry_file: Path | None) -> tuple[str, ...]:
    """Entries of the data folder that are neither kept nor left out on purpose."""
    if not data_dir.is_dir():
        return ()
    known = {*FEEDS_THE_BOOKS, *BESIDE_THE_BOOKS, *LEFT_OUT}
    own = registry_file.name if registry_file is not None else _REGISTRY_FILE
    return tuple(
        sorted(
            entry.name
            for entry in data_dir.iterdir()
            if entry.name not in known and not entry.name.startswith(own) and not is_half_written(entry.name)
        )
    )


def require_empty(folder: Path, variable: str, *, may_hold: Collection[str] = ()) -> None:
    """Refuse to bring a backup back over anything: what is shipped with the program does not count, nor what it may hold.

    Raises:
        BadInput: it is no folder.
        Conflict: the folder holds something.
        Unavailable: it cannot be read.
    """
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.name not in {*SHIPPED, *may_hold})
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise BadInput(
            f"{folder} is a file or lies below one; set {variable} to a folder that is empty or not there yet.",
            code="not_a_folder",
        ) from None
    except OSError as error:
        raise _unreadable(folder, error) from error
    if found:
        raise Conflict(
            f"{folder} is not empty (it holds {', '.join(found[:3])}{' …' if len(found) > 3 else ''}); a backup is restored "
            f"into empty folders only. Set {variable} to a new one, or move what is there away.",
            code="not_empty",
        )


def is_flag_up(data_dir: Path) -> bool:
    """Whether the kill switch's flag lies in the data folder, whatever it is."""
    return os.path.lexists(data_dir / FLAG)


def database_files(file: Path) -> list[str]:
    """What lies where a SQLite registry would be restored to; none when nothing does.

    A file that is there counts, whatever it holds, and so does a log beside it: SQLite would take it for this one's.
    """
    beside = [file, *(file.with_name(file.name + end) for end in ("-wal", "-journal"))]
    return [each.name for each in beside if size_of(each)]


def is_inside_of(folder: Path, parent: Path) -> bool:
    """Whether a folder lies in another, or is it."""
    return folder.resolve().is_relative_to(parent.resolve())


def size_of(path: Path) -> int:
    """Bytes of a plain file; 0 when it is not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{path} cannot be read ({error.strerror or error}); a backup without it would not be whole. Correct its rights, or "
        "run the command as the user who runs `plms serve`.",
        code="backup_source_unreadable",
    )
