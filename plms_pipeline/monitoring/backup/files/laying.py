"""How does a file of a backup get to where it belongs? Whole or not at all, and only with the bytes that were verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from plms_pipeline.errors import BadInput, VerdictNo
from plms_pipeline.instance.files.atomic import sync_folder
from plms_pipeline.monitoring.backup.files.places import chunks_of, open_plain, write_file
from plms_pipeline.monitoring.backup.manifest import Entry, difference


@contextmanager
def scratch(data_dir: Path) -> Iterator[Path]:
    """A folder for one copy of the registry, on the disk where there is room for the registry itself.

    Raises:
        BadInput: the data folder may not be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".backup-", suffix=".part", dir=data_dir))
    except OSError as error:
        raise BadInput(
            f"{data_dir} cannot be written ({error.strerror or error}), and a copy of the registry is made there first; "
            "correct its rights.",
            code="data_dir_not_writable",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chunks_of_file(path: Path) -> Iterator[bytes]:
    """The bytes of a plain file."""
    with open_plain(path) as stream:
        yield from chunks_of(stream)


def lay(target: Path, chunks: Iterable[bytes], expected: Entry) -> None:
    """Write a file under a temporary name, compare it with the manifest, and give it its own.

    Raises:
        VerdictNo: the bytes are not those that the manifest names, although they were a moment ago.
    """
    # Not made of the target's own name, which may be as long as names can be.
    partial = target.with_name(".restoring.part")
    partial.unlink(missing_ok=True)
    try:
        problem = difference(target.name, expected, write_file(partial, chunks))
        if problem:
            raise VerdictNo(
                f"{problem}: the backup changed while it was restored; use another one.", code="backup_damaged"
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(target.parent)
