"""Where does a backup lie, and from when on is it one?

A folder of this machine is written under a temporary name, synced, and renamed when it is whole: whoever looks finds all of
it or nothing. Object stores know no renaming of folders; there the manifest is uploaded last, and without its manifest
nothing is taken for a backup. Both are told apart by their URL: what has no `scheme://`, or `file://`, is a folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote

from plms_pipeline.errors import BadInput, NotFound, PlmsError, Unavailable, VerdictNo
from plms_pipeline.instance.files.atomic import sync_folder
from plms_pipeline.monitoring.backup.manifest import MANIFEST, Entry
from plms_pipeline.settings import masked

CHUNK: Final = 1024 * 1024
ABANDONED_AFTER: Final = timedelta(days=1)
"""A folder in the making that nobody touched for so long belongs to a process that died."""


class Place(Protocol):
    """One backup, where it lies."""

    name: str

    def put(self, path: str, chunks: Iterable[bytes]) -> Entry:
        """Write one file of a backup in the making."""

    def publish(self) -> None:
        """Make it a backup: everything is written."""

    def discard(self) -> None:
        """Give up a backup in the making."""

    def names(self) -> frozenset[str]:
        """Every file in it, with forward slashes."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one file.

        Raises:
            FileNotFoundError: it is not there, or is no plain file.
        """


def chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The rest of a stream."""
    while chunk := stream.read(CHUNK):
        yield chunk


def counted(chunks: Iterable[bytes], write: Callable[[bytes], Any]) -> Entry:
    """Write chunks, and say how many bytes they were and what their SHA-256 is."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        write(chunk)
    return Entry(size, digest.hexdigest())


def digest_of(chunks: Iterable[bytes]) -> Entry:
    """Size and SHA-256 of what is read."""
    return counted(chunks, lambda _chunk: None)


class FolderPlace:
    """A backup in a folder of this machine."""

    def __init__(self, final: Path) -> None:
        self.name = str(final)
        self._final = final
        self._folder = final

    @classmethod
    def new(cls, parent: Path, name: str, *, now: datetime) -> FolderPlace:
        """A backup in the making, under a name that nobody takes for one.

        Raises:
            BadInput: the parent is a file, or lies below one.
            VerdictNo: there is one of this name.
        """
        place = cls(parent / name)
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise BadInput(
                f"{parent} is a file or lies below one, and a backup gets a folder of its own there; name a folder.",
                code="bad_place",
            ) from None
        _sweep(parent, now)
        if os.path.lexists(place._final):
            raise _taken(place.name)
        place._folder = parent / f".{name}.{os.getpid()}.part"
        place._folder.mkdir(mode=0o700)
        return place

    def put(self, path: str, chunks: Iterable[bytes]) -> Entry:
        """Write one file and sync it."""
        return write_file(self._folder / path, chunks)

    def publish(self) -> None:
        """Sync every folder, and give it its name."""
        for parent, _, _ in os.walk(self._folder):
            sync_folder(Path(parent))
        if os.path.lexists(self._final):
            raise _taken(self.name)
        self._folder.rename(self._final)
        self._folder = self._final
        sync_folder(self._final.parent)

    def discard(self) -> None:
        """Remove what was written so far."""
        if self._folder != self._final:
            shutil.rmtree(self._folder, ignore_errors=True)

    def names(self) -> frozenset[str]:
        """Every file, whatever it is: a link counts as one that should not be there."""
        found = set()
        for parent, folders, files in os.walk(self._folder, onerror=_raise):
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            found |= {(Path(parent) / name).relative_to(self._folder).as_posix() for name in (*files, *links)}
        return frozenset(found)

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a plain file."""
        with open_plain(self._folder / path) as stream:
            yield from chunks_of(stream)


