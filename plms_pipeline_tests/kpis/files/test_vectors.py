"""Vectors from files that may be traps."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.files.vectors import MAX_UNPACKED, load_vectors


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('the pickle ran')",))


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def test_two_plain_arrays_are_read(tmp_path: Path) -> None:
    """As numpy.savez writes them."""
    np.savez(tmp_path / "v.npz", source=np.arange(4.0), echo=np.ones(4, dtype=np.float32))
    source, echo = load_vectors(tmp_path / "v.npz")
    assert source.tolist() == [0, 1, 2, 3]
    assert echo.dtype == np.float32


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    """It would run the artifact's code in our own process."""
    bomb = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    assert b"the pickle ran" in pickle.dumps(Bomb())
    with pytest.raises(BadInput):
        load_vectors(archive(tmp_path / "v.npz", {"source.npy": bomb, "echo.npy": npy(np.ones(2))}))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A few kilobytes that become gigabytes."""
    path = archive(tmp_path / "v.npz", {"source.npy": b"\0" * (MAX_UNPACKED + 1), "echo.npy": npy(np.ones(2))})
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInput, match="unpacks to more"):
        load_vectors(path)


def test_a_header_that_promises_terabytes_is_refused(tmp_path: Path) -> None:
    """numpy allocates what the header says before it reads."""
    header = (
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
        + b"\n"
    )
    with pytest.raises(BadInput):
        load_vectors(archive(tmp_path / "v.npz", {"source.npy": header + b"\0" * 64, "echo.npy": npy(np.ones(2))}))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"source.npy": b""},
        {"a.npy": b"", "echo.npy": b""},
        {"source.npy": b"x", "echo.npy": b"y"},
        {"source.npy": b"", "echo.npy": b"", "extra.npy": b""},
    ],
)
def test_other_contents_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    """Exactly two arrays of these names."""
    with pytest.raises(BadInput):
        load_vectors(archive(tmp_path / "v.npz", members))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"PK\x05\x06" + b"\0" * 18, b"PK\x03\x04garbage"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """With a reason, never a traceback."""
    path = tmp_path / "v.npz"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        load_vectors(path)
