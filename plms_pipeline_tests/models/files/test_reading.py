"""Files of a run: missing, unreadable, too large, damaged, or those that were judged."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, Conflict, NoData, PlmsError
from plms_pipeline.models.files import reading
from plms_pipeline.models.files.archive import archive_bytes, read_archive
from plms_pipeline.models.files.reading import is_of, read_json, read_whole, sha256_of


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path: Path) -> None:
    """A file of many gigabytes must end in an error, not in a killed server; one of just the limit is whole."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    assert len(read_whole(path, 1 << 20)) == 1 << 20
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(BadInput, match=r"file is larger than 1 MiB") as refused:
        read_whole(path, 1 << 20)
    assert refused.value.code == "too_large"


def test_what_cannot_be_read_is_one_error_that_names_it(tmp_path: Path) -> None:
    """Also where only the digest is asked for: a traceback names neither the file nor the remedy."""
    for read in (sha256_of, read_json):
        with pytest.raises(NoData, match=f"no file {tmp_path}/gone") as missing:
            read(tmp_path / "gone")
        assert missing.value.code == "file_missing"
        with pytest.raises(BadInput, match=f"{tmp_path} cannot be read") as refused:
            read(tmp_path)
        assert refused.value.code == "file_unreadable"
    os.mkfifo(tmp_path / "pipe")
    for waits in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadInput, match="no ordinary file"):
            read_whole(waits, 1)


def test_a_digest_is_of_all_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change behind the first piece would otherwise go unseen."""
    monkeypatch.setattr(reading, "_PIECE", 4)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert sha256_of(path) == hashlib.sha256(b"0123456789").hexdigest()
    assert is_of(b"0123456789", sha256_of(path).upper())
    assert not is_of(b"012345678", sha256_of(path))


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff{}"])
def test_a_document_is_an_object(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"golden\.json holds no JSON object; train again"):
        read_json(tmp_path / "golden.json")


def kept(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_an_archive_gives_back_what_was_put_in(tmp_path: Path) -> None:
    """And the same model the same bytes, whatever the order of its document."""
    arrays = {"mean": np.array([1.5, -0.0]), "left": np.array([[1], [2]])}
    content = archive_bytes({"b": 1, "a": [True]}, arrays)
    assert content == archive_bytes({"a": [True], "b": 1}, arrays)
    document, found = read_archive(tmp_path / "m.npz", kept(tmp_path / "m.npz", content), len(content))
    assert document == {"a": [True], "b": 1}
    assert {name: values.tolist() for name, values in found.items()} == {"mean": [1.5, -0.0], "left": [[1], [2]]}


def test_bytes_that_nobody_decided_about_are_not_parsed(tmp_path: Path) -> None:
    """A digest is asked first: what parses hostile bytes has holes."""
    path = tmp_path / "m.npz"
    digest = kept(path, archive_bytes({}, {}))
    kept(path, b"other")
    with pytest.raises(Conflict, match=f"expected {digest[:12]}") as refused:
        read_archive(path, digest, 1 << 20)
    assert refused.value.code == "model_altered"


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"PK\x03\x04 cut off", archive_bytes({}, {})[:-30], b"\x80\x04K\x01."],
)
def test_what_is_no_archive_is_one_error(tmp_path: Path, content: bytes) -> None:
    """A damaged zip raised an error of its own kind, which nobody caught."""
    path = tmp_path / "m.npz"
    digest = kept(path, content)
    with pytest.raises(PlmsError, match=r"m\.npz is no stored model .*; train it again") as refused:
        read_archive(path, digest, 1 << 20)
    assert refused.value.code == "bad_model"