class StorePlace:
    """A backup in an object store, or anything else that fsspec reaches."""

    def __init__(self, url: str) -> None:
        self.name = masked(url)
        self._fs, root = _file_system(url)
        self._root = root.rstrip("/")

    @classmethod
    def new(cls, parent: str, name: str) -> StorePlace:
        """A backup in the making: no backup until its manifest is there.

        Raises:
            VerdictNo: something of this name is there.
        """
        place = cls(f"{parent.rstrip('/')}/{name}")
        if place.names():
            raise _taken(place.name)
        return place

    def put(self, path: str, chunks: Iterable[bytes]) -> Entry:
        """Upload one file."""
        target = f"{self._root}/{path}"
        with _outages(self.name):
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            with self._fs.open(target, "wb") as stream:
                return counted(chunks, stream.write)

    def publish(self) -> None:
        """Nothing is left to do: the manifest was the last file."""

    def discard(self) -> None:
        """Remove what was uploaded, as far as the store lets us; without a manifest it is no backup anyway."""
        with contextlib.suppress(Exception):
            self._fs.rm(self._root, recursive=True)

    def names(self) -> frozenset[str]:
        """Every object below the URL."""
        with _outages(self.name):
            try:
                found = self._fs.find(self._root, withdirs=False)
            except FileNotFoundError:
                return frozenset()
        return frozenset(each.removeprefix(self._root).lstrip("/") for each in found)

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object."""
        with _outages(self.name), self._fs.open(f"{self._root}/{path}", "rb") as stream:
            yield from chunks_of(stream)


def new_place(parent: str, name: str, *, now: datetime) -> Place:
    """A backup in the making, called `name`, below a folder or URL.

    Raises:
        BadInput: nothing speaks that URL, or a file is there.
        VerdictNo: there is one of this name.
        Unavailable: the place cannot be written.
    """
    folder = as_folder(parent)
    if folder is None:
        return StorePlace.new(parent, name)
    with _outages(str(folder)):
        return FolderPlace.new(folder, name, now=now)


def find_place(url: str) -> Place:
    """The backup at a folder or URL.

    Raises:
        BadInput: nothing speaks that URL.
        NotFound: there is nothing, or nothing with a manifest.
        Unavailable: the place does not answer.
    """
    folder = as_folder(url)
    place: Place = StorePlace(url) if folder is None else FolderPlace(folder)
    try:
        names = place.names()
    except FileNotFoundError:
        names = frozenset()
    except NotADirectoryError:
        raise NotFound(
            f"{place.name} is no backup: it is a file or lies below one, and a backup is a folder. Name the folder that `plms "
            "backup create` printed.",
            code="no_such_backup",
        ) from None
    except OSError as error:
        raise Unavailable(
            f"{place.name} cannot be read ({error.strerror or error}).", code="backup_unreadable"
        ) from error
    if MANIFEST not in names:
        held = f"holds {len(names)} files but no {MANIFEST}" if names else "holds nothing"
        raise NotFound(
            f"{place.name} is no backup: it {held}. Name the folder that `plms backup create` printed; one that was "
            "interrupted is none.",
            code="no_such_backup",
        )
    return place


def as_folder(url: str) -> Path | None:
    """The folder of this machine that a path or a file:// URL names; None for any other URL.

    Raises:
        BadInput: the text is empty.
    """
    if not url.strip():
        raise BadInput(
            "The place of a backup is empty; name a folder or a URL such as s3://bucket/plms.", code="bad_place"
        )
    if "://" not in url:
        return Path(url).expanduser().absolute()
    scheme, _, rest = url.partition("://")
    # The host of a file:// URL is this one, named or not.
    return Path("/" + unquote(rest.removeprefix("localhost/")).lstrip("/")) if scheme == "file" else None


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file; a link is followed nowhere.

    Raises:
        FileNotFoundError: nothing is there, or something that is no plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise FileNotFoundError(f"{path} is no plain file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no plain file")
    return os.fdopen(descriptor, "rb")


def write_file(path: Path, chunks: Iterable[bytes]) -> Entry:
    """Write a new file and sync it; size and SHA-256 of what was written.

    Raises:
        FileExistsError: there is one already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        entry = counted(chunks, stream.write)
        stream.flush()
        os.fsync(stream.fileno())
    return entry


def _sweep(parent: Path, now: datetime) -> None:
    """Remove what a process that died left in the making."""
    before = (now - ABANDONED_AFTER).timestamp()
    for folder in parent.glob(".plms-*.part"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _raise(error: OSError) -> None:
    raise error


def _taken(name: str) -> VerdictNo:
    return VerdictNo(f"{name} is there already; nothing is overwritten. Try again in a second.", code="backup_exists")


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    if url.startswith(("ftp:///", "ftp://:")) or url == "ftp://":
        # Asked first: this file system warns as it goes when it could not be made.
        raise _not_whole(url, "it names no host")
    try:
        with _outages(masked(url), but=(ImportError, ValueError, TypeError)):
            file_system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadInput(
            f"{masked(url)} cannot be reached ({error}); install the package that it names beside plms, or use a folder.",
            code="bad_place",
        ) from None
    except TypeError as error:  # a part of the URL that its file system cannot do without
        raise _not_whole(url, str(error)) from None
    return file_system, str(root)


def _not_whole(url: str, why: str) -> BadInput:
    return BadInput(
        f"{masked(url)} is not a whole URL ({why}); write it as scheme://host/path, or use a folder.", code="bad_place"
    )


@contextlib.contextmanager
def _outages(name: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    try:
        yield
    except (PlmsError, FileNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, but):
            raise
        # Every store has errors of its own; none is a bug of ours, and all mean that it did not do what it was asked.
        raise Unavailable(
            f"{name} did not take or give what was asked ({type(error).__name__}: {str(error)[:200]}); check the URL, its "
            "credentials and the free space, then run the same command again.",
            code="backup_place_unavailable",
        ) from error
